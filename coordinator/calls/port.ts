// The port to the services: ask for an attempt, be told its outcome once. Twins: grpc.ts and memory.ts.
import type { Message } from '@bufbuild/protobuf'
import type { Outcome } from '../core/event.ts'
import type { Step } from '../core/pipeline/pipeline.ts'

export type CallRequest = {
  /** 32 hex digits. A second call with a running or held key attaches to it. */
  readonly idempotencyKey: string
  readonly task: number
  readonly step: Step
  readonly entity: string
  readonly attempt: number
  readonly request: Message
  /** Deadline of this attempt, queueing for a free slot not counted. */
  readonly timeoutMs: number
  /** W3C trace context that goes with the call: the attempt's CLIENT span. */
  readonly traceparent: string
  /** It may end the program: to be sent where nothing else is under way, and nothing is sent beside it. */
  readonly alone?: boolean
}

export type { Outcome, Timing } from '../core/event.ts'

export interface Caller {
  /**
   * Starts the call, or attaches to the running one with the same idempotency key, or delivers its held outcome.
   * Every listener is told exactly once, never synchronously; a later call for the same key and task replaces
   * the listener of the earlier one.
   */
  call(request: CallRequest, onOutcome: (outcome: Outcome) => void): void
  /**
   * Whether a call with this key, of this attempt or a later one, is running or its outcome is held: call() would
   * attach.
   */
  knows(idempotencyKey: string, attempt?: number): boolean
  /** The flush that carries this key's outcome is confirmed: forget it. */
  release(idempotencyKey: string): void
  /** The task was lost: let its calls run, keep their outcomes for heldOutcomeMs (30,000), tell nobody. */
  detach(task: number): void
  /** Ends every call. */
  close(): Promise<void>
}
