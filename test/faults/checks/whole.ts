// Whether the evidence itself can be judged: a check over half a log passes for nothing.
import type { Evidence } from '../evidence.ts'
import { placeOf } from './records.ts'
import { placeName, transactions } from './transactions.ts'

/** Batches cover every partition without a gap, and the Java client was shown exactly what they say is committed. */
export function whole(evidence: Evidence): string[] {
  const complaints = [...(evidence.circumstances.copiesDiffer ?? [])]
  if (evidence.plans.length === 0) complaints.push('no plan: nothing was asked for')
  if (evidence.ends.length === 0) complaints.push('no offsets were listed')
  const batches = Map.groupBy(evidence.batches, placeName)
  const records = Map.groupBy(evidence.committed, placeName)
  const committed = new Map<string, number>()
  const add = (place: string, count: number): void =>
    void committed.set(place, (committed.get(place) ?? 0) + count)
  for (const one of transactions(evidence))
    if (one.outcome === 'commit')
      for (const batch of one.batches) add(placeName(one), batch.records)
  for (const batch of evidence.batches)
    if (!batch.isTransactional && batch.control === undefined) add(placeName(batch), batch.records)

  // Nobody opens those.
  for (const bomb of evidence.circumstances.incoming?.bombs ?? []) add(placeName(bomb), -1)

  const compacted = evidence.circumstances.isCompacted ? ['state.v1', 'status.v1'] : []
  for (const partition of evidence.ends) {
    if (compacted.includes(partition.topic)) continue
    const place = placeName(partition)
    let next = partition.low
    for (const { baseOffset, lastOffset } of batches.get(place) ?? []) {
      if (lastOffset < partition.low) continue
      if (baseOffset > next)
        complaints.push(`${place} lacks ${next} to ${baseOffset - 1}: compacted, or not read whole`)
      next = lastOffset + 1
    }
    if (next < partition.end)
      complaints.push(`${place} ends at ${partition.end}, its batches at ${next}`)
    const seen = records.get(place)?.length ?? 0
    const expected = committed.get(place) ?? 0
    if (partition.lastStable === partition.end && seen !== expected)
      complaints.push(`${place}: ${expected} records are committed, the Java client saw ${seen}`)
  }
  const known = new Set(evidence.ends.map(placeName))
  for (const record of evidence.committed)
    if (!known.has(placeName(record)))
      complaints.push(`${placeOf(record)} is in no listed partition`)
  return complaints
}
