// What one partition's part of a fetch holds: whole batches, of which only those that are committed count. kafkajs's own
// class knows records only, and fails a whole fetch over a batch that is odd.
import { openBatch } from './codecs.ts'
import type { InputTopic, OutputTopic } from './topic-names.ts'
import { lastOf, type LogRecord, type RecordBatch, type Unreadable } from './records.ts'
import {
  RecordReader,
  bodyOf,
  codecOf,
  isControl,
  isIntact,
  unreadable,
  writingOf,
  type RawBatch,
} from './record-decoder.ts'

export type AbortedTransaction = { readonly producerId: string; readonly firstOffset: string }

/** As kafkajs hands it over: its `messages` are batches here. */
export type PartitionData = {
  readonly partition: number
  /** First offset that is not there yet. */
  readonly highWatermark: string
  readonly abortedTransactions: readonly AbortedTransaction[] | null
  readonly messages: readonly RawBatch[]
}

/** What is committed of a partition's part of a fetch. */
export type Range = {
  readonly inputs: readonly (RecordBatch | Unreadable)[]
  /** Where reading goes on: behind markers and aborted records, too. */
  readonly next: number
}

/** From a position on. `checked`: what is not as it was sent, by its checksum, is DAMAGED. */
export function rangeOf(
  topic: InputTopic | OutputTopic,
  data: PartitionData,
  { position, checked }: { readonly position: number; readonly checked: boolean },
): Range {
  return inRange(topic, data, placed(data, position, checked), position)
}

function inRange(
  topic: InputTopic | OutputTopic,
  { partition, abortedTransactions }: PartitionData,
  batches: readonly Placed[],
  position: number,
): Range {
  const inputs = committed(batches, abortedTransactions).map((one): RecordBatch | Unreadable => {
    const batch = { topic, partition, offset: one.offset, last: one.last, batch: one.bytes }
    if (one.isIntact) return batch
    return unreadable(batch, DAMAGED, 'the batch is not as it was sent: its checksum differs')
  })
  return { inputs, next: (batches.at(-1)?.last ?? position - 1) + 1 }
}

export const DAMAGED = 'DAMAGED'

/** What kafkajs makes of a partition's part of a fetch, queues for the handler, and goes on behind the end of. */
export class PartitionBatch {
  readonly topic: string
  readonly partition: number
  readonly highWatermark: string
  /** Not records but batches. */
  readonly messages: readonly RawBatch[]
  /** Where it was fetched from. */
  readonly position: number
  readonly #data: PartitionData
  readonly #placed: readonly Placed[]

  constructor(topic: string, fetchedOffset: string, data: PartitionData) {
    this.topic = topic
    this.partition = data.partition
    this.highWatermark = data.highWatermark
    this.messages = data.messages
    this.position = Number(fetchedOffset)
    this.#data = data
    this.#placed = placed(data, this.position, true)
  }

