// Record batches as they lie in the log (message format 2), and the records of one. kafkajs takes a decoder, three
// buffers, two longs and an object of every batch's facts per record, and fails a whole fetch over one that is odd;
// here nothing that a batch holds makes reading it throw: what cannot be read is told with its offsets.
import { crc32c } from './crc32c.ts'
import {
  HEADERS_KEPT,
  type LogRecord,
  type RecordBatch,
  type RecordHeaders,
  type Unreadable,
} from './records.ts'

/** Largest record that is taken in: key, value and headers. Brokers take batches of 1 MB unless told otherwise. */
export const RECORD_BYTES_MAX = 1024 * 1024
/** So much of what cannot be read is kept for a person to look at. */
export const EVIDENCE_BYTES_MAX = 32 * 1024
const HEADER_BYTES_MAX = 256

/** What kafkajs reads bytes with. */
export type Cursor = {
  readonly buffer: Buffer
  offset: number
  readInt32(): number
  canReadBytes(length: number): boolean
}

/** A batch as it was fetched, and the offsets that its header claims; -1: what lies here has no usable header. */
export type RawBatch = {
  readonly offset: number
  readonly last: number
  readonly bytes: Buffer
}

/** Bytes of a batch before its records, and of what every message format begins with: offset and length. */
const HEAD_BYTES = 61
const FRAME_BYTES = 12
/** Smallest message of the formats before this one. */
const OLD_BYTES_MIN = 14
const MAGIC_AT = 16
const MAGIC = 2
const CRC_AT = 17
const CRC_FROM = 21
const ATTRIBUTES_AT = 21
const COUNT_AT = 57
const CODEC_MASK = 7
const LOG_APPEND_TIME_FLAG = 8
const TRANSACTIONAL_FLAG = 16
const CONTROL_FLAG = 32
const OFFSET_MAX = Number.MAX_SAFE_INTEGER - 2 ** 31

/** Every whole batch of a fetched partition, its size in front. */
export function batchesIn(cursor: Cursor): RawBatch[] {
  const size = cursor.readInt32()
  if (size <= 0 || !cursor.canReadBytes(size)) return []
  const set = cursor.buffer.subarray(cursor.offset, cursor.offset + size)
  cursor.offset += size
  return batchesOf(set)
}

/** Every whole batch: a fetch may cut the last one off. */
export function batchesOf(set: Buffer): RawBatch[] {
  const found: RawBatch[] = []
  for (let at = 0; at + FRAME_BYTES + OLD_BYTES_MIN <= set.length;) {
    const length = set.readInt32BE(at + 8)
    const next = at + FRAME_BYTES + length
    const isMagic = set[at + MAGIC_AT] === MAGIC
    const first = Number(set.readBigInt64BE(at))
    if (length < (isMagic ? HEAD_BYTES - FRAME_BYTES : OLD_BYTES_MIN) || !isOffset(first)) {
      found.push({ offset: -1, last: -1, bytes: set.subarray(at) })
      break
    }
    if (next > set.length) break
    const delta = isMagic ? set.readInt32BE(at + 23) : 0
    // What a header claims beyond the next batch is not so.
    const before = found.at(-1)
    if (before && before.last >= first) found.splice(-1, 1, { ...before, last: first - 1 })
    found.push({ offset: first, last: first + Math.max(0, delta), bytes: set.subarray(at, next) })
    at = next
  }
  return found
}

function isOffset(value: number): boolean {
  return value >= 0 && value <= OFFSET_MAX
}

/** Whether the bytes are those that the producer sent. */
export function isIntact(batch: Buffer): boolean {
  return isOld(batch) || crc32c(batch.subarray(CRC_FROM)) === batch.readUInt32BE(CRC_AT)
}

/** Of a format before Kafka 0.11, which no broker takes in any more. */
export function isOld(batch: Buffer): boolean {
  return batch[MAGIC_AT] !== MAGIC
}

