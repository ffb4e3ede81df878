// Ways to let what lies in a topic do more than it may, each with the tests that must then fail.
import type { Catcher, Edit, Mutant } from './list.ts'

const editsOf =
  (file: string) =>
  (find: string, replace: string): Edit => ({ file, find, replace })
const codecs = editsOf('packages/kafka/codecs.ts')
const decoder = editsOf('packages/kafka/record-decoder.ts')
const fetched = editsOf('packages/kafka/fetched.ts')
const intake = editsOf('coordinator/task/intake.ts')
const takingIn = editsOf('coordinator/task/taking-in.ts')
const ledger = editsOf('cli/ledger.ts')

const opening = (only: string): Catcher => ({ file: 'test/kafka/codecs.test.ts', only })
const decoding = (only: string): Catcher => ({ file: 'test/kafka/record-decoder.test.ts', only })
const taking = (only: string): Catcher => ({ file: 'test/task/intake.test.ts', only })
const onKafka = (only: string): Catcher => ({ file: 'test/kafka/odd-batches.test.ts', only })
const failing = (only: string): Catcher => ({ file: 'test/sim/failing-event.test.ts', only })
const auditing = (only: string): Catcher => ({ file: 'test/cli/audit.test.ts', only })
const fuzzed: Catcher = { file: 'test/fuzz/fuzz.test.ts', only: 'whatever is written' }