  /** `topic`: its name without prefix. */
  range(topic: InputTopic | OutputTopic): Range {
    return inRange(topic, this.#data, this.#placed, this.position)
  }

  isEmpty(): boolean {
    return this.messages.length === 0
  }

  /** kafkajs would keep such a batch from the handler. */
  isEmptyDueToFiltering(): boolean {
    return false
  }

  firstOffset(): string {
    return String(this.position)
  }

  lastOffset(): string {
    return String(this.#placed.at(-1)?.last ?? this.position - 1)
  }

  offsetLag(): string {
    return String(Number(this.highWatermark) - 1 - Number(this.lastOffset()))
  }

  offsetLagLow(): string {
    return String(Number(this.highWatermark) - 1 - this.position)
  }
}

/** How much one reading hands on: compressed batches are opened as long as less than so much came out of others. */
export type Budget = { bytes: number; records: number }

export type Read = {
  readonly records: LogRecord[]
  readonly unreadable: Unreadable[]
  readonly next: number
}

/** Opens what is there, as far as the budget lasts. */
export function readAll({ inputs, next }: Range, budget: Budget): Read {
  const read = { records: [] as LogRecord[], unreadable: [] as Unreadable[] }
  for (const input of inputs) {
    if ('reason' in input) {
      read.unreadable.push(input)
      continue
    }
    if (budget.bytes <= 0 || budget.records <= 0) return { ...read, next: input.offset }
    const opened = openBatch(input)
    if ('reason' in opened) {
      read.unreadable.push(opened)
      continue
    }
    if (codecOf(input.batch) !== 0) budget.bytes -= opened.bytes
    for (let found = opened.next(); found !== undefined; found = opened.next()) {
      if ('reason' in found) read.unreadable.push(found)
      else read.records.push(found)
      budget.records -= 1
      if (budget.records <= 0) return { ...read, next: lastOf(found) + 1 }
    }
  }
  return { ...read, next }
}

/** Every record of what kafkajs hands to a handler, opened one batch at a time. */
export function* recordsOf(
  batch: object,
  topic: InputTopic | OutputTopic,
  onUnreadable: (unreadable: Unreadable) => void,
): Generator<LogRecord> {
  for (const input of partitionBatch(batch).range(topic).inputs) {
    const opened = 'reason' in input ? input : openBatch(input)
    if ('reason' in opened) {
      onUnreadable(opened)
      continue
    }
    for (let found = opened.next(); found !== undefined; found = opened.next()) {
      if ('reason' in found) onUnreadable(found)
      else yield found
    }
  }
}

/** What kafkajs calls a batch. */
export function partitionBatch(batch: object): PartitionBatch {
  if (batch instanceof PartitionBatch) return batch
  throw new Error('kafkajs was not patched')
}

/** Where something is, for people. */
export function nameOf({ topic, partition, offset, last }: Unreadable): string {
  const range = last > offset ? `${offset} to ${last}` : String(offset)
  return `${topic}/${partition} at ${range}`
}

/** A batch, and whether its bytes are those that were sent. */
type Placed = RawBatch & { readonly isIntact: boolean }

/**
 * Batches from a position on. Whatever was fetched there moves its reader: what says nothing of where it is, or what
 * cannot be so, stands for the position itself.
 */
function placed(data: PartitionData, position: number, checked: boolean): readonly Placed[] {
  const end = Number(data.highWatermark)
  const found: Placed[] = []
  for (const [index, batch] of data.messages.entries()) {
    if (batch.offset < 0 || batch.last >= end) break
    if (batch.last < position) continue
    const isWhole = !checked || isIntact(batch.bytes)
    // Where a damaged batch ends is known only from what follows it.
    const isBounded = isWhole || index < data.messages.length - 1 || batch.last === end - 1
    const offset = Math.max(batch.offset, position)
    found.push({ ...batch, offset, last: isBounded ? batch.last : offset, isIntact: isWhole })
  }
  const [first] = data.messages
  if (found.length > 0 || first === undefined) return found
  return [{ offset: position, last: position, bytes: first.bytes, isIntact: false }]
}

/** What is committed of it: neither of an aborted transaction nor a marker of its end. */
function committed(
  batches: readonly Placed[],
  abortedTransactions: readonly AbortedTransaction[] | null,
): readonly Placed[] {
  if (!abortedTransactions || abortedTransactions.length === 0)
    return batches.filter(({ bytes, isIntact: isWhole }) => !isWhole || !isControl(bytes))
  // The broker lists them in the order they ended; and several may have begun before the first batch.
  const ahead = abortedTransactions
    .map((one) => ({ producerId: BigInt(one.producerId), first: Number(one.firstOffset) }))
    .sort((a, b) => a.first - b.first)
  const aborted = new Set<bigint>()
  let next = 0
  return batches.filter((batch) => {
    if (!batch.isIntact) return true
    for (let begun = ahead[next]; begun && begun.first <= batch.last; begun = ahead[next]) {
      aborted.add(begun.producerId)
      next += 1
    }
    const writing = writingOf(batch.bytes)
    if (writing.isControl && isAbortMarker(batch.bytes)) aborted.delete(writing.producerId)
    return !writing.isControl && !(writing.isTransactional && aborted.has(writing.producerId))
  })
}

// A control record's key: version, then type 0 = abort, 1 = commit (KIP-98).
const abortMarker = Buffer.from([0, 0, 0, 0])

function isAbortMarker(bytes: Buffer): boolean {
  const all = { topic: 'state.v1', partition: 0, offset: 0, last: Infinity, batch: bytes } as const
  const found = new RecordReader(all, bodyOf(bytes)).next()
  return found !== undefined && 'key' in found && found.key?.equals(abortMarker) === true
}
