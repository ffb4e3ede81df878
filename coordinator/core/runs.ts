// The life of a step run: started, called, retried, done or parked.
import { create, fromBinary } from '@bufbuild/protobuf'
import { Code } from '#proto/google/rpc/code_pb.ts'
import { ErrorClass } from '#proto/wellspring/contract/v1/errors_pb.ts'
import { Purity } from '#proto/wellspring/contract/v1/options_pb.ts'
import { RunState, StepRunSchema, type StepRun } from '#proto/wellspring/journal/v1/state_pb.ts'
import { Verdict } from '#proto/wellspring/record/v1/output_pb.ts'
import { StepFailureSchema, type StepFailure } from '#proto/wellspring/step/v1/failure_pb.ts'
import {
  attemptFailed,
  beginAttempt,
  endAttempt,
  failureOf,
  forgetAttempts,
  givenUp,
  succeeded,
} from './attempts.ts'
import { isJudged, judge } from './pipeline/bands.ts'
import { bindRequest, channelKindOf, type BoundRequest } from './bind.ts'
import { plateStateOf, type Context, type Place } from './context.ts'
import type { Outcome } from './event.ts'
import { blame, isSuspect } from './culprit.ts'
import { invariant } from './invariant.ts'
import { hex, idempotencyKey } from './keys.ts'
import { forgetInputs, keepInputs, keepOutput } from './payload.ts'
import type { Step } from './pipeline/pipeline.ts'
import { deadLetterRecord, qualityRecord, resultRecord } from './records.ts'
import { backoffMs } from './retry.ts'
import { BOUNDED_VERSION, needsVersion } from './state.ts'
import { traceNumber } from './timeline.ts'

/** Largest response that fits into a result and into state. */
export const OUTPUT_BYTES_MAX = 49_152

export function isActive(run: StepRun): boolean {
  return run.state === RunState.RUNNING || run.state === RunState.BACKOFF
}

/** The run of a step at a place, made on first sight. */
export function runOf(place: Place, step: Step): StepRun {
  const found = place.runs.find((run) => run.step === step.index)
  if (found) return found
  const run = create(StepRunSchema, { step: step.index, generation: 1 })
  place.runs.push(run)
  return run
}

/** Starts every step of the place whose needs are met; skips those whose needs cannot be met any more. */
export function advance(cx: Context, place: Place): void {
  for (const step of cx.task.pipeline.at(place.level)) {
    const run = runOf(place, step)
    if (run.state !== RunState.UNSPECIFIED) continue
    const needs = step.needs.map((name) => needed(cx, place, name).state)
    if (needs.some((state) => state === RunState.PARKED || state === RunState.SKIPPED)) {
      run.state = RunState.SKIPPED
      place.touch()
    } else if (needs.every((state) => state === RunState.DONE)) {
      start(cx, place, step)
    }
  }
}

function needed(cx: Context, place: Place, name: string): StepRun {
  const step = cx.task.pipeline.at(place.level).find((one) => one.name === name)
  if (!step) throw new Error(`step "${name}" is not in pipeline ${cx.task.pipeline.label}`)
  return runOf(place, step)
}

/** What a run would ask for now. */
type Bound = { request: Extract<BoundRequest, { kind: 'request' }>; key: Uint8Array }

function bound(cx: Context, place: Place, step: Step, run: StepRun): Bound | undefined {
  const request = bindRequest(cx.task, step, place)
  if (request.kind === 'skip') return undefined
  const { pipeline } = cx.task
  const key = idempotencyKey({
    pipeline: pipeline.label,
    step: step.name,
    entity: place.key,
    inputDigest: request.digest,
    generation: run.generation,
  })
  return { request, key }
}

