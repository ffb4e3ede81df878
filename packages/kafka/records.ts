// What is read of a topic and written to it.
import type { InputTopic, OutputTopic } from './topic-names.ts'

export type LogRecord = {
  readonly topic: InputTopic | OutputTopic
  readonly partition: number
  readonly offset: number
  /** null: the record has no key. */
  readonly key: Buffer | null
  /** null: a tombstone. */
  readonly value: Buffer | null
  readonly headers: RecordHeaders
}

/** The headers that anything here asks for; no others are kept, whatever a record has. */
export const HEADERS_KEPT = ['wellspring-type', 'traceparent'] as const
/**
 * Last value of each as text, cut off after 256 bytes. One without a value is as none; what is not UTF-8 is replaced.
 */
export type RecordHeaders = Readonly<Partial<Record<(typeof HEADERS_KEPT)[number], string>>>

/** Records of an input as they came, in one batch, perhaps compressed: opened by who takes them in. */
export type RecordBatch = {
  readonly topic: InputTopic | OutputTopic
  readonly partition: number
  /** First offset that is wanted of it, and the last that it covers. */
  readonly offset: number
  readonly last: number
  /** The batch as it lies in the log, its header included. */
  readonly batch: Buffer
}

/** Offsets at which no record can be read: told in its place, never thrown. */
export type Unreadable = {
  readonly topic: InputTopic | OutputTopic
  readonly partition: number
  /** First and last offset. */
  readonly offset: number
  readonly last: number
  /** UPPER_SNAKE_CASE. */
  readonly reason: string
  readonly message: string
  /** What is there instead, up to 32 kB. */
  readonly bytes: Buffer
}

/** What a reader of an input gets, in order of offsets. */
export type Input = LogRecord | RecordBatch | Unreadable

/** The last offset that it covers. */
export function lastOf(input: Input): number {
  return 'last' in input ? input.last : input.offset
}

export type NewRecord = {
  readonly topic: OutputTopic
  readonly partition: number
  readonly key: string
  /** null: a tombstone. */
  readonly value: Uint8Array | null
  readonly headers: Readonly<Record<string, string>>
  /** Entity that it is about, where its key does not begin with it. */
  readonly entity?: string
}

/** Identity of a fenced writer. */
export type WriterId = { readonly producerId: number; readonly epoch: number }

export type Offsets = { readonly low: number; readonly high: number }

/** Of an input topic. */
export type InputSettings = {
  /** Undefined: for ever. */
  readonly retentionMs: number | undefined
  /** Per partition; undefined: no limit. */
  readonly retentionBytes: number | undefined
  /** What it should be and is not, with the command that puts it right. */
  readonly misfits: readonly string[]
}
