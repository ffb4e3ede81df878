// T4: what a checkpoint announces is what its transaction put on the other topics.
import { createHash } from 'node:crypto'
import type { Checkpoint } from '#proto/wellspring/journal/v1/state_pb.ts'
import type { CommittedRecord, Evidence } from '../evidence.ts'
import { once } from './names.ts'
import { entryOf } from './records.ts'
import { placeName, transactions, type Transaction } from './transactions.ts'

export type Flush = {
  readonly checkpoint: Checkpoint
  readonly task: number
  /** Where its transaction begins in state.v1. */
  readonly offset: number
  /** What its transaction put on the other topics. */
  readonly outputs: readonly CommittedRecord[]
}

export function announced(evidence: Evidence): string[] {
  return joined(evidence).complaints
}

/** Flushes with their outputs, as far as they can be told. */
export const flushes = (evidence: Evidence): readonly Flush[] => joined(evidence).flushes

type Joined = { readonly flushes: Flush[]; readonly complaints: string[] }

/**
 * No log says which transaction of one partition is which of another. A writer's transactions keep their order in
 * each, so the parts of a flush are always among the first ones left: those that have its count and its digest.
 */
const joined = once((evidence): Joined => {
  const byWriter = Map.groupBy(
    transactions(evidence).filter(({ outcome }) => outcome === 'commit'),
    ({ producerId }) => producerId,
  )
  const found: Joined = { flushes: [], complaints: [] }
  for (const mine of byWriter.values()) {
    const journal = mine.filter(({ topic }) => topic === 'state.v1')
    const parts = mine.filter(({ topic }) => topic !== 'state.v1')
    if (journal.length > 0) join(found, journal, [...Map.groupBy(parts, placeName).values()])
  }
  return found
})

function join(
  { flushes: all, complaints }: Joined,
  journal: readonly Transaction[],
  outputs: readonly Transaction[][],
): void {
  // By topic, then partition: the order of the digest.
  const queues = outputs
    .toSorted((a, b) => comparePlaces(a[0], b[0]))
    .map((list) => ({ list, at: 0 }))
  for (const transaction of journal) {
    const checkpoints = checkpointsOf(transaction)
    const where = `${placeName(transaction)}@${transaction.firstOffset}`
    const [checkpoint] = checkpoints
    if (checkpoints.length > 1)
      complaints.push(`${where}: a transaction holds ${checkpoints.length} checkpoints`)
    if (!checkpoint) continue
    const heads = queues.flatMap(({ list, at }) => list[at] ?? [])
    const parts = matching(heads, checkpoint)
    if (!parts) {
      const next = heads.map(
        (head) => `${head.records.length} at ${placeName(head)}@${head.firstOffset}`,
      )
      complaints.push(
        `${where}: flush ${checkpoint.flushSeq} announces ${checkpoint.outputs} records with digest ` +
          `${Buffer.from(checkpoint.outputsDigest).toString('hex')}; next in the log are ${next.join(', ') || 'none'}`,
      )
      // What follows cannot be told apart any more.
      return
    }
    for (const queue of queues) {
      const head = queue.list[queue.at]
      if (head && parts.includes(head)) queue.at += 1
    }
    all.push({
      checkpoint,
      task: transaction.partition,
      offset: transaction.firstOffset,
      outputs: parts.flatMap(({ records }) => records),
    })
  }
  for (const { list, at } of queues)
    for (const left of list.slice(at))
      complaints.push(`${placeName(left)}@${left.firstOffset}: no checkpoint announces this output`)
}

function checkpointsOf({ records }: Transaction): Checkpoint[] {
  return records.flatMap((record) => {
    const entry = entryOf(record)
    return entry.kind === 'checkpoint' ? [entry.message] : []
  })
}

/** The heads whose records together have the announced count and digest. */
function matching(
  heads: readonly Transaction[],
  { outputs, outputsDigest }: Checkpoint,
): Transaction[] | undefined {
  const choose = (from: number, left: number, chosen: Transaction[]): Transaction[] | undefined => {
    if (left === 0)
      return digestOf(chosen.flatMap(({ records }) => records)).equals(outputsDigest)
        ? chosen
        : undefined
    const head = heads[from]
    if (!head || left < 0) return undefined
    return (
      choose(from + 1, left - head.records.length, [...chosen, head]) ??
      choose(from + 1, left, chosen)
    )
  }
  return choose(0, outputs, [])
}

function digestOf(records: readonly CommittedRecord[]): Buffer {
  const digest = createHash('sha256')
  for (const { topic, key, value } of records) {
    digest.update(`${topic}\n${key ?? ''}\n`)
    if (value) digest.update(value)
  }
  return digest.digest().subarray(0, 16)
}

function comparePlaces(a: Transaction | undefined, b: Transaction | undefined): number {
  const [first, second] = [a?.topic ?? '', b?.topic ?? '']
  return first === second ? (a?.partition ?? 0) - (b?.partition ?? 0) : first < second ? -1 : 1
}