function start(cx: Context, place: Place, step: Step): void {
  const run = runOf(place, step)
  place.touch()
  const now = bound(cx, place, step, run)
  if (!now) {
    run.state = RunState.SKIPPED
    return
  }
  if (run.revision > 0 && sameBytes(now.key, run.outputIdempotencyKey)) {
    // Nothing that this step reads has changed: its published result stands.
    run.state = RunState.DONE
    return
  }
  run.state = RunState.RUNNING
  run.attempt = 1
  run.readyMs = cx.now
  run.endedMs = 0
  forgetAttempts(run)
  ask(cx, { place, step, run, now, isTakenOver: false })
}

type Ask = {
  readonly place: Place
  readonly step: Step
  readonly run: StepRun
  readonly now: Bound
  /** It was under way when the task was taken over: it is asked for again as it is. */
  readonly isTakenOver: boolean
}

function ask(cx: Context, { place, step, run, now, isTakenOver }: Ask): void {
  const { request } = now
  const attachOnly = isTakenOver && step.policy.purity === Purity.NOT_IDEMPOTENT
  run.idempotencyKey = now.key
  run.inputDigest = request.digest
  keepInputs(cx.task, { key: place.key, run }, request.inputs)
  beginAttempt(run, cx.now)
  noteLayout(cx, run)
  const { policy } = step
  // Nobody may have run for longer than the total: an attempt that was begun in time is given its time all the same.
  const leftMs = isTakenOver
    ? policy.attemptTimeoutMs
    : run.readyMs + policy.totalTimeoutMs - cx.now
  cx.effects.push({
    kind: 'call',
    entity: place.key,
    step,
    idempotencyKey: hex(now.key),
    generation: run.generation,
    attempt: run.attempt,
    trace: traceNumber(place),
    request: request.message({
      idempotencyKey: hex(now.key),
      attempt: run.attempt,
      generation: run.generation,
    }),
    timeoutMs: Math.max(1_000, Math.min(policy.attemptTimeoutMs, leftMs)),
    afterCommit: policy.purity === Purity.NOT_IDEMPOTENT && !attachOnly,
    attachOnly,
    alone: isSuspect(run, step),
  })
}

/**
 * Goes on with a run that waited (back-off) or was under way when the task was taken over. A group whose members
 * moved meanwhile gives the run up: the next close starts it with what is there then. Returns false if it did.
 */
export function goOn(cx: Context, place: Place, step: Step): boolean {
  const run = runOf(place, step)
  const isTakenOver = run.state === RunState.RUNNING
  const now = bound(cx, place, step, run)
  const isSame = now && sameBytes(now.key, run.idempotencyKey)
  // A call that was under way is asked for again as it is: thousands of them are no change of state.
  if (!isTakenOver || !isSame) place.touch()
  if (!now || !isSame) {
    run.state = RunState.UNSPECIFIED
    return false
  }
  run.state = RunState.RUNNING
  if (!isTakenOver && failureOf(run)?.class !== ErrorClass.OVERLOADED) run.attempt += 1
  ask(cx, { place, step, run, now, isTakenOver })
  return true
}

/** Takes the outcome of the attempt under way in: done, tried again later, or parked. */
export function settleRun(cx: Context, place: Place, step: Step, outcome: Outcome): void {
  const run = runOf(place, step)
  invariant(
    run.state === RunState.RUNNING,
    'I1',
    'an outcome ends a run that is under way, and no other',
    place.key,
  )
  endAttempt(run, outcome.timing)
  place.touch()
  if (outcome.kind === 'done') {
    if (outcome.output.length <= OUTPUT_BYTES_MAX) return done(cx, place, step, outcome.output)
    return park(cx, place, step, tooLarge(step, outcome.output.length))
  }
  const failure = attemptFailed(run, outcome.failure)
  noteLayout(cx, run)
  const due = dueAfter(cx, run, step, outcome)
  const blamed = blame(run, place.level, outcome, due === undefined)
  if (blamed || due === undefined) return park(cx, place, step, blamed ?? failure)
  run.state = RunState.BACKOFF
  run.dueMs = due
  cx.effects.push({ kind: 'timer', entity: place.key, atMs: due, completeness: false })
}

/** What is known of its attempts is kept as only this version does. */
function noteLayout(cx: Context, run: StepRun): void {
  if (run.trouble) needsVersion(cx.task, BOUNDED_VERSION)
}

