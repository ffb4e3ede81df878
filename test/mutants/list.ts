// Ways to break the protocol of docs/decisions/log.md, each with the tests that must then fail. `find` stands exactly once in
// its file. What a judge sees first is not always the worst that follows.
import type { patches } from '@wellspring/kafka/patches.ts'
import { downMutants } from './down.ts'
import { contractMutants } from './contracts.ts'
import { hostileMutants } from './hostile.ts'
import { imageMutants } from './images.ts'
import { recordMutants } from './records.ts'
import { responseMutants } from './responses.ts'
import { stateMutants } from './state.ts'
import { supplyMutants } from './supply.ts'

export type Edit = { readonly file: string; readonly find: string; readonly replace: string }
/** A test file, and a pattern of the names of its tests that count. */
export type Catcher = { readonly file: string; readonly only?: string }

export type Mutant = {
  readonly name: string
  readonly edits: readonly Edit[]
  /** Each of them must fail. */
  readonly tests: readonly Catcher[]
}

const editsOf =
  (file: string) =>
  (find: string, replace: string): Edit => ({ file, find, replace })
const task = editsOf('coordinator/task/task.ts')
const takingOver = editsOf('coordinator/task/taking-over.ts')
const restore = editsOf('coordinator/task/restore.ts')
const memory = editsOf('coordinator/log/memory.ts')
const fences = editsOf('coordinator/log/kafka.ts')

const model: Catcher = { file: 'test/model/model.test.ts' }
const worlds: Catcher = { file: 'test/sim/sim.test.ts', only: 'worlds keep every invariant' }
const hanging = (only: string): Catcher => ({ file: 'test/kafka/hanging.test.ts', only })
const kafka = (only: string): Catcher => ({ file: 'test/log/kafka.test.ts', only })

/** Goes on with the old writer, as if it had not failed. */
const writerOutlivesItsError = memory('            isBroken = true\n', '')
const GOES_ON =
  '    this.#writer = undefined\n    this.#flushing = undefined\n    this.#again(error)\n'

