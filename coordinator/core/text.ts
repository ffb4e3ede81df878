// Text from outside, cut to what records and state have room for. What they have room for is bytes, not characters.
import { StepFailureSchema, type StepFailure } from '#proto/wellspring/step/v1/failure_pb.ts'

/** Bytes of the texts of a failure, as UTF-8. */
export const FAILURE_BYTES_MAX = { reason: 64, message: 1_024, hint: 256, replica: 255 } as const

const ELLIPSIS = '…'

/** The text, or as much of its front as fits into so many bytes of UTF-8 with an ellipsis behind it. */
export function cutBytes(text: string, bytesMax: number): string {
  // Three bytes are the most that a UTF-16 unit takes.
  if (text.length * 3 <= bytesMax || Buffer.byteLength(text) <= bytesMax) return text.toWellFormed()
  const bytes = Buffer.from(text)
  let end = bytesMax - Buffer.byteLength(ELLIPSIS)
  // Never in the middle of a character.
  while (end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end -= 1
  return bytes.toString('utf8', 0, end) + ELLIPSIS
}

/** A failure with its texts cut to what state and records have room for. Fields that it does not know are dropped. */
export function boundedFailure(failure: Omit<StepFailure, '$typeName' | '$unknown'>): StepFailure {
  return {
    $typeName: StepFailureSchema.typeName,
    class: failure.class,
    code: failure.code,
    reason: cutBytes(failure.reason, FAILURE_BYTES_MAX.reason),
    message: cutBytes(failure.message, FAILURE_BYTES_MAX.message),
    hint: cutBytes(failure.hint, FAILURE_BYTES_MAX.hint),
    replica: cutBytes(failure.replica, FAILURE_BYTES_MAX.replica),
  }
}

/** The W3C traceparent that a header holds; empty if it holds none. */
export function traceparentIn(header: string): string {
  return /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}/.exec(header)?.[0] ?? ''
}
