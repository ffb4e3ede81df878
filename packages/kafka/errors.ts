// What goes wrong with Kafka, by what a caller must do about it.
import type { NewRecord } from './records.ts'

/**
 * Why a writer or a read failed.
 * fenced: a newer writer owns the id (47, 90); unknown: the transaction may or may not have committed, or the
 * broker could not be asked; unwritable: this one record is larger than is written, or than Kafka takes; fatal: going on
 * is wrong (message says what to do).
 */
export class LogError extends Error {
  readonly kind: 'fenced' | 'unknown' | 'unwritable' | 'fatal'
  /** Of kind unwritable: the record. */
  readonly record: NewRecord | undefined
  constructor(
    kind: LogError['kind'],
    message: string,
    options?: ErrorOptions & { readonly record?: NewRecord },
  ) {
    super(message, options)
    this.name = 'LogError'
    this.kind = kind
    this.record = options?.record
  }
}

/** Whatever was thrown, as a LogError: what is not one leaves the outcome unknown. */
export function asLogError(error: unknown): LogError {
  if (error instanceof LogError) return error
  return new LogError('unknown', error instanceof Error ? error.message : String(error), {
    cause: error,
  })
}
