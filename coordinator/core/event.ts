// Everything that can happen to a task, and everything it can ask for.
import type { Message } from '@bufbuild/protobuf'
import type { Command, ImageAcquired } from '#proto/wellspring/record/v1/input_pb.ts'
import type { StepFailure } from '#proto/wellspring/step/v1/failure_pb.ts'
import type { Step } from './pipeline/pipeline.ts'

export type Position = {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  /** Last offset, where it is more than one. */
  readonly last?: number
  readonly key: string
}

export type Outcome =
  | { readonly kind: 'done'; readonly output: Uint8Array; readonly timing: Timing }
  | {
      readonly kind: 'failed'
      readonly failure: StepFailure
      /** The service's own wish (RetryInfo), for OVERLOADED and RETRYABLE. */
      readonly retryAfterMs?: number
      /** The program, or its wrapper, ended over this call: alone, or with others in hand. */
      readonly programEnded?: 'alone' | 'among-others'
      readonly timing: Timing
    }

/** UTC milliseconds: when the call left after queueing for a slot, and when the outcome came. */
export type Timing = {
  readonly startedMs: number
  readonly endedMs: number
  readonly replica: string
}

export type Event =
  | {
      readonly kind: 'image'
      readonly image: ImageAcquired
      readonly traceparent: string
      readonly at: Position
      readonly bytes: Uint8Array
    }
  | {
      readonly kind: 'command'
      readonly command: Command
      readonly at: Position
      readonly bytes: Uint8Array
    }
  | {
      readonly kind: 'unreadable'
      readonly reason: string
      readonly message: string
      readonly at: Position
      readonly bytes: Uint8Array
    }
  | {
      readonly kind: 'outcome'
      readonly entity: string
      readonly step: string
      readonly idempotencyKey: string
      readonly outcome: Outcome
    }
  | { readonly kind: 'timer'; readonly entity: string; readonly completeness: boolean }
  /** What came of a plate cannot be written: it stops, and everything else goes on. */
  | {
      readonly kind: 'stop'
      readonly plate: string
      readonly reason: string
      readonly message: string
    }

/** Topics that effects write to; the journal adds state.v1, spans.v1 and status.v1. */
export type OutputTopicOfCore = 'results.v1' | 'quality.v1' | 'plate-events.v1' | 'dead-letters.v1'

export type Call = {
  readonly kind: 'call'
  readonly entity: string
  readonly step: Step
  readonly idempotencyKey: string
  readonly generation: number
  readonly attempt: number
  /** n of the entity's trace (ids.ts, traceId). */
  readonly trace: number
  readonly request: Message
  readonly timeoutMs: number
  /** The step is not idempotent: call only after the flush that records the intent. */
  readonly afterCommit: boolean
  /** Only attach to a running call or a held outcome; if there is none, park as AMBIGUOUS. */
  readonly attachOnly: boolean
  /** The program ended over it before: to be worked on while nothing else is. */
  readonly alone: boolean
}

export type Effect =
  | Call
  | {
      readonly kind: 'output'
      readonly topic: OutputTopicOfCore
      readonly key: string
      /** Full message name, for the header wellspring-type. */
      readonly type: string
      readonly value: Uint8Array
      /** Entity whose trace the record belongs to, and the trace's n. */
      readonly entity: string
      readonly trace: number
    }
  /** completeness: fires only after the inputs were read to the end offsets listed after it fell due. */
  | {
      readonly kind: 'timer'
      readonly entity: string
      readonly atMs: number
      readonly completeness: boolean
    }
  /** All that was to be done for the entity is done: its trace can be told. */
  | { readonly kind: 'completed'; readonly entity: string; readonly trace: number }