const protocol: readonly Mutant[] = [
  {
    name: 'skip the restore read',
    edits: [
      restore(
        '.readState(task, back.from, (record) => apply(back, record, nonce))',
        '.readState(task, back.from, () => false)',
      ),
    ],
    tests: [model],
  },
  {
    // On the twin it loses nothing: one writer per partition, and the fence waits for its predecessor's markers.
    name: 'restore to the last stable offset',
    edits: [
      {
        file: 'packages/kafka/fetch.ts',
        find: 'isolationLevel: readUncommitted,',
        replace: 'isolationLevel: readCommitted,',
      },
    ],
    tests: [kafka('behind an open transaction')],
  },
  {
    name: 'barrier before fence',
    edits: [
      restore('const writer = await log.fence(task)', 'let writer = await log.fence(task + 1_000)'),
      restore(
        '    await readToBarrier(',
        '    writer = await log.fence(task)\n    await readToBarrier(',
      ),
    ],
    tests: [model],
  },
  {
    name: 'keep the old producer after an error',
    edits: [
      writerOutlivesItsError,
      task(
        GOES_ON,
        `    if (error.kind === 'unknown') {\n      this.#flushing = undefined\n      return void this.#flush()\n    }\n${GOES_ON}`,
      ),
    ],
    tests: [model],
  },
  {
    name: 'retry a send inside a transaction',
    edits: [
      memory(
        "            await world.request(member, 'Produce', () => {\n",
        '            const produce = (): void => {\n',
      ),
      memory(
        "            })\n            await world.request(member, 'EndTxn'",
        "            }\n            await world.request(member, 'Produce', produce).catch(() =>\n" +
          "              world.request(member, 'Produce', produce),\n            )\n" +
          "            await world.request(member, 'EndTxn'",
      ),
    ],
    tests: [model],
  },
  {
    name: 'abort() and go on',
    edits: [
      writerOutlivesItsError,
      memory(
        'entry.open ??= []',
        "end(entry, 'aborted', world)\n entry.ending?.()\n entry.open = []",
      ),
      task(
        GOES_ON,
        `    if (error.kind === 'unknown') {\n      this.#flushing = undefined\n      return void this.#pump()\n    }\n${GOES_ON}`,
      ),
    ],
    tests: [model],
  },
  {
    name: 're-send the lost flush without reading back',
    edits: [
      task(
        "import { statusBoard } from './status.ts'\n",
        "import { statusBoard } from './status.ts'\n" +
          "import { fromBinary, toBinary } from '@bufbuild/protobuf'\n" +
          "import { CheckpointSchema } from '#proto/wellspring/journal/v1/state_pb.ts'\n" +
          "import { ownerRecord } from './batch.ts'\n",
      ),
      task(
        '    this.#flushing = writer.commit(records).then(\n',
        `    const again = async (error: unknown): Promise<void> => {
      if (asLogError(error).kind !== 'unknown') throw error
      const next = await this.#options.log.fence(this.task)
      if (life === this.#life) this.#writer = next
      const owner = ownerRecord(this.task, { nonce: '', instance: '', controlAddress: '' }, next.id)
      const renewed = records.map((one) =>
        one.key !== '#ckpt' || !one.value
          ? one
          : {
              ...one,
              value: toBinary(CheckpointSchema, {
                ...fromBinary(CheckpointSchema, one.value),
                epoch: next.id.epoch,
              }),
            },
      )
      await next.commit([owner, ...renewed])
    }
    this.#flushing = writer.commit(records).catch(again).then(\n`,
      ),
    ],
    tests: [model],
  },
  {
    name: 'take over after a lost flush without reading back',
    edits: [
      task(
        '    this.state = undefined\n    this.#writer = undefined\n',
        '    this.#writer = undefined\n',
      ),
      task('    this.state = back.state\n', '    this.state ??= back.state\n'),
    ],
    tests: [model, worlds],
  },
  {
    name: 'forget outcomes of calls that ended while a flush was lost',
    edits: [
      {
        file: 'coordinator/calls/registry.ts',
        find: '    listener(outcome)\n',
        replace: '    this.#entries.delete(entry.idempotencyKey)\n    listener(outcome)\n',
      },
    ],
    tests: [model, { file: 'test/calls/registry.test.ts' }],
  },
  {
    name: 'keep state over a lost and regained assignment',
    edits: [
      {
        file: 'coordinator/task/host.ts',
        find: '} else if (kept.has(task)) {',
        replace: '} else if (kept.size >= 0) {',
      },
    ],
    tests: [{ file: 'test/sim/hand-over.test.ts', only: 'missed a generation' }],
  },
  {
    name: 'keep state although a generation was missed',
    edits: [
      {
        file: 'coordinator/log/group.ts',
        find: 'memberId === last.memberId && generation === last.generation + 1',
        replace: 'memberId === last.memberId',
      },
    ],
    tests: [kafka('missed a generation')],
  },
  {
    name: 'commit the offset apart from its effects',
    edits: [
      task(
        '    this.#flushing = writer.commit(records).then(\n',
        "    const apart = (is: boolean) => records.filter((one) => (one.key === '#ckpt') === is)\n" +
          '    this.#flushing = writer.commit(apart(false)).then(() => writer.commit(apart(true))).then(\n',
      ),
    ],
    tests: [model],
  },
  {
    name: 'share an id between two tasks',
    edits: [memory('`plate-${task}`', '`plate-0`')],
    tests: [model],
  },
  {
    name: 'share an id between two tasks, on Kafka',
    edits: [
      {
        file: 'coordinator/log/kafka.ts',
        find: 'transactionalId: `${application}-plate-${task}`,',
        replace: 'transactionalId: `${application}-plate`,',
      },
    ],
    tests: [kafka('a writer of another task is not disturbed')],
  },
  {
    name: 're-init at once when fenced',
    edits: [takingOver("    if (kind === 'fenced') return confirmation()\n", '')],
    tests: [model],
  },
  {
    name: 'take the answer of an old heartbeat for a confirmation',
    edits: [
      takingOver('if (!waiting || sentAtMs <= waiting.afterMs) return', 'if (!waiting) return'),
    ],
    tests: [model],
  },
  {
    name: 'fire completeness deadlines before the backlog is read',
    edits: [
      {
        file: 'coordinator/task/deadlines.ts',
        find: '      waiting.push(entity)\n      list()',
        replace: '      options.fire([entity])',
      },
    ],
    tests: [worlds],
  },
  {
    name: 'let an entity go while an event holds it',
    edits: [
      {
        file: 'coordinator/core/decide.ts',
        find: 'during(task, () => take(cx, event))',
        replace: 'take(cx, event)',
      },
    ],
    tests: [worlds],
  },
  {
    name: 'leave open what a dying broker left open',
    edits: [fences('      await settle(transactions, claiming, { id: writer.id, last })\n', '')],
    tests: [hanging('was aborted left open')],
  },
  {
    name: 'abort what was committed before a broker died',
    edits: [fences("const commit = last.ended === 'committed'", 'const commit = false')],
    tests: [hanging('was committed left open')],
  },
  {
    name: 'an idle owner does not ask what a dying broker left open',
    edits: [
      fences('transactionalId, mend, batches', 'transactionalId, mend: async () => {}, batches'),
    ],
    tests: [hanging('behind an idle owner')],
  },
  {
    name: 'blame a record for what an outcome did',
    edits: [
      {
        file: 'coordinator/task/crash-guard.ts',
        find: 'return !isBlaming',
        replace: 'return true',
      },
    ],
    tests: [{ file: 'test/sim/deadly-outcome.test.ts' }],
  },
  {
    name: 'leave out the partition',
    edits: [
      {
        file: 'coordinator/log/writer.ts',
        find: '    partition,\n    key,\n    value: value === null',
        replace: '    key,\n    value: value === null',
      },
    ],
    tests: [kafka('a commit keeps order')],
  },
]

