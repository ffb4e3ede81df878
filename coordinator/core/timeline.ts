// Where the time of a step run went, from state alone: intervals that tile it without gap or overlap. Spans and
// `why` are made of the same intervals, so they never disagree.
import {
  RunState,
  type Attempt,
  type Close,
  type StepRun,
} from '#proto/wellspring/journal/v1/state_pb.ts'

export type WaitKind = 'queue' | 'backoff' | 'siblings'

/** A stretch of time, UTC milliseconds. queue: ready or asked, but not yet at the service. */
export type Interval = {
  readonly kind: 'work' | WaitKind
  readonly fromMs: number
  readonly toMs: number
  /** The attempt that works, or is waited for; undefined at the end of a back-off under way. */
  readonly attempt?: Attempt
}

/** A step run in time. */
export type RunTime = {
  readonly run: StepRun
  readonly fromMs: number
  readonly toMs: number
  readonly intervals: readonly Interval[]
}

/** What an entity lived through, for spans and for `why`. */
export type Life = {
  /**
   * An image's arrival; the arrival of a group's first member. A group's later revisions begin with their close:
   * state does not tell which late arrival made them.
   */
  readonly firstMs: number
  readonly runs: readonly StepRun[]
  /** Of a site, well or plate that closed. */
  readonly close?: Close | undefined
}

/** Which of its traces a life is in now: revision of the close, or one more with every redrive of an image's runs. */
export function traceNumber(life: Pick<Life, 'runs'> & { close?: Close | undefined }): number {
  if (life.close) return Math.max(1, life.close.revision)
  return life.runs.reduce((sum, run) => sum + Math.max(1, run.generation) - 1, 1)
}

/**
 * The runs that belong to the latest trace, in time, with the first moment of that trace. A redriven image begins anew
 * when the latest of its redriven runs became ready. Runs that ended before the trace began are in one before.
 */
export function latestRuns(life: Life, nowMs: number): { fromMs: number; runs: RunTime[] } {
  const times = life.runs
    .filter((run) => run.readyMs > 0 && run.state !== RunState.UNSPECIFIED)
    .map((run) => runTime(run, nowMs))
  if (life.close) {
    const { atMs, revision } = life.close
    const runs = times.filter((time) => time.fromMs >= atMs)
    return { fromMs: revision > 1 ? atMs : Math.min(life.firstMs, atMs), runs }
  }
  const redriven = times.filter((time) => time.run.generation > 1)
  if (redriven.length === 0) return { fromMs: life.firstMs, runs: times }
  const fromMs = Math.max(...redriven.map((time) => time.fromMs))
  return {
    fromMs,
    runs: times.filter((time) => time.toMs > fromMs).map((time) => since(time, fromMs)),
  }
}

function since(time: RunTime, fromMs: number): RunTime {
  if (time.fromMs >= fromMs) return time
  const intervals = time.intervals
    .filter((interval) => interval.toMs > fromMs)
    .map((interval) => ({ ...interval, fromMs: Math.max(fromMs, interval.fromMs) }))
  return { ...time, fromMs, intervals }
}

/** A run's time from ready to its end, or to now; its intervals tile it. Times out of order are clamped. */
export function runTime(run: StepRun, nowMs: number): RunTime {
  const intervals: Interval[] = []
  let at = run.readyMs
  const add = (kind: Interval['kind'], toMs: number, attempt?: Attempt): void => {
    if (toMs <= at) return
    const last = intervals.at(-1)
    if (last && last.kind === kind && last.attempt === attempt) {
      intervals[intervals.length - 1] = { ...last, toMs }
    } else {
      intervals.push({ kind, fromMs: at, toMs, ...(attempt && { attempt }) })
    }
    at = toMs
  }
  for (const [index, attempt] of run.attempts.entries()) {
    const running = attempt.endedMs === 0
    const endMs = running ? nowMs : attempt.endedMs
    // Without a start, an ended attempt never left, and of a running one only the asking is known.
    const startMs = attempt.startedMs || (running ? attempt.askedMs : endMs)
    const first = index === 0 && attempt.number <= 1
    add(first ? 'queue' : 'backoff', Math.min(attempt.askedMs, endMs), attempt)
    // Put off again and again: most of that time went between the askings.
    add(attempt.times > 1 ? 'backoff' : 'queue', Math.min(startMs, endMs), attempt)
    add('work', endMs, attempt)
  }
  switch (run.state) {
    case RunState.BACKOFF:
      add('backoff', nowMs)
      break
    case RunState.RUNNING:
      if (run.attempts.length > 0) add('backoff', Math.min(run.dueMs, nowMs))
      add('work', nowMs)
      break
    case RunState.UNSPECIFIED:
      add('queue', nowMs)
      break
    case RunState.DONE:
    case RunState.PARKED:
    case RunState.SKIPPED:
      // Verification of outputs, or giving up at the total time-out.
      add(
        run.attempts.length > 0 && run.state === RunState.PARKED ? 'backoff' : 'queue',
        run.endedMs,
      )
      break
  }
  return { run, fromMs: run.readyMs, toMs: at, intervals }
}

/** Milliseconds per kind; the parts sum to toMs - fromMs. */
export type Shares = { work: number; queue: number; backoff: number; siblings: number }

/**
 * Divides a stretch among what went on in it. Where runs overlap, work counts before queue before back-off; what no
 * interval covers is the coordinator's own time and counts as queue.
 */
export function shareTime(intervals: readonly Interval[], fromMs: number, toMs: number): Shares {
  const shares: Shares = { work: 0, queue: 0, backoff: 0, siblings: 0 }
  const cuts = new Set([fromMs, toMs])
  for (const interval of intervals)
    for (const ms of [interval.fromMs, interval.toMs]) if (ms > fromMs && ms < toMs) cuts.add(ms)
  const sorted = [...cuts].toSorted((a, b) => a - b)
  for (const [index, start] of sorted.entries()) {
    const end = sorted[index + 1]
    if (end === undefined) break
    const here = intervals.filter((interval) => interval.fromMs <= start && interval.toMs >= end)
    const kind = (['work', 'queue', 'backoff', 'siblings'] as const).find((candidate) =>
      here.some((interval) => interval.kind === candidate),
    )
    shares[kind ?? 'queue'] += end - start
  }
  return shares
}
