// Transactions as the batch headers show them: what one writer wrote to one partition up to a marker.
import type { Batch, CommittedRecord } from '../evidence.ts'
import { once } from './names.ts'

export type Transaction = {
  readonly topic: string
  readonly partition: number
  readonly producerId: number
  readonly epoch: number
  readonly firstOffset: number
  readonly lastOffset: number
  readonly batches: readonly Batch[]
  readonly outcome: 'commit' | 'abort' | 'open'
  /** Committed records of it, in order. */
  readonly records: readonly CommittedRecord[]
}

/** All of them, by first offset within a partition. */
export const transactions = once((evidence): readonly Transaction[] => {
  const records = new Map(
    [...Map.groupBy(evidence.committed, placeName)].map(([place, list]) => [
      place,
      new Map(list.map((record) => [record.offset, record])),
    ]),
  )
  return [...Map.groupBy(evidence.batches, placeName)].flatMap(([place, batches]) =>
    inPartition(batches, records.get(place) ?? new Map()).toSorted(
      (a, b) => a.firstOffset - b.firstOffset,
    ),
  )
})

export const placeName = ({ topic, partition }: { topic: string; partition: number }): string =>
  `${topic}/${partition}`

function inPartition(
  batches: readonly Batch[],
  records: ReadonlyMap<number, CommittedRecord>,
): Transaction[] {
  const done: Transaction[] = []
  const open = new Map<number, Batch[]>()
  const end = (list: readonly Batch[], outcome: Transaction['outcome']): void => {
    const [first] = list
    const last = list.at(-1)
    if (!first || !last) return
    const { topic, partition, producerId, epoch } = first
    done.push({
      topic,
      partition,
      producerId,
      epoch,
      firstOffset: first.baseOffset,
      lastOffset: last.lastOffset,
      batches: list,
      outcome,
      records: list.flatMap((batch) => recordsIn(batch, records)),
    })
  }
  for (const batch of batches) {
    if (!batch.isTransactional) continue
    const list = open.get(batch.producerId) ?? []
    if (batch.control === undefined) {
      list.push(batch)
      open.set(batch.producerId, list)
    }
    if (batch.control !== 'commit' && batch.control !== 'abort') continue
    end(list, batch.control)
    open.delete(batch.producerId)
  }
  for (const list of open.values()) end(list, 'open')
  return done
}

export function recordsIn(
  { baseOffset, lastOffset }: Batch,
  records: ReadonlyMap<number, CommittedRecord>,
): CommittedRecord[] {
  const found: CommittedRecord[] = []
  for (let offset = baseOffset; offset <= lastOffset; offset += 1) {
    const record = records.get(offset)
    if (record) found.push(record)
  }
  return found
}
