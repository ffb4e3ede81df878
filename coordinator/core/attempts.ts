// The attempts of a step run, in bounded room: the last few, each reason's words once, askings that were put off told
// as one. A run that failed twelve times the same way holds one text.
import { ErrorClass } from '#proto/wellspring/contract/v1/errors_pb.ts'
import {
  AttemptSchema,
  TroubleSchema,
  type Attempt,
  type StepRun,
  type Trouble,
} from '#proto/wellspring/journal/v1/state_pb.ts'
import type { StepFailure } from '#proto/wellspring/step/v1/failure_pb.ts'
import { create } from '@bufbuild/protobuf'
import type { Timing } from './event.ts'
import { FAILURE_BYTES_MAX, boundedFailure, cutBytes } from './text.ts'

/** Attempts kept per run, the last ones; those before are counted. */
const ATTEMPTS_KEPT_MAX = 8
/** Reasons kept per run with their words, the last ones. */
const FAILURES_KEPT_MAX = 3

/** Why the last attempt of a run failed; undefined: it did not. */
export function failureOf(run: StepRun): StepFailure | undefined {
  const { trouble } = run
  return trouble?.failures[trouble.failedAs - 1] ?? run.failure
}

/** Why an attempt of a run failed; undefined: it did not, or has not ended. */
export function attemptFailure(run: StepRun, attempt: Attempt): StepFailure | undefined {
  return run.trouble?.failures[attempt.failedAs - 1] ?? attempt.failure
}

/** What went wrong with a run, to be added to: a run that nothing went wrong with has none of it. */
export function openTrouble(run: StepRun): Trouble {
  run.trouble ??= create(TroubleSchema)
  return run.trouble
}

/** A new generation begins. */
export function forgetAttempts(run: StepRun): void {
  run.attempts = []
  delete run.trouble
  delete run.failure
}

/** The last attempt did not fail; those before it are told with their failures. */
export function succeeded(run: StepRun): void {
  if (run.trouble) run.trouble.failedAs = 0
  delete run.failure
}

/** An attempt is asked for. One that ended is told as it was, even if it is made again under its number (OVERLOADED). */
export function beginAttempt(run: StepRun, nowMs: number): void {
  const last = run.attempts.at(-1)
  if (last && last.number === run.attempt && last.endedMs === 0) return
  modernise(run)
  run.attempts.push(create(AttemptSchema, { number: run.attempt, askedMs: nowMs }))
  bound(run)
}

/** The attempt under way has ended. */
export function endAttempt(run: StepRun, { startedMs, endedMs, replica }: Timing): void {
  const attempt = run.attempts.at(-1)
  if (!attempt) return
  attempt.startedMs = startedMs
  attempt.endedMs = endedMs
  attempt.replica = cutBytes(replica, FAILURE_BYTES_MAX.replica)
}

/** The attempt that ended last has failed, and this is why. Returns the failure as it is kept. */
export function attemptFailed(run: StepRun, why: StepFailure): StepFailure {
  modernise(run)
  const failure = boundedFailure(why)
  const failedAs = failedLast(run, failure)
  const last = run.attempts.at(-1)
  if (last) last.failedAs = failedAs
  mergePutOff(run)
  return failure
}

/** The run is given up, and this is why: what its last attempt failed for, or what was wrong with its answer. */
export function givenUp(run: StepRun, why: StepFailure): StepFailure {
  modernise(run)
  const failure = boundedFailure(why)
  failedLast(run, failure)
  return failure
}

function failedLast(run: StepRun, failure: StepFailure): number {
  const failedAs = remember(run, failure)
  openTrouble(run).failedAs = failedAs
  return failedAs
}

/** Puts the words of a reason last, and lets go of those that are too many. Returns its number, from 1. */
function remember(run: StepRun, failure: StepFailure): number {
  const trouble = openTrouble(run)
  const before = trouble.failures
  const others = before.filter((one) => !isSame(one, failure))
  const failures = [...others.slice(Math.max(0, others.length + 1 - FAILURES_KEPT_MAX)), failure]
  const kept = run.attempts.filter((attempt) => {
    const was = before[attempt.failedAs - 1]
    if (!was) return true
    attempt.failedAs = 1 + failures.findIndex((one) => isSame(one, was))
    // Without its words it would look as if it had gone well.
    return attempt.failedAs > 0
  })
  trouble.attemptsLeftOut += run.attempts.length - kept.length
  run.attempts = kept
  trouble.failures = failures
  return failures.length
}

/** Askings in a row that were put off for one reason are one entry: the first time, the last time, and how often. */
function mergePutOff(run: StepRun): void {
  const merged: Attempt[] = []
  for (const attempt of run.attempts) {
    const before = merged.at(-1)
    const isPutOff =
      attempt.endedMs > 0 && attemptFailure(run, attempt)?.class === ErrorClass.OVERLOADED
    if (!before || !isPutOff || !isAgain(before, attempt)) {
      merged.push(attempt)
      continue
    }
    before.times = timesOf(before) + timesOf(attempt)
    before.startedMs = attempt.startedMs
    before.endedMs = attempt.endedMs
    before.replica = attempt.replica
  }
  run.attempts = merged
}

function isAgain(before: Attempt, attempt: Attempt): boolean {
  return before.number === attempt.number && before.failedAs === attempt.failedAs
}

/** How often an attempt was asked for. */
export function timesOf(attempt: Attempt): number {
  return Math.max(1, attempt.times)
}

function bound(run: StepRun): void {
  const over = run.attempts.length - ATTEMPTS_KEPT_MAX
  if (over <= 0) return
  run.attempts = run.attempts.slice(over)
  openTrouble(run).attemptsLeftOut += over
}

/** What was written up to journal version 3 has the words of each attempt beside it. */
function modernise(run: StepRun): void {
  for (const attempt of run.attempts) {
    const { failure } = attempt
    if (!failure) continue
    delete attempt.failure
    attempt.failedAs = remember(run, boundedFailure(failure))
  }
  if (!run.failure) return
  failedLast(run, boundedFailure(run.failure))
  delete run.failure
  mergePutOff(run)
  bound(run)
}

function isSame(a: StepFailure, b: StepFailure): boolean {
  return a.class === b.class && a.reason === b.reason
}
