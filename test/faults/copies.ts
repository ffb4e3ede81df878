// With several brokers each partition has copies: one log is made of them, and where they do not agree is told.
import { isDeepStrictEqual } from 'node:util'
import type { Batch } from './evidence.ts'

export type Merged = {
  /** Of each partition the copy that goes furthest: it holds what the others hold. */
  readonly batches: Batch[]
  /** Where another copy says otherwise; at rest there is no such place. */
  readonly differences: string[]
}

export function mergeCopies(copies: readonly (readonly Batch[])[]): Merged {
  const merged: Merged = { batches: [], differences: [] }
  const byPlace = Map.groupBy(
    copies.flatMap((copy) => [
      ...Map.groupBy(copy, ({ topic, partition }) => `${topic}/${partition}`),
    ]),
    ([place]) => place,
  )
  for (const [place, found] of byPlace) {
    const own = found.map(([, batches]) => batches)
    const [longest = [], ...others] = own.toSorted((a, b) => endOf(b) - endOf(a))
    merged.batches.push(...longest)
    const known = new Map(longest.map((batch) => [batch.baseOffset, batch]))
    for (const batch of others.flat())
      if (!isDeepStrictEqual(batch, known.get(batch.baseOffset)))
        merged.differences.push(`${place}: its copies differ at ${batch.baseOffset}`)
  }
  return merged
}

const endOf = (batches: readonly Batch[]): number => batches.at(-1)?.lastOffset ?? -1