const PATCHES = 'test/kafka/patches.test.ts'
const WRITER = 'test/kafka/writer-patches.test.ts'
const RESPONSES = 'test/kafka/responses.test.ts'
const ENCODER = 'test/kafka/record-encoder.test.ts'

/** What fails without each patch of kafkajs. */
const withoutPatch: Readonly<Record<keyof typeof patches, Catcher>> = {
  linearGrouping: { file: PATCHES, only: 'P3' },
  recordEncoder: { file: ENCODER, only: 'every shape of record' },
  batchEncoder: { file: ENCODER, only: 'every shape of batch' },
  growth: { file: ENCODER, only: 'not filled with zeros' },
  wholeBatches: { file: PATCHES, only: 'P2' },
  idleTimer: { file: PATCHES, only: 'P1' },
  errorCodes: { file: PATCHES, only: 'codes 89' },
  busyTransactions: { file: WRITER, only: 'K17' },
  coordinatorOnce: { file: WRITER, only: 'K14' },
  memberships: { file: PATCHES, only: 'knows its generation' },
  heartbeats: { file: PATCHES, only: 'knows its generation' },
  writerIds: { file: WRITER, only: 'the id of a writer' },
  outOfRange: { file: PATCHES, only: 'out of range' },
  silentConnections: { file: 'test/kafka/silent-connection.test.ts' },
  responses: { file: RESPONSES, only: 'left half done' },
}

const unpatched = Object.entries(withoutPatch).map(([name, test]): Mutant => ({
  name: `without the patch ${name}`,
  edits: [
    {
      file: 'packages/kafka/patches.ts',
      find: 'for (const patch of chosen) patch(modules)',
      replace: `for (const patch of chosen) if (patch !== patches.${name}) patch(modules)`,
    },
  ],
  tests: [test],
}))

export const mutants: readonly Mutant[] = [
  ...protocol,
  ...unpatched,
  ...recordMutants,
  ...supplyMutants,
  ...contractMutants,
  ...imageMutants,
  ...responseMutants,
  ...hostileMutants,
  ...stateMutants,
  ...downMutants,
]
