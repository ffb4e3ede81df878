// What a run tells in numbers: results, how soon work went on after a death, and what was done twice.
import type { CallLine } from './evidence.ts'
import type { Arrival } from './follow.ts'
import type { Injected, RunResult } from './run.ts'
import type { CrewEvent } from './crew.ts'

const MEGA = 1_048_576
const limits = { calmMs: 9_000, windowMs: 1_000 } as const

export function figuresOf(result: RunResult): string[] {
  const { report, calls, events, restMs, judging } = result
  const deaths = events.filter((one) => one.kind === 'ended' && one.how === 'SIGKILL')
  const restarts = events.filter((one) => one.kind === 'ended' && one.how.startsWith('exit code 1'))
  return [
    `planned ${report.planned}, results ${report.done}, dead letters ${report.parked}, holes ${report.holes}, ` +
      `refused inputs ${report.refusedInputs}`,
    `lost ${report.missing}, duplicate ${report.duplicate}, phantom ${report.unplanned}`,
    `at rest ${restMs === undefined ? 'never' : `after ${seconds(restMs)}`}`,
    `deaths by -9 ${deaths.length}, ends with code 1 ${restarts.length}`,
    `executions ${calls.length}, ${repeatsOf(calls, deaths)}`,
    `kill → next new result of its tasks: ${spread(delays(result, 'killed'))}`,
    `SIGTERM → next new result of its tasks: ${spread(delays(result, 'terminated'))}`,
    ...looksOf(result),
    ...incomingFigures(result),
    `judged ${judging.records} records: read in ${seconds(judging.readMs)}, judged in ${seconds(judging.judgeMs)}, ` +
      `${Math.round(judging.rssBytes / MEGA)} MB of memory`,
  ]
}

/** What came in to do harm, and what became of it. */
function incomingFigures({ notes, memory, events }: RunResult): string[] {
  const own = events.filter((one) => one.kind === 'ended' && !one.isMeant)
  const hostile = notes.posts.filter(({ isHostile }) => isHostile)
  const answers = Map.groupBy(hostile, ({ status }) => String(status ?? 'closed'))
  const slowest = notes.posts.reduce((most, { tookMs }) => Math.max(most, tookMs), 0)
  const posts = [...answers].map(([status, all]) => `${status} ${all.length}`)
  const grown = memory.map(
    ({ by, beforeBytes, peakBytes }) =>
      `${by} ${mega(beforeBytes)} → ${mega(peakBytes)} MB (${(peakBytes / beforeBytes).toFixed(2)})`,
  )
  return [
    `ends that nobody wanted ${own.length}; bombs ${notes.bombs.length}, deletions ${notes.deletions.length}, ` +
      `starts beside an odd replica ${notes.starts.length}`,
    `hostile posts ${hostile.length} (${posts.join(', ')}), the slowest answer after ${seconds(slowest)}`,
    `memory of the coordinator that grew most, by kind: ${grown.join(', ') || 'not judged'}`,
  ]
}

const mega = (bytes: number): string => (bytes / MEGA).toFixed(0)

/** I12 and I13 in numbers. */
export function looksOf({ samples, log, calm }: RunResult): string[] {
  const most = (values: readonly (number | undefined)[]): number =>
    values.reduce<number>((max, value) => Math.max(max, value ?? 0), 0)
  const processes = `${most(samples.map((one) => one.rssBytes / MEGA)).toFixed(0)} MB, heap ${most(
    samples.map((one) => (one.heapBytes ?? 0) / MEGA),
  ).toFixed(0)} MB, ${most(samples.map((one) => one.handles))} handles, event loop late by ${most(
    samples.map((one) => one.loopDelayP99Ms),
  )} ms (p99)`
  const worst = calm.map(({ by, images, p95Ms }) => `${by} ${p95Ms} ms (${images})`)
  return [
    samples.length === 0
      ? 'coordinators: not looked at, there is no /proc here'
      : `coordinators, at most: ${processes}, in ${samples.length} looks`,
    `the log, at most: ${most(log.map((one) => one.lagRecords))} input records behind the checkpoints, ` +
      `${most(log.map((one) => one.openKeys))} open keys, state.v1 ${most(log.map((one) => one.stateBytes / MEGA)).toFixed(1)} MB`,
    `while only some were disturbed, 95 of 100 images of others took (images): ${worst.join(', ') || 'not judged'}`,
  ]
}

/** Executions of a key that had already been answered right, against what was under way at the deaths. */
function repeatsOf(calls: readonly CallLine[], deaths: readonly CrewEvent[]): string {
  const byKey = Map.groupBy(calls, ({ key }) => key)
  let repeats = 0
  for (const same of byKey.values()) {
    const done = Math.min(...same.flatMap(({ outcome, end }) => (outcome === 'ok' ? [end] : [])))
    repeats += same.filter(({ start }) => start > done).length
  }
  const windows = deaths.map(
    ({ atMs }) =>
      calls.filter(({ start, end }) => start <= atMs && end > atMs - limits.windowMs).length,
  )
  const most = Math.max(0, ...windows)
  const perDeath = deaths.length === 0 ? 0 : repeats / deaths.length
  return `repeated after a right answer ${repeats} (${perDeath.toFixed(1)} per death; under way or just ended at a death: ${most} at most)`
}

type Delay = { readonly ms: number; readonly isCalm: boolean }

/** Per task that a process had when it went: how long until its next owner's first result was seen. */
function delays({ events, arrivals, injected }: RunResult, kind: 'killed' | 'terminated'): Delay[] {
  return events
    .filter((one) => one.kind === kind)
    .flatMap(({ name, atMs }) =>
      ownedBy(name, atMs, events).flatMap((task): Delay[] => {
        const next = events.find(
          (one) => one.kind === 'owner' && one.task === task && one.atMs > atMs,
        )
        const arrival = next && firstAfter(arrivals, task, next.atMs)
        if (!arrival) return []
        return [{ ms: arrival.atMs - atMs, isCalm: isCalm(injected, atMs) }]
      }),
    )
}

function ownedBy(name: string, atMs: number, events: readonly CrewEvent[]): number[] {
  const owners = new Map<number, string>()
  for (const one of events)
    if (one.kind === 'owner' && one.atMs < atMs) owners.set(one.task, one.name)
  return [...owners].flatMap(([task, owner]) => (owner === name ? [task] : []))
}

function firstAfter(arrivals: readonly Arrival[], task: number, atMs: number): Arrival | undefined {
  return arrivals.find((one) => one.partition === task && one.atMs > atMs)
}

/** No other fault moved tasks at that time. */
function isCalm(injected: readonly Injected[], atMs: number): boolean {
  const light = new Set(['lie', 'poison', 'service-kill', 'service-stop'])
  const others = injected.filter(
    ({ fault, fromMs, toMs }) =>
      !light.has(fault.kind) && fromMs < atMs + limits.calmMs && toMs > atMs - limits.calmMs,
  )
  return others.length <= 1
}

function spread(all: readonly Delay[]): string {
  const calm = all.filter(({ isCalm: is }) => is)
  return `${quantiles(all)}; undisturbed by others: ${quantiles(calm)}`
}

const seconds = (ms: number): string => `${(ms / 1_000).toFixed(1)} s`

function quantiles(all: readonly Delay[]): string {
  const sorted = all.map(({ ms }) => ms).toSorted((a, b) => a - b)
  const at = (part: number): string =>
    seconds(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0)
  return sorted.length === 0 ? 'none' : `p50 ${at(0.5)}, max ${at(1)} of ${sorted.length}`
}
