// I13: plates do not disturb each other: while only some were disturbed, the images of the others were as quick as ever.
import type { Evidence } from '../evidence.ts'
import { plateOf } from './names.ts'
import { images, results } from './records.ts'

/** Fewer images of a plate say nothing about 95 of 100. */
const IMAGES_MIN = 20

export function neighbours(evidence: Evidence): string[] {
  const { neighbours: known } = evidence.circumstances
  if (!known) return []
  return [...latencies(evidence)].flatMap(([plate, taken]) => {
    if (known.disturbed.includes(plate)) return []
    const inCalm = taken.filter(({ fromMs, toMs }) =>
      known.calm.some((span) => span.fromMs <= fromMs && toMs <= span.toMs),
    )
    if (inCalm.length < IMAGES_MIN) return []
    const p95Ms = percentile(
      inCalm.map(({ fromMs, toMs }) => toMs - fromMs),
      0.95,
    )
    return p95Ms <= known.latencyP95MsMax
      ? []
      : [`${plate}: 95 of 100 images took up to ${p95Ms} ms; ${known.latencyP95MsMax} are allowed`]
  })
}

export type Latency = { readonly fromMs: number; readonly toMs: number }

/** From each image's announcement to its first result, by plate acquisition. */
export function latencies(evidence: Evidence): ReadonlyMap<string, readonly Latency[]> {
  const first = new Map<string, number>()
  for (const { record, message } of results(evidence))
    if (!first.has(message.entity)) first.set(message.entity, record.timestampMs)
  const seen = new Set<string>()
  const taken = images(evidence).flatMap(({ record, entity }) => {
    const toMs = first.get(entity)
    // A duplicate announcement brings no work.
    if (toMs === undefined || seen.has(entity)) return []
    seen.add(entity)
    return [{ plate: plateOf(entity), fromMs: record.timestampMs, toMs }]
  })
  return Map.groupBy(taken, ({ plate }) => plate)
}

/** Nearest rank; NaN of nothing. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN
}