/** 0: not compressed. */
export function codecOf(batch: Buffer): number {
  return isOld(batch) ? 0 : batch.readInt16BE(ATTRIBUTES_AT) & CODEC_MASK
}

/** UTC ms: when its first record was made, or all of it was appended; undefined in the formats before. */
export function timeOf(batch: Buffer): number | undefined {
  if (isOld(batch)) return undefined
  const isAppendTime = (batch.readInt16BE(ATTRIBUTES_AT) & LOG_APPEND_TIME_FLAG) !== 0
  return Number(batch.readBigInt64BE(isAppendTime ? 35 : 27))
}

/** How many records it claims to have. */
export function countOf(batch: Buffer): number {
  return isOld(batch) ? 1 : batch.readInt32BE(COUNT_AT)
}

/** The batch's records without its header, compressed or not. */
export function bodyOf(batch: Buffer): Buffer {
  return batch.subarray(HEAD_BYTES)
}

export type Writing = {
  readonly producerId: bigint
  readonly isTransactional: boolean
  readonly isControl: boolean
}

/** Who wrote a batch, and how. */
export function writingOf(batch: Buffer): Writing {
  if (isOld(batch)) return { producerId: -1n, isTransactional: false, isControl: false }
  const attributes = batch.readInt16BE(ATTRIBUTES_AT)
  return {
    producerId: batch.readBigInt64BE(43),
    isTransactional: (attributes & TRANSACTIONAL_FLAG) !== 0,
    isControl: (attributes & CONTROL_FLAG) !== 0,
  }
}

export const isControl = (batch: Buffer): boolean =>
  !isOld(batch) && (batch.readInt16BE(ATTRIBUTES_AT) & CONTROL_FLAG) !== 0

/** A range of offsets that cannot be read, with the beginning of what is there. */
export function unreadable(
  { topic, partition, offset, last, batch }: RecordBatch,
  reason: string,
  message: string,
): Unreadable {
  const bytes = Buffer.from(batch.subarray(0, EVIDENCE_BYTES_MAX))
  return { topic, partition, offset, last, reason, message, bytes }
}

const NO_HEADERS: RecordHeaders = Object.freeze({})
const NAMES = HEADERS_KEPT.map((name) => Buffer.from(name))

/** The records of one batch from its first wanted offset on, one after another. Never throws. */
export class RecordReader {
  readonly #batch: RecordBatch
  readonly #bytes: Buffer
  readonly #first: number
  readonly #lastDelta: number
  #left: number
  #at = 0
  /** Offset of the last record, wanted or not. */
  #passed: number

  /** `bytes` are the records: the batch's body, decompressed if it was compressed. */
  constructor(batch: RecordBatch, bytes: Buffer) {
    this.#batch = batch
    this.#bytes = bytes
    this.#first = Number(batch.batch.readBigInt64BE(0))
    this.#lastDelta = batch.last - this.#first
    this.#left = batch.batch.readInt32BE(COUNT_AT)
    this.#passed = batch.offset - 1
  }

  /** Bytes of its records, decompressed. */
  get bytes(): number {
    return this.#bytes.length
  }

