// A small run told by hand, for judges to be judged by: what was written, in which transactions, by whom. `tell` makes
// evidence of it that is consistent in itself; a test changes the story where a coordinator would have gone wrong.
import { createHash } from 'node:crypto'
import { create, toBinary } from '@bufbuild/protobuf'
import {
  CheckpointSchema,
  OwnerSchema,
  type Checkpoint,
} from '#proto/wellspring/journal/v1/state_pb.ts'
import type { PlatePlan } from '#proto/wellspring/lab/v1/plan_pb.ts'
import type {
  Batch,
  CallLine,
  Circumstances,
  CommittedRecord,
  Evidence,
  PartitionEnd,
} from './evidence.ts'
import { echoLevels } from './pipelines.ts'

export type Written = {
  topic: string
  key: string | null
  /** Full name of the message; empty: no header. */
  type: string
  value: Uint8Array | null
  atMs: number
}

/** One transaction of the task's writer. */
export type Turn = {
  epoch: number
  outcome: 'commit' | 'abort' | 'open'
  what:
    | { kind: 'own' }
    | {
        kind: 'flush'
        state: [key: string, value: Uint8Array | null][]
        outputs: Written[]
        /** Next offset of images.v1 and of commands.v1. */
        next: [images: number, commands: number]
        /** What the checkpoint says instead of the truth. */
        forged: Partial<Omit<Checkpoint, '$typeName' | '$unknown'>>
      }
}

export type Story = {
  plans: PlatePlan[]
  inputs: Written[]
  turns: Turn[]
  calls: CallLine[]
  circumstances: Circumstances
}

const PRODUCER_ID = 7
const FROM_MS = 1_000_000

/** The evidence that such a run leaves in one partition of every topic. */
export function tell(story: Story): Evidence {
  const log = openLog()
  for (const input of story.inputs) log.append([input], undefined)
  const state = new Map<string, Uint8Array>()
  let flushSeq = 0
  for (const { epoch, outcome, what } of story.turns) {
    if (what.kind === 'own') {
      const owner = create(OwnerSchema, { nonce: `n${epoch}`, producerId: PRODUCER_ID, epoch })
      const value = toBinary(OwnerSchema, owner)
      log.append([journal('#owner', value)], { epoch, outcome })
      continue
    }
    if (outcome === 'commit') {
      flushSeq += 1
      for (const [key, value] of what.state)
        if (value === null) state.delete(key)
        else state.set(key, value)
    }
    const checkpoint = create(CheckpointSchema, {
      flushSeq,
      next: [
        { topic: 'images.v1', next: what.next[0] },
        { topic: 'commands.v1', next: what.next[1] },
      ],
      producerId: PRODUCER_ID,
      epoch,
      journalVersion: 1,
      outputs: what.outputs.length,
      outputsDigest: outputsDigest(what.outputs),
      stateDigest: stateDigest(state),
      ...what.forged,
    })
    const changes = what.state.map(([key, value]) => journal(key, value))
    const last = journal('#ckpt', toBinary(CheckpointSchema, checkpoint))
    log.append([...changes, last], { epoch, outcome })
    const byTopic = Map.groupBy(what.outputs, ({ topic }) => topic)
    for (const outputs of byTopic.values()) log.append(outputs, { epoch, outcome })
  }
  const { plans, calls, circumstances } = story
  return { pipeline: echoLevels, plans, calls, circumstances, ...log.read() }
}

function journal(key: string, value: Uint8Array | null): Written {
  return { topic: 'state.v1', key, type: '', value, atMs: FROM_MS }
}

type Transaction = Pick<Turn, 'epoch' | 'outcome'>

function openLog() {
  const committed: CommittedRecord[] = []
  const batches: Batch[] = []
  const next = new Map<string, number>()
  const stuck = new Map<string, number>()

  const write = (topic: string, records: number, rest: Partial<Batch>): number => {
    const baseOffset = next.get(topic) ?? 0
    next.set(topic, baseOffset + records)
    batches.push({
      topic,
      partition: 0,
      baseOffset,
      lastOffset: baseOffset + records - 1,
      producerId: -1,
      epoch: -1,
      baseSequence: -1,
      isTransactional: false,
      records,
      sizeBytes: 100 * records,
      timestampMs: FROM_MS,
      ...rest,
    })
    return baseOffset
  }

  return {
    /** Records of one topic as one batch, and the marker that ends its transaction. */
    append(records: readonly Written[], transaction: Transaction | undefined): void {
      const topic = records[0]?.topic ?? ''
      const by = transaction && {
        producerId: PRODUCER_ID,
        epoch: transaction.epoch,
        isTransactional: true,
      }
      const base = write(topic, records.length, by ?? {})
      const outcome = transaction?.outcome ?? 'commit'
      if (by && outcome !== 'open') write(topic, 1, { ...by, control: outcome })
      if (outcome === 'open' && !stuck.has(topic)) stuck.set(topic, base)
      if (outcome !== 'commit') return
      for (const [at, { key, value, type, atMs }] of records.entries())
        committed.push({
          topic,
          partition: 0,
          offset: base + at,
          timestampMs: atMs,
          key,
          value: value && Buffer.from(value),
          headers: type === '' ? {} : { 'wellspring-type': type },
        })
    },
    read(): { committed: CommittedRecord[]; batches: Batch[]; ends: PartitionEnd[] } {
      const ends = [...next].map(([topic, end]) => {
        return { topic, partition: 0, low: 0, end, lastStable: stuck.get(topic) ?? end }
      })
      return { committed, batches, ends }
    },
  }
}

/** As the contract of the journal has it: by topic, within one in order. */
function outputsDigest(outputs: readonly Written[]): Uint8Array {
  const digest = createHash('sha256')
  for (const { topic, key, value } of outputs.toSorted((a, b) =>
    a.topic < b.topic ? -1 : Number(a.topic > b.topic),
  ))
    digest.update(`${topic}\n${key ?? ''}\n`).update(value ?? new Uint8Array())
  return digest.digest().subarray(0, 16)
}

/** Plans, plates, wells, sites, each in order of key. */
function stateDigest(state: ReadonlyMap<string, Uint8Array>): Uint8Array {
  const digest = createHash('sha256')
  const level = (key: string): number => {
    if (/#plan(\.\d+)?$/.test(key)) return 0
    return /#run\.\d+$/.test(key) ? Infinity : key.split('/').length
  }
  const sorted = [...state].toSorted(([a], [b]) =>
    level(a) === level(b) ? (a < b ? -1 : 1) : level(a) - level(b),
  )
  for (const [key, value] of sorted) digest.update(key).update('\n').update(value)
  return digest.digest().subarray(0, 16)
}
