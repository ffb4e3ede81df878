// A plate that cannot go on stops alone: nothing is done for it any more, what arrives for it is set aside, and all that
// is known of it stays as it was. A person lets it go on, or gives it up.
import { create } from '@bufbuild/protobuf'
import { Code } from '#proto/google/rpc/code_pb.ts'
import { ErrorClass } from '#proto/wellspring/contract/v1/errors_pb.ts'
import { StoppedSchema } from '#proto/wellspring/journal/v1/state_pb.ts'
import { plateStateOf, type Context } from './context.ts'
import type { Event, Position } from './event.ts'
import { plateOf } from '@wellspring/lab/entity.ts'
import { plateDeadLetter } from './records.ts'
import { refuse } from './refuse.ts'
import { BOUNDED_VERSION, needsVersion } from './state.ts'
import { FAILURE_BYTES_MAX, boundedFailure, cutBytes } from './text.ts'

/** Marks a plate as stopped, and says so in a dead letter of its own. */
export function stop(cx: Context, { plate: key, reason, message }: StopEvent): void {
  const plate = plateStateOf(cx, key)
  cx.task.stopping.add(key)
  plate.stopped = create(StoppedSchema, {
    reason: cutBytes(reason, FAILURE_BYTES_MAX.reason),
    message: cutBytes(message, FAILURE_BYTES_MAX.message),
    atMs: cx.now,
  })
  // Found by their keys (state.ts): the mark must have room.
  plate.seen = []
  needsVersion(cx.task, BOUNDED_VERSION)
  const failure = boundedFailure({
    class: ErrorClass.PERMANENT,
    code: Code.FAILED_PRECONDITION,
    reason: PLATE_STOPPED,
    message: `${reason}: ${message}`,
    hint: wayOut(key),
    replica: '',
  })
  cx.effects.push(plateDeadLetter(cx, key, failure))
}

type StopEvent = Extract<Event, { kind: 'stop' }>

export const PLATE_STOPPED = 'PLATE_STOPPED'

/** Sets what arrives for a stopped plate aside. */
export function refuseStopped(
  cx: Context,
  event: { at: Position; bytes: Uint8Array },
  entity: string,
): void {
  const plate = plateOf(entity)
  const { reason = '', message = '' } = cx.task.plates.get(plate)?.stopped ?? {}
  refuse(cx, event, {
    entity,
    reason: PLATE_STOPPED,
    message: `${plate} is stopped (${reason}): nothing is taken in for it; ${message}`,
    hint: wayOut(plate),
  })
}

/** What a person can do about a stopped plate. */
export function wayOut(plate: string): string {
  return `when the cause is gone: npx wellspring redrive ${plate}`
}