  /** undefined: there is nothing more, up to the batch's last offset. */
  next(): LogRecord | Unreadable | undefined {
    while (this.#left > 0) {
      this.#left -= 1
      const found = this.#record()
      if (found !== undefined) return found
    }
    if (this.#at >= this.#bytes.length) return undefined
    return this.#rest('there are more bytes than the records that the batch counts')
  }

  /** undefined: one that is not wanted. */
  #record(): LogRecord | Unreadable | undefined {
    const bytes = this.#bytes
    const length = this.#varint()
    const end = this.#at + length
    if (!(length > 0 && end <= bytes.length)) return this.#rest('a record is cut off')
    const from = this.#at
    this.#at += 1 // attributes, of which there are none
    this.#varint() // when: data of the producer, asked for by nobody
    const delta = this.#varint()
    const offset = this.#first + delta
    const isWanted = offset >= this.#batch.offset
    if (!(delta >= 0 && delta <= this.#lastDelta && (!isWanted || offset > this.#passed)))
      return this.#rest('a record has an offset that is not its own')
    if (length > RECORD_BYTES_MAX) {
      this.#at = end
      return isWanted ? this.#tooLarge(offset, from, length) : undefined
    }
    const key = this.#field(end)
    const value = this.#field(end)
    if (key === undefined || value === undefined) return this.#rest('a record is cut off')
    const headers = this.#headers(end)
    if (headers === undefined || this.#at !== end)
      return this.#rest('a record is longer or shorter than it says')
    if (!isWanted) return undefined
    this.#passed = offset
    const { topic, partition } = this.#batch
    return { topic, partition, offset, key, value, headers }
  }

  #tooLarge(offset: number, from: number, length: number): Unreadable {
    this.#passed = offset
    const { topic, partition } = this.#batch
    return {
      topic,
      partition,
      offset,
      last: offset,
      reason: 'RECORD_TOO_LARGE',
      message: `the record has ${length} bytes; at most ${RECORD_BYTES_MAX} are taken in`,
      bytes: Buffer.from(this.#bytes.subarray(from, from + EVIDENCE_BYTES_MAX)),
    }
  }

  /** Nothing can be read from here to the batch's end. */
  #rest(message: string): Unreadable | undefined {
    const from = this.#passed + 1
    this.#left = 0
    this.#at = this.#bytes.length
    this.#passed = this.#batch.last
    if (from > this.#batch.last) return undefined
    return unreadable({ ...this.#batch, offset: from }, 'UNDECODABLE_BATCH', message)
  }

  /** A zigzag varint of up to 64 bits, exact up to 53; NaN: there is none. */
  #varint(): number {
    const bytes = this.#bytes
    let byte = bytes[this.#at++] ?? 0xff
    let value = byte & 0x7f
    if (byte < 0x80) return (value >>> 1) ^ -(value & 1)
    let factor = 0x80
    for (let more = 9; byte >= 0x80; more -= 1) {
      const found = bytes[this.#at++]
      if (found === undefined || more === 0) return NaN
      byte = found
      value += (byte & 0x7f) * factor
      factor *= 0x80
    }
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2
  }

  /** Key or value; undefined: it does not fit. */
  #field(end: number): Buffer | null | undefined {
    const length = this.#varint()
    if (length === -1) return null
    const at = this.#at
    if (!(length >= 0 && at + length <= end)) return undefined
    this.#at = at + length
    return this.#bytes.subarray(at, at + length)
  }

  /** undefined: they do not fit. */
  #headers(end: number): RecordHeaders | undefined {
    const bytes = this.#bytes
    const count = this.#varint()
    if (count === 0) return NO_HEADERS
    if (!(count > 0 && count <= end - this.#at)) return undefined
    const headers: { 'wellspring-type'?: string; traceparent?: string } = {}
    for (let left = count; left > 0; left -= 1) {
      const nameLength = this.#varint()
      const name = this.#at
      if (!(nameLength >= 0 && name + nameLength <= end)) return undefined
      this.#at = name + nameLength
      const length = this.#varint()
      const at = this.#at
      if (!(length >= -1 && at + length <= end)) return undefined
      this.#at = at + Math.max(0, length)
      const kept = this.#nameAt(name, nameLength)
      if (kept === undefined) continue
      if (length < 0) delete headers[kept]
      else headers[kept] = bytes.toString('utf8', at, at + Math.min(length, HEADER_BYTES_MAX))
    }
    return headers
  }

  /** The name of a header that is kept. */
  #nameAt(at: number, length: number): (typeof HEADERS_KEPT)[number] | undefined {
    const bytes = this.#bytes
    for (const [index, name] of NAMES.entries()) {
      if (name.length !== length) continue
      if (bytes.compare(name, 0, length, at, at + length) === 0) return HEADERS_KEPT[index]
    }
    return undefined
  }
}
