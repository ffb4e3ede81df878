// What is said of a step that must not run twice and whose outcome nobody knows.
import { create } from '@bufbuild/protobuf'
import { Code } from '#proto/google/rpc/code_pb.ts'
import { ErrorClass } from '#proto/wellspring/contract/v1/errors_pb.ts'
import { StepFailureSchema } from '#proto/wellspring/step/v1/failure_pb.ts'
import type { Call, Event } from '../core/event.ts'

/** The outcome of a call that was under way when its coordinator stopped, and cannot be attached to. */
export function unknownOutcome(call: Call, nowMs: number): Event {
  const { entity, step, idempotencyKey } = call
  const failure = create(StepFailureSchema, {
    class: ErrorClass.AMBIGUOUS,
    code: Code.UNKNOWN,
    reason: 'OUTCOME_UNKNOWN',
    message: `the coordinator stopped while ${step.name} was under way, and the step must not run twice`,
    hint: 'find out whether it happened; if not, redrive it',
  })
  const timing = { startedMs: nowMs, endedMs: nowMs, replica: '' }
  const outcome = { kind: 'failed' as const, failure, timing }
  return { kind: 'outcome', entity, step: step.name, idempotencyKey, outcome }
}
