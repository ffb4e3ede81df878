// Input that cannot be taken in: set aside with its bytes, so that it never blocks what comes behind it.
import { Code } from '#proto/google/rpc/code_pb.ts'
import { ErrorClass } from '#proto/wellspring/contract/v1/errors_pb.ts'
import type { Context } from './context.ts'
import type { Position } from './event.ts'
import { inputDeadLetter } from './records.ts'
import { boundedFailure } from './text.ts'

export type Refusal = {
  readonly entity: string
  readonly reason: string
  readonly message: string
  /** What a person can do about it. */
  readonly hint?: string
}

/** Sets an input record aside; it never blocks the ones behind it. */
export function refuse(
  cx: Context,
  event: { at: Position; bytes: Uint8Array },
  why: Refusal,
): void {
  const failure = boundedFailure({
    class: ErrorClass.POISON,
    code: Code.INVALID_ARGUMENT,
    reason: why.reason,
    message: why.message,
    hint: why.hint ?? '',
    replica: '',
  })
  cx.effects.push(inputDeadLetter(cx, event.at, event.bytes, { entity: why.entity, failure }))
}
