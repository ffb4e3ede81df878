// What a run leaves behind, for judges to read: facts only, no word of the coordinator's own. All times are UTC
// milliseconds of the process that wrote them down; topic names carry no prefix; offsets and sizes fit a double.
import type { Level } from '#proto/wellspring/contract/v1/options_pb.ts'
import type { PlatePlan } from '#proto/wellspring/lab/v1/plan_pb.ts'

export type Evidence = {
  readonly pipeline: JudgedPipeline
  /** Layouts that commands.v1 holds and nobody refused; the plan of every (entity, step). */
  readonly plans: readonly PlatePlan[]
  /** Every committed record of every topic, as the Java client reads it (read_committed). Within a partition by offset. */
  readonly committed: readonly CommittedRecord[]
  /** Every record batch of the broker's segment files, aborted ones and markers too. Within a partition by offset. */
  readonly batches: readonly Batch[]
  /** Executions that the services noted, in no order. An execution whose process was killed may lack its line. */
  readonly calls: readonly CallLine[]
  /** Per partition of every topic, when all is at rest. */
  readonly ends: readonly PartitionEnd[]
  readonly circumstances: Circumstances
}

export type JudgedPipeline = {
  /** name-version, as in result keys. */
  readonly label: string
  readonly steps: readonly JudgedStep[]
}

export type JudgedStep = {
  readonly name: string
  readonly level: Level
  /** Attempts that the contract allows a generation, the first included; OVERLOADED answers do not count. */
  readonly attemptsMax: number
  /** Calling twice is harm. */
  readonly isNotIdempotent: boolean
  readonly echo: EchoInputs
  /** What it digests is in a file, which has that digest. */
  readonly isKept?: boolean
}

/** What an echo step digests. `step`: the step whose digests go in. */
export type EchoInputs =
  | { readonly kind: 'image' }
  | { readonly kind: 'previous'; readonly step: string }
  | { readonly kind: 'members'; readonly step: string; readonly withHoles: boolean }

export type CommittedRecord = {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  /** CreateTime, stamped by the client that wrote it. */
  readonly timestampMs: number
  /** null: the record has no key. UTF-8. */
  readonly key: string | null
  /** null: a tombstone. */
  readonly value: Buffer | null
  /** Last value of each header, UTF-8; one without a value is not there. */
  readonly headers: Readonly<Record<string, string>>
}

/** Header of one record batch (magic 2). */
export type Batch = {
  readonly topic: string
  readonly partition: number
  readonly baseOffset: number
  /** Offset of its last record. */
  readonly lastOffset: number
  /** -1: written outside of any producer session. */
  readonly producerId: number
  /** -1 without a producer id. */
  readonly epoch: number
  /** Sequence number of its first record, counted per producer id, epoch and partition; -1: none. */
  readonly baseSequence: number
  readonly isTransactional: boolean
  /** Set: a control batch, written by the broker; other: of a kind that ends no transaction. */
  readonly control?: 'abort' | 'commit' | 'other'
  /** Records in it, as its header counts them. */
  readonly records: number
  /** On disk, header included. */
  readonly sizeBytes: number
  /** Largest timestamp in it: CreateTime, for a marker the broker's clock. */
  readonly timestampMs: number
}

/** One execution inside a service, as one line of JSON in its log. */
export type CallLine = {
  /** Idempotency key, hex. */
  readonly key: string
  readonly attempt: number
  readonly entity: string
  readonly step: string
  /** When the work began, ms. */
  readonly start: number
  /** When it ended, ms. */
  readonly end: number
  /** ok: the step's right answer was given back; aborted: cut short; anything else: what it did instead. */
  readonly outcome: string
  /** Process that did it; 0: not noted. */
  readonly pid: number
}

export type PartitionEnd = {
  readonly topic: string
  readonly partition: number
  /** First offset still there. */
  readonly low: number
  /** High watermark: the next offset. */
  readonly end: number
  /** Readers of committed records see up to here. */
  readonly lastStable: number
}

/** What the checkers cannot read from the topics. */
export type Circumstances = {
  /** A coordinator's clock was stepped: no rule may trust the times that it wrote. */
  readonly areClocksStepped: boolean
  /** The coordinators were asked to log their state's digest with every n-th flush (T3); 0: never. */
  readonly digestEvery: number
  /** When faults began and ended; undefined: there were none. */
  readonly faults?: Span
  /** Input records made to be refused: each must end in exactly one dead letter. */
  readonly poisoned: readonly { topic: string; partition: number; offset: number }[]
  /** Longest time from the stamp of an announcement to its acknowledgement, as the announcer saw it; default 2,000. */
  readonly announceMsMax?: number
  /** Plate acquisitions (entity keys) that must have been retired by now. */
  readonly retired?: readonly string[]
  /** state.v1 and status.v1 were compacted: what needs all of them is not judged. */
  readonly isCompacted: boolean
  /** What was done on purpose that comes in (H1 to H7); undefined: nothing was. */
  readonly incoming?: Incoming
  /** Undefined: I13 is not judged. */
  readonly neighbours?: Neighbours | undefined
  /** Where the brokers' copies of a partition do not agree. */
  readonly copiesDiffer?: readonly string[]
  /** Looks at the processes over the run (I12); empty: none were taken. */
  readonly samples: readonly Sample[]
  /** Looks at the log over the run (I12). */
  readonly log: readonly LogSample[]
  /** Undefined: I12 judges only what the log shows. */
  readonly bounds?: Bounds
}

