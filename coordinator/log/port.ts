// The port to Kafka, as little of it as a take-over needs (docs/decisions/log.md). Twins: kafka.ts (kafkajs) and memory.ts.
// Topic names in this port carry no prefix ("images.v1"); the twin adds it.
import type {
  Input,
  InputSettings,
  LogRecord,
  NewRecord,
  Offsets,
  WriterId,
} from '@wellspring/kafka/records.ts'
import type { InputTopic } from '@wellspring/kafka/topic-names.ts'

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