export const recordMutants: readonly Mutant[] = [
  {
    name: 'open gzip to whatever size it becomes',
    edits: [codecs('gunzipSync(bytes, { maxOutputLength: max })', 'gunzipSync(bytes)')],
    tests: [opening('gzip: no more')],
  },
  {
    name: 'open zstd to whatever size it becomes',
    edits: [codecs('{ maxOutputLength: left, info: true }', '{ info: true }')],
    tests: [opening('zstd: no more')],
  },
  {
    name: 'believe the length that a snappy block claims',
    edits: [
      {
        file: 'packages/kafka/snappy.ts',
        find: '  if (length > bytesMax) throw new RangeError(`a Snappy block claims ${length} bytes`)\n',
        replace: '',
      },
    ],
    tests: [opening('six bytes')],
  },
  {
    name: 'let an lz4 frame grow',
    edits: [
      {
        file: 'packages/kafka/lz4.ts',
        find: '    this.#max = max\n',
        replace: '    this.#max = max + Infinity\n',
      },
    ],
    tests: [opening('lz4: no more')],
  },
  {
    name: 'take a record in that is longer than what it holds',
    edits: [
      decoder('if (headers === undefined || this.#at !== end)', 'if (headers === undefined)'),
    ],
    tests: [decoding('more in a record')],
  },
  {
    name: 'leave out what follows the records that a batch counts',
    edits: [
      decoder(
        "    return this.#rest('there are more bytes than the records that the batch counts')\n",
        '    return undefined\n',
      ),
    ],
    tests: [decoding('more than it counts')],
  },
  {
    name: 'take in a record of any size',
    edits: [decoder('if (length > RECORD_BYTES_MAX)', 'if (length > Infinity)')],
    tests: [decoding('a record that is too large')],
  },
  {
    name: 'stay where nothing can be read',
    edits: [
      fetched(
        '  return [{ offset: position, last: position, bytes: first.bytes, isIntact: false }]\n',
        '  return []\n',
      ),
    ],
    tests: [decoding('no header to go by')],
  },
  {
    name: 'believe where a damaged batch says that it ends',
    edits: [fetched('last: isBounded ? batch.last : offset', 'last: batch.last')],
    tests: [decoding('a wrong checksum: ')],
  },
  {
    name: 'believe a batch whose checksum differs',
    edits: [fetched('!checked || isIntact(batch.bytes)', 'true')],
    tests: [decoding('a wrong checksum'), onKafka('damaged each time')],
  },
  {
    name: 'set aside at once what was damaged on its way',
    edits: [
      {
        file: 'coordinator/log/group.ts',
        find: 'const isFirst = again !== undefined && this.#damaged.get(place) !== again',
        replace: 'const isFirst = again !== undefined && this.#damaged.get(place) === Infinity',
      },
    ],
    tests: [onKafka('is fetched again')],
  },
  {
    name: 'tell what cannot be read before what comes in front of it',
    edits: [
      {
        file: 'packages/kafka/fetch.ts',
        find: '  return [...fetched.records, ...fetched.unreadable].toSorted((a, b) => a.offset - b.offset)\n',
        replace: '  return [...fetched.unreadable, ...fetched.records]\n',
      },
    ],
    tests: [onKafka('a follower passes a bomb')],
  },
  {
    name: 'hold inputs by their number alone',
    edits: [
      {
        file: 'coordinator/task/inbox.ts',
        find: '(waitingRecords > inputRecordsMax || waitingBytes > inputBytesMax)',
        replace: 'waitingRecords > inputRecordsMax',
      },
    ],
    tests: [{ file: 'test/task/inbox.test.ts', only: 'pause by what waits' }],
  },
  {
    name: 'open a batch before it is named',
    edits: [
      takingIn(
        'if (!crashGuard.mayTake(input)) return false',
        "if (!('batch' in input) && !crashGuard.mayTake(input)) return false",
      ),
    ],
    tests: [failing('a batch that kills')],
  },
  {
    name: 'meet a record that throws again and again',
    edits: [takingIn('    crashGuard.blame(input, error)\n', '')],
    tests: [failing('a record that makes')],
  },
  {
    name: 'meet an outcome that throws again and again',
    edits: [
      {
        file: 'coordinator/task/stops.ts',
        find: 'throw new EventFailed(event.entity, error)',
        replace: 'throw error',
      },
    ],
    tests: [failing('an outcome that makes')],
  },
  {
    name: 'keep fields that a contract does not know',
    edits: [
      intake(
        'fromBinary(schema, value, { readUnknownFields: false })',
        'fromBinary(schema, value)',
      ),
    ],
    tests: [taking('dropped at every level')],
  },
  {
    name: 'decode however many messages',
    edits: [intake('if (looked.messages > MESSAGES_MAX)', 'if (looked.messages > Infinity)')],
    tests: [taking('450,000 wells')],
  },
  {
    name: 'take an image whose channel is another than its identity says',
    edits: [intake('if (identity?.channel !== channel?.name)', 'if (identity === undefined)')],
    tests: [taking('whose channel is not')],
  },
  {
    name: 'lose a record of a batch that is compressed',
    edits: [
      {
        file: 'coordinator/task/inbox.ts',
        find: '    const bytes = codecOf(batch.batch) === 0 ? 0 : found.bytes\n',
        replace:
          '    const bytes = codecOf(batch.batch) === 0 ? 0 : found.bytes\n    if (bytes > 0) found.next()\n',
      },
    ],
    tests: [{ file: 'test/task/inbox.test.ts', only: 'opened one at a time' }],
  },
  {
    name: 'take in an offset twice',
    edits: [decoder(' && (!isWanted || offset > this.#passed)', '')],
    tests: [decoding('an offset twice')],
  },
  {
    name: 'throw what a decompressor throws',
    edits: [
      codecs(
        '  const known = codecs[codec]\n',
        '  const known = codecs[codec]\n  if (bytes.length > 0) known?.open(bytes, bytesMax)\n',
      ),
    ],
    tests: [fuzzed],
  },
  {
    name: 'judge only records that have a type',
    edits: [ledger("  if (type !== '') return type\n", '  if (topic.length > 0) return type\n')],
    tests: [auditing('without the header')],
  },
  {
    name: 'believe a plan that was set aside with its batch',
    edits: [
      ledger(
        '    if (alone.has(position)) return true\n',
        '    if (alone.has(position)) return true\n    if (alone.size > 0) return false\n',
      ),
    ],
    tests: [auditing('set aside whole')],
  },
]