function tooLarge(step: Step, bytes: number): StepFailure {
  return create(StepFailureSchema, {
    class: ErrorClass.PERMANENT,
    code: Code.FAILED_PRECONDITION,
    reason: 'RESPONSE_TOO_LARGE',
    message: `${step.name} answered ${bytes} bytes; a result holds ${OUTPUT_BYTES_MAX}`,
    hint: 'publish what is large as an artifact and answer with its reference',
  })
}

/** When to try again; undefined: not again. */
function dueAfter(
  cx: Context,
  run: StepRun,
  step: Step,
  outcome: Extract<Outcome, { kind: 'failed' }>,
): number | undefined {
  const { policy } = step
  const jitteredMs = backoffMs(run.attempt, policy, cx.dice())
  const wishedMs = Math.max(jitteredMs, outcome.retryAfterMs ?? 0)
  switch (outcome.failure.class) {
    case ErrorClass.OVERLOADED:
      return cx.now + wishedMs
    case ErrorClass.AMBIGUOUS:
    case ErrorClass.UNSPECIFIED:
      if (policy.purity === Purity.NOT_IDEMPOTENT) return undefined
      break
    case ErrorClass.PERMANENT:
    case ErrorClass.POISON:
      return undefined
    case ErrorClass.RETRYABLE:
      break
  }
  const deadlineMs = run.readyMs + policy.totalTimeoutMs
  if (run.attempt >= policy.attemptsMax || cx.now >= deadlineMs) return undefined
  return Math.min(cx.now + wishedMs, deadlineMs)
}

function done(cx: Context, place: Place, step: Step, output: Uint8Array): void {
  const run = runOf(place, step)
  const before = run.revision
  invariant(run.attempts.length > 0, 'I2', 'a result is of an attempt that was made', place.key)
  run.state = RunState.DONE
  run.revision += 1
  keepOutput(cx.task, { key: place.key, run }, output)
  run.outputIdempotencyKey = run.idempotencyKey
  run.endedMs = cx.now
  succeeded(run)
  const { bands } = cx.task.pipeline
  const judged = isJudged(bands, step.name)
    ? judge(bands, step.name, fromBinary(step.method.output, output), channelKindOf(cx.task, place))
    : undefined
  run.verdict = judged?.verdict ?? Verdict.UNSPECIFIED
  const about = { pipeline: cx.task.pipeline, place, step, run, trace: traceNumber(place) }
  cx.effects.push(resultRecord(cx, { ...about, output }, before))
  if (judged) {
    cx.effects.push(qualityRecord(about, judged))
    const plate = plateStateOf(cx, place.key)
    if (plate.firstVerdictMs === 0) plate.firstVerdictMs = cx.now
  }
  forgetInputs(cx.task, { key: place.key, run })
}

/** Sets a run aside, with a dead letter that has all that is needed to try again. */
export function park(cx: Context, place: Place, step: Step, failure: StepFailure): void {
  const run = runOf(place, step)
  run.state = RunState.PARKED
  givenUp(run, failure)
  noteLayout(cx, run)
  run.endedMs = cx.now
  forgetInputs(cx.task, { key: place.key, run })
  place.touch()
  plateStateOf(cx, place.key).parked += 1
  cx.effects.push(
    deadLetterRecord(cx, {
      pipeline: cx.task.pipeline,
      place,
      step,
      run,
      trace: traceNumber(place),
    }),
  )
}

/** Makes a run wait for its inputs anew: a close with other members, or a redrive. */
export function reset(cx: Context, place: Place, run: StepRun): void {
  if (run.state === RunState.PARKED) {
    // Its dead letter belongs to the old generation.
    run.generation += 1
    const plate = plateStateOf(cx, place.key)
    plate.parked -= 1
    invariant(plate.parked >= 0, 'I1', 'no more runs go on than were set aside', place.key)
  }
  run.state = RunState.UNSPECIFIED
  place.touch()
}

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index])
}
