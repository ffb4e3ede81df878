// Ways to let state outgrow what can be written, and to let more stop over it than its plate, each with the tests that
// must then fail.
import type { Catcher, Edit, Mutant } from './list.ts'

const core =
  (file: string) =>
  (find: string, replace: string): Edit => ({ file: `coordinator/core/${file}.ts`, find, replace })
const attempts = core('attempts')
const cut = core('cut')
const images = core('images')

const kept = (only: string): Catcher => ({ file: 'test/core/attempts.test.ts', only })
const largest = (only: string): Catcher => ({ file: 'test/core/largest.test.ts', only })
const slices = (only: string): Catcher => ({ file: 'test/core/slices.test.ts', only })
const stops = (only: string): Catcher => ({ file: 'test/sim/stop.test.ts', only })
const kafka = (only: string): Catcher => ({ file: 'test/log/kafka.test.ts', only })

const asserted = (only: string): Catcher => ({ file: 'test/core/invariant.test.ts', only })
const decided = (only?: string): Catcher => ({
  file: 'test/core/decide.test.ts',
  ...(only === undefined ? {} : { only }),
})

export const stateMutants: readonly Mutant[] = [
  {
    name: 'assert nothing',
    edits: [core('invariant')('  if (!condition) throw', '  if (condition === undefined) throw')],
    tests: [asserted('I1: no more runs'), asserted('I2'), asserted('T2')],
  },
  {
    name: 'close a level while a member is in work',
    edits: [
      core('levels')('member === Member.NONE || member === Member.OPEN', 'member === Member.NONE'),
    ],
    tests: [decided()],
  },
  {
    name: 'count images that the plan does not name as done members',
    edits: [core('members')('isPlanned(one) && isImageDone', 'isImageDone')],
    tests: [asserted('I4')],
  },
  {
    name: 'take an outcome of a run that is not under way',
    edits: [core('decide')('if (run.state !== RunState.RUNNING || hex', 'if (hex')],
    tests: [asserted('told twice')],
  },
  {
    name: 'a result goes to the next partition',
    edits: [
      {
        file: 'coordinator/task/batch.ts',
        find: 'taskOf(output.key, PLATE_EVENT_PARTITIONS) : task,',
        replace: 'taskOf(output.key, PLATE_EVENT_PARTITIONS) : task + 1,',
      },
    ],
    tests: [{ file: 'test/task/journal.test.ts' }],
  },
  {
    name: 'take an input in again',
    edits: [
      {
        file: 'coordinator/task/inbox.ts',
        find: 'else if (lastOf(item) >= next[topic]) {',
        replace: 'else if (lastOf(item) >= 0) {',
      },
    ],
    tests: [{ file: 'test/task/inbox.test.ts' }],
  },
  {
    name: 'keep the words of every attempt',
    edits: [attempts('a.class === b.class && a.reason === b.reason', 'a.message === b.message')],
    tests: [kept('hold its words once')],
  },
  {
    name: 'keep the words of every reason',
    edits: [
      attempts('const FAILURES_KEPT_MAX = 3', 'const FAILURES_KEPT_MAX = 300'),
      attempts('const ATTEMPTS_KEPT_MAX = 8', 'const ATTEMPTS_KEPT_MAX = 800'),
    ],
    tests: [largest('sixteen steps'), kept('the last three are kept')],
  },
  {
    name: 'keep each asking that was put off',
    edits: [attempts('  mergePutOff(run)\n  return failure\n', '  return failure\n')],
    tests: [kept('one entry'), kept('busy for hours')],
  },
  {
    name: 'take texts in as long as they come',
    edits: [
      core('text')(
        '  if (text.length * 3 <= bytesMax || Buffer.byteLength(text) <= bytesMax) return text.toWellFormed()\n',
        '  if (bytesMax > 2) return text\n',
      ),
    ],
    tests: [largest('dead letters'), kept('cut in bytes')],
  },
  {
    name: 'keep what a step answered in its run, however large',
    edits: [core('payload')('const INLINE_BYTES_MAX = 1_024', 'const INLINE_BYTES_MAX = 1e9')],
    tests: [largest('sixteen steps')],
  },
  {
    name: 'a site is one record, however many images it has',
    edits: [
      cut('export const PART_BYTES_MAX = 128 * 1024', 'export const PART_BYTES_MAX = 1e9'),
      cut('  itemsMax: 16,', '  itemsMax: 1e9,'),
    ],
    tests: [largest('384 images')],
  },
  {
    name: 'read an entity without what stands beside its record',
    edits: [core('entities')('    if (cut && parts.size() > 0) join(key, entity, cut)\n', '')],
    tests: [largest('a plan of 1,536 wells')],
  },
  {
    name: 'take in a plan of any size',
    edits: [core('plan-limits')('  membersMax: 100_000,', '  membersMax: 1e12,')],
    tests: [largest('refused by name: 1,500 wells')],
  },
  {
    name: 'before the plan, take in whatever comes',
    edits: [
      images(
        'const tooMany = shape ? undefined : tooManyEarly(cx.task, { key, siteKey, wellKey })',
        'const tooMany = tooManyEarly(cx.task, { key, siteKey, wellKey }) && undefined',
      ),
    ],
    tests: [slices('what no plan could name')],
  },
  {
    name: 'take up a whole well in one event',
    edits: [core('adopt')('    if (budget.isSpent()) return false\n    settle', '    settle')],
    tests: [slices('taken up over several events')],
  },
  {
    name: 'a command takes the place of the one under way',
    edits: [core('sweep')('    plate.sweepsWaiting.push(fresh)\n', '    plate.sweep = fresh\n')],
    tests: [slices('commands wait for the one under way')],
  },
  {
    name: 'a flush is one send',
    edits: [
      {
        file: 'coordinator/log/writable.ts',
        find: '    if (isFull) {\n',
        replace: '    if (isFull && bytes < 0) {\n',
      },
    ],
    tests: [kafka('a commit of many large records')],
  },
  {
    name: 'send what Kafka refused again as it was',
    edits: [
      {
        file: 'coordinator/log/writer.ts',
        find: '    batches.bytesMax = smallerBatch(batches.bytesMax)\n',
        replace: '    smallerBatch(batches.bytesMax)\n',
      },
    ],
    tests: [kafka('topics that take less than is written')],
  },
  {
    name: 'what cannot be written keeps its task down',
    edits: [
      {
        file: 'coordinator/task/stops.ts',
        find: '      waiting = [...waiting, { stop, until: { ...takenIn }, isMarked: false }]\n',
        replace:
          "      if (plate !== '') return new LogError('fatal', message, { cause: error })\n",
      },
    ],
    tests: [stops('stops alone')],
  },
  {
    name: 'a mark is forgotten with the life that made it',
    edits: [
      {
        file: 'coordinator/task/stops.ts',
        find: '(isMarked ? [] : [stop])',
        replace: '(isMarked || stop ? [] : [stop])',
      },
    ],
    tests: [stops('stops alone')],
  },
  {
    name: 'a command lets a plate go on again, in vain',
    edits: [
      core('commands')(
        '  if (cx.task.stopping.has(entity)) return refuseStopped(cx, event, entity)\n',
        '',
      ),
    ],
    tests: [stops("by a person's word")],
  },
  {
    name: 'a stopped plate goes on taking images in',
    edits: [images('  if (isStopped(cx.task, key)) return refuseStopped(cx, event, key)\n', '')],
    tests: [stops('stops alone')],
  },
  {
    name: 'a plate that goes on does not take up what was under way',
    edits: [core('commands')('  resume(cx, entity)\n', '')],
    tests: [stops("by a person's word")],
  },
]
