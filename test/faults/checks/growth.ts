// The straight line through samples (least squares), and how much it rises: of a process that leaks it rises, of one that
// only breathes it does not.
import type { Evidence, Growth } from '../evidence.ts'

export type Point = { readonly atMs: number; readonly value: number }

/** One figure of one process, or of the log, after the warm-up. */
export type Series = {
  readonly of: string
  /** Its name in a sample, unit included. */
  readonly what: string
  readonly points: readonly Point[]
  readonly riseMax: number
}

/** Fewer points have no trend. */
const POINTS_MIN = 8

export function growing(evidence: Evidence): string[] {
  const { growth } = evidence.circumstances.bounds ?? {}
  if (!growth) return []
  return seriesOf(evidence, growth).flatMap(({ of, what, points, riseMax }) => {
    if (points.length < POINTS_MIN)
      return [
        `${what} of ${of} was seen ${points.length} times after the warm-up: too few to judge`,
      ]
    const rise = riseOf(points)
    return rise <= riseMax
      ? []
      : [`${what} of ${of} rises by ${Math.round(rise)} over the run; ${riseMax} are allowed`]
  })
}

/** Of every process that was seen, and of the log. */
export function seriesOf({ circumstances }: Evidence, growth: Growth): readonly Series[] {
  const { samples, log } = circumstances
  const fromMs = Math.min(samples[0]?.atMs ?? Infinity, log[0]?.atMs ?? Infinity) + growth.warmUpMs
  // What comes behind the run is no part of its trend: there is no work any more.
  const toMs = circumstances.faults?.toMs ?? Infinity
  const series = <K extends string>(
    of: string,
    all: readonly ({ readonly atMs: number } & { readonly [name in K]?: number })[],
    rises: Readonly<Record<K, number>>,
  ): Series[] =>
    (Object.keys(rises) as K[]).map((what) => ({
      of,
      what,
      points: all.flatMap((one) => {
        const value = one[what]
        return one.atMs < fromMs || one.atMs > toMs || value === undefined
          ? []
          : [{ atMs: one.atMs, value }]
      }),
      riseMax: rises[what],
    }))
  const processes = Map.groupBy(samples, ({ name, pid }) => `${name} (${pid})`)
  return [
    ...[...processes].flatMap(([of, its]) => series(of, its, growth.ofProcess)),
    ...series('the log', log, growth.ofLog),
  ]
}

/** By the fitted line, from the first point to the last; 0 of fewer than two. */
export function riseOf(points: readonly Point[]): number {
  const first = points[0]
  const last = points.at(-1)
  if (!first || !last || first.atMs === last.atMs) return 0
  const mean = (of: (point: Point) => number): number =>
    points.reduce((sum, point) => sum + of(point), 0) / points.length
  const atMs = mean((point) => point.atMs)
  const value = mean((point) => point.value)
  const covariance = mean((point) => (point.atMs - atMs) * (point.value - value))
  const variance = mean((point) => (point.atMs - atMs) ** 2)
  return (covariance / variance) * (last.atMs - first.atMs)
}