export type Span = { readonly fromMs: number; readonly toMs: number }

export type Position = {
  readonly topic: string
  readonly partition: number
  readonly offset: number
}

/** What came in to do harm, and what was seen of its effects from outside. */
export type Incoming = {
  /** Input records that may be taken in or set aside, and nothing else. */
  readonly odd: readonly Position[]
  /** Batches of one record each that must be set aside unopened; nobody here has read them. */
  readonly bombs: readonly Position[]
  readonly deletions: readonly Deletion[]
  readonly posts: readonly Post[]
  readonly starts: readonly Start[]
  /** Ends of coordinators that nobody brought about. */
  readonly ends: readonly { readonly atMs: number; readonly name: string; readonly how: string }[]
  /** Spans in which something came in and nothing else was wrong, and for some time behind it. */
  readonly spans: readonly (Span & { readonly by: string })[]
  /** undefined: the run had no time for it. */
  readonly memory?: Memory
  /** Where the reader of spans.v1 stood at the end; undefined: there was none. */
  readonly spansRead?: readonly Position[]
}

/** Records of a partition below an offset were deleted, read or not. */
export type Deletion = {
  readonly topic: string
  readonly partition: number
  readonly to: number
  readonly atMs: number
}

/** A request to the OTLP port of a coordinator. */
export type Post = {
  readonly atMs: number
  readonly name: string
  readonly what: string
  readonly isHostile: boolean
  /** undefined: the connection ended without an answer. */
  readonly status: number | undefined
  readonly tookMs: number
  /** The process still ran when it was answered. */
  readonly isThere: boolean
}

/** A coordinator was started beside something odd. */
export type Start = {
  readonly atMs: number
  readonly beside: string
  /** undefined: it got ready. */
  readonly problem: string | undefined
}

/** What memory is judged by: the time of each kind of trouble while nothing else comes in, one after the other. */
export type Memory = {
  readonly slots: readonly MemorySlot[]
}

/** The most that a process may hold in it, as a multiple of what it held when it began. */
export type MemorySlot = Span & { readonly by: string; readonly ratioMax: number }

/** What I13 goes by. */
export type Neighbours = {
  /** Images whose own data or calls were disturbed on purpose, and plate acquisitions with all of their images. */
  readonly disturbed: ReadonlySet<string>
  /** Spans in which an input partition was disturbed, with all of its plates. */
  readonly partitions?: readonly (Span & { readonly partition: number })[]
  /** Spans in which only those were disturbed, and by what: no process or connection was. */
  readonly spans: readonly (Span & { readonly by: string })[]
  /** Any other image has its first result within this, 95 of 100, from being announced. */
  readonly latencyP95MsMax: number
}

/** One look at a process, from outside. */
export type Sample = {
  readonly atMs: number
  /** Instance name of the process; a new process of the same name goes on with it. */
  readonly name: string
  readonly pid: number
  readonly rssBytes: number
  /** The most since the look before. */
  readonly peakBytes?: number
  readonly handles: number
  /** What the process tells of itself; undefined: nothing yet. */
  readonly heapBytes?: number
  readonly loopDelayP99Ms?: number
}

/** One look at the log. */
export type LogSample = {
  readonly atMs: number
  /** Input records behind the committed checkpoints, over all tasks. */
  readonly lagRecords: number
  /** Keys of state.v1 that have a value, but for the summaries of plates: what compaction would leave. */
  readonly openKeys: number
  /** Segment files of state.v1. */
  readonly stateBytes: number
}

export type Bounds = {
  readonly rssBytesMax: number
  readonly handlesMax: number
  readonly lagRecordsMax: number
  /** Undefined: processes that die all the time have no trend. */
  readonly growth?: Growth
}

/** How much the straight line through the samples may rise from the end of the warm-up to the end of the run. */
export type Growth = {
  /** From the first sample. */
  readonly warmUpMs: number
  readonly ofProcess: Readonly<Record<'rssBytes' | 'heapBytes' | 'handles', number>>
  readonly ofLog: Readonly<Record<'lagRecords' | 'openKeys' | 'stateBytes', number>>
}
