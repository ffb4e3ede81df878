// The port to Kafka, as little as takeover.md needs of it. Twins: kafka.ts (kafkajs) and memory.ts.
// Topic names in this port carry no prefix ("images.v1"); the twin adds it.

/** Topics that tasks read; co-partitioned, `tasks` partitions each. */
export const INPUT_TOPICS = ['images.v1', 'commands.v1'] as const
export type InputTopic = (typeof INPUT_TOPICS)[number]

/** Topics that tasks write; partition = task, but for plate-events.v1, partitioned by experiment. */
export const OUTPUT_TOPICS = [
  'state.v1',
  'results.v1',
  'quality.v1',
  'plate-events.v1',
  'dead-letters.v1',
  'spans.v1',
  'status.v1',
] as const
export type OutputTopic = (typeof OUTPUT_TOPICS)[number]

/** Partitions of plate-events.v1, keyed by experiment. */
export const PLATE_EVENT_PARTITIONS = 8

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

/** The one transactional writer of a task. After any rejection it must be closed and a new one opened. */
export interface Writer {
  readonly id: WriterId
  /**
   * One transaction, in as many sends as the records need. Never more than one at a time. Rejects with LogError; of kind
   * unwritable before anything is committed.
   */
  commit(records: readonly NewRecord[]): Promise<void>
  /** Frees sockets. Await a running commit first. Never rejects. */
  close(): Promise<void>
}

/** What the group says. Handlers are called synchronously, before the next fetch. */
export interface GroupListener {
  /**
   * A new generation with these tasks. `kept` are those whose memory may be trusted: owned in the last
   * generation, which was this one minus one, under the same member id. Returns for every kept task the next
   * offset per input topic; inputs of the other tasks are paused until resume().
   */
  assigned(tasks: readonly number[], kept: ReadonlySet<number>): Positions
  /** A heartbeat that was sent at or after this local monotonic moment (ms) was answered OK. */
  confirmed(sentAtMs: number): void
  /** What came on an input, in order. Must only enqueue: opening a batch is guarded by who takes it in. */
  records(task: number, inputs: readonly Input[]): void
  /** Reached this position of an input although no record was delivered (markers, aborted, compacted). */
  passed(task: number, topic: InputTopic, nextOffset: number): void
  /** An input cannot be read on: its position is outside the log, and it is read no more until resume(). */
  outOfRange(task: number): void
  /** The consumer died for good; the process must end. */
  crashed(error: Error): void
}

/** Next offset per task and input topic. */
export type Positions = ReadonlyMap<number, Readonly<Record<InputTopic, number>>>

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

export interface Log {
  readonly tasks: number
  /** Joins the group; one listener per process. Rejects with LogError fatal on unequal partition counts. */
  join(listener: GroupListener): Promise<void>
  /** Starts or goes on reading a task's inputs at these positions. */
  resume(task: number, next: Readonly<Record<InputTopic, number>>): void
  /** Stops delivering a task's inputs; records already on the way are dropped by the caller by offset. */
  pause(task: number): void
  /** New writer for the task's transactional id: fences every older one. Rejects with LogError, retry is ours. */
  fence(task: number): Promise<Writer>
  /**
   * Reads state.v1 of the task, read_committed, from an offset, in order, until `onRecord` returns true or
   * the high watermark seen at the start is passed. Returns the next offset to read. Records are lent: what is kept
   * of key and value beyond `onRecord` must be a copy.
   */
  readState(task: number, from: number, onRecord: (record: LogRecord) => boolean): Promise<number>
  /** First and end offset (high watermark) of every input of a task. */
  inputOffsets(task: number): Promise<Readonly<Record<InputTopic, Offsets>>>
  /** Reads commands.v1 of the task apart from its turn, from an offset or the first that is there, to its end now. */
  readCommands(task: number, from: number, onRecord: (record: LogRecord) => void): Promise<void>
  /** Time stamp (UTC ms) of the first record at or behind an offset of an input; undefined: there is none. */
  inputTime(task: number, topic: InputTopic, offset: number): Promise<number | undefined>
  /** How the inputs are kept; undefined: the broker does not tell. */
  inputSettings(): Promise<Readonly<Record<InputTopic, InputSettings>> | undefined>
  /** Addresses of the coordinators that own the other tasks, as far as the group told us. */
  owners(): ReadonlyMap<number, string>
  /** Leaves the group and closes everything. Bounded in time. */
  close(): Promise<void>
}
