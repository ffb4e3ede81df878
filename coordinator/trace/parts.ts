// The parts of a trace below its root: steps, waits, attempts.
import {
  Span_SpanKind as Kind,
  type Span_Link,
  type Status,
} from '#proto/opentelemetry/proto/trace/v1/trace_pb.ts'
import {
  RunState,
  RunStateSchema,
  type Attempt,
  type StepRun,
} from '#proto/wellspring/journal/v1/state_pb.ts'
import type { StepFailure } from '#proto/wellspring/step/v1/failure_pb.ts'
import { attemptFailure, failureOf } from '../core/attempts.ts'
import type { Interval, RunTime } from '../core/timeline.ts'
import { wordOf } from '../core/view/word.ts'
import { className, failedStatus, type attributes } from './build.ts'

export type Part = {
  readonly part: string
  readonly name: string
  readonly kind?: Kind
  readonly fromMs: number
  readonly toMs: number
  readonly attributes: Parameters<typeof attributes>[0]
  /** Waits are found by their step: they do not repeat the entity, so that a trace stays below 64 kB. */
  readonly isWait?: boolean
  readonly parent?: string
  readonly links?: Span_Link[]
  readonly status?: Status | undefined
}

export type RunPlace = {
  readonly time: RunTime
  readonly step: string
  readonly method: string
  readonly attemptsMax: number
}

/** A step's span, its waits, and one CLIENT span for each of the last attemptsMax attempts. */
export function runParts({ time, step, method, attemptsMax }: RunPlace): Part[] {
  const { run } = time
  const ended = run.attempts.filter((attempt) => attempt.endedMs > 0)
  const shown = new Set(ended.slice(-attemptsMax))
  const labels = labelsOf(ended, run.generation)
  const base = { 'wellspring.step': step, 'wellspring.generation': run.generation }
  const parent = `step ${step} g${run.generation}`
  const leftOut = run.trouble?.attemptsLeftOut ?? 0
  const summarised = leftOut + (beyond(ended.length, attemptsMax) ?? 0) || undefined
  const parts: Part[] = [
    { ...stepPart(time, step), attributes: stepAttributes(run, base, summarised) },
  ]
  let summaryMs = time.fromMs
  for (const interval of time.intervals) {
    const { attempt, kind } = interval
    if (attempt && attempt.endedMs > 0 && !shown.has(attempt)) summaryMs = interval.toMs
    else if (kind !== 'work') {
      const label = (attempt && labels.get(attempt)) ?? `g${run.generation} end`
      parts.push({ ...wait(kind, `${kind} ${step} ${label}`, interval), attributes: base, parent })
    }
  }
  if (summaryMs > time.fromMs) {
    const attributes = { ...base, 'wellspring.attempts.summarised': summarised }
    const part = `summary ${step} g${run.generation}`
    const { fromMs } = time
    parts.push({ part, name: 'attempts summarised', fromMs, toMs: summaryMs, attributes, parent })
  }
  for (const attempt of shown) {
    const part = `attempt ${step} ${labels.get(attempt)}`
    parts.push({ ...attemptPart(time, attempt, base), part, name: method, parent })
  }
  return parts
}

function stepPart({ run, fromMs, toMs }: RunTime, step: string): Omit<Part, 'attributes'> {
  return {
    part: `step ${step} g${run.generation}`,
    name: `step ${step}`,
    fromMs,
    toMs,
    parent: 'root',
    status: run.state === RunState.PARKED ? failedStatus(failureOf(run)) : undefined,
  }
}

function stepAttributes(run: StepRun, base: Part['attributes'], summarised: number | undefined) {
  return {
    ...base,
    'wellspring.revision': run.revision || undefined,
    'wellspring.outcome': wordOf(RunStateSchema, run.state),
    'wellspring.attempts': run.attempt,
    'wellspring.attempts.summarised': summarised,
    ...(run.state === RunState.PARKED && failureAttributes(failureOf(run))),
  }
}

function attemptPart(
  time: RunTime,
  attempt: Attempt,
  base: Part['attributes'],
): Omit<Part, 'name' | 'part'> {
  const failure = attemptFailure(time.run, attempt)
  const work = time.intervals.find((item) => item.kind === 'work' && item.attempt === attempt)
  const endMs = Math.max(time.fromMs, Math.min(attempt.endedMs, time.toMs))
  return {
    kind: Kind.CLIENT,
    fromMs: work?.fromMs ?? endMs,
    toMs: work?.toMs ?? endMs,
    attributes: {
      ...base,
      'wellspring.attempt': attempt.number,
      'wellspring.replica': attempt.replica,
      'rpc.system.name': 'grpc',
      'wellspring.attempt.times': attempt.times || undefined,
      ...failureAttributes(failure),
    },
    status: failure && failedStatus(failure),
  }
}

/**
 * g<generation> a<number> per attempt. A number that was asked again (an OVERLOADED answer spends none) is its last
 * asking's; the earlier askings get a suffix, so that ids stay unique.
 */
function labelsOf(attempts: readonly Attempt[], generation: number): Map<Attempt, string> {
  const labels = new Map<Attempt, string>()
  for (const [number, same] of Map.groupBy(attempts, (attempt) => attempt.number))
    for (const [index, attempt] of same.entries()) {
      const suffix = index === same.length - 1 ? '' : ` again${index + 1}`
      labels.set(attempt, `g${generation} a${number}${suffix}`)
    }
  return labels
}

function failureAttributes(failure: StepFailure | undefined): Part['attributes'] {
  if (!failure) return {}
  return {
    'wellspring.error.class': className(failure.class),
    'wellspring.error.reason': failure.reason,
    'error.type': failure.reason,
  }
}

/** How many are beyond a bound; undefined if none. */
export function beyond(count: number, max: number): number | undefined {
  return count > max ? count - max : undefined
}

/** A span of waiting, under the root unless told otherwise. */
export function wait(name: string, part: string, interval: Interval): Part {
  const { fromMs, toMs } = interval
  return { part, name: `wait ${name}`, fromMs, toMs, attributes: {}, isWait: true, parent: 'root' }
}
