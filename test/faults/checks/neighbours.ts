// I13: plates do not disturb each other: while only some were disturbed, the images of the others were as quick as ever.
import type { Evidence } from '../evidence.ts'
import { plateOf } from './names.ts'
import { images, results } from './records.ts'

/** Fewer images say nothing about 95 of 100. */
const IMAGES_MIN = 20

export function neighbours(evidence: Evidence): string[] {
  return calmLatencies(evidence).flatMap(({ by, atMs, images: count, p95Ms, maxMs }) =>
    p95Ms <= maxMs
      ? []
      : [
          `while ${by} disturbed others at ${atMs}, 95 of 100 of ${count} images took up to ${p95Ms} ms; ${maxMs} are allowed`,
        ],
  )
}

export type CalmLatency = {
  readonly by: string
  readonly atMs: number
  readonly images: number
  readonly p95Ms: number
  readonly maxMs: number
}

/** Of every span in which only others were disturbed, if enough images were announced in it. */
export function calmLatencies(evidence: Evidence): readonly CalmLatency[] {
  const { neighbours: known } = evidence.circumstances
  if (!known) return []
  const { disturbed, partitions = [], spans, latencyP95MsMax: maxMs } = known
  const innocent = latencies(evidence).filter(
    ({ entity, partition, fromMs }) =>
      !disturbed.has(entity) &&
      !disturbed.has(plateOf(entity)) &&
      !partitions.some(
        (one) => one.partition === partition && one.fromMs <= fromMs && fromMs <= one.toMs,
      ),
  )
  return spans.flatMap(({ by, fromMs, toMs }) => {
    // One announced at the very end may be hit by what comes next.
    const within = innocent.filter((one) => fromMs <= one.fromMs && one.fromMs <= toMs - maxMs)
    if (within.length < IMAGES_MIN) return []
    const p95Ms = percentile(
      within.map((one) => one.toMs - one.fromMs),
      0.95,
    )
    return [{ by, atMs: fromMs, images: within.length, p95Ms, maxMs }]
  })
}

export type Latency = {
  readonly entity: string
  readonly partition: number
  readonly fromMs: number
  readonly toMs: number
}

/** From each image's announcement to its first result; for ever, when it has none. */
export function latencies(evidence: Evidence): readonly Latency[] {
  const first = new Map<string, number>()
  for (const { record, message } of results(evidence))
    if (!first.has(message.entity)) first.set(message.entity, record.timestampMs)
  const seen = new Set<string>()
  return images(evidence).flatMap(({ record, entity }) => {
    // A duplicate announcement brings no work.
    if (seen.has(entity)) return []
    seen.add(entity)
    const toMs = first.get(entity) ?? Number.POSITIVE_INFINITY
    return [{ entity, partition: record.partition, fromMs: record.timestampMs, toMs }]
  })
}

/** Nearest rank; NaN of nothing. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN
}
