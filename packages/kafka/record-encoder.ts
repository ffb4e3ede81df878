// Kafka records and their batch (message format 2), each in one pass into one buffer. kafkajs takes a zeroed 512-byte
// buffer for a record and one for each header, grows them by doubling, and counts in BigInt; a batch it copies three
// times.
import { crc32c } from './crc32c.ts'

export type RecordInit = {
  readonly offsetDelta?: number
  readonly timestampDelta?: number
  readonly key?: string | Buffer | null
  readonly value?: string | Buffer | null
  readonly headers?: Readonly<Record<string, HeaderValue | readonly HeaderValue[]>>
}

type HeaderValue = string | Buffer

/** What kafkajs takes for an encoder. */
export type Encoded = { readonly buf: Buffer; readonly buffer: Buffer; size(): number }

/** A number that kafkajs keeps as a number or as a long. */
type Whole = number | { toString(): string }

export type BatchInit = {
  readonly compression?: number
  readonly firstOffset?: Whole
  readonly firstTimestamp?: Whole
  readonly maxTimestamp?: Whole
  readonly partitionLeaderEpoch?: number
  readonly lastOffsetDelta?: number
  readonly transactional?: boolean
  readonly producerId?: Whole
  readonly producerEpoch?: number
  readonly firstSequence?: number
  readonly records?: readonly Encoded[]
}

type Part = { readonly bytes: string | Buffer | null; readonly length: number }

/** Deltas above this are for the original: they never occur where all records of a batch are made at once. */
export const DELTA_MAX = 0x3fffffff

/** The bytes of a record, its length first. Deltas are whole and from 0 to DELTA_MAX. */
export function encodeRecord(record: RecordInit): Encoded {
  const { offsetDelta = 0, timestampDelta = 0, headers = {} } = record
  const parts: Part[] = [partOf(record.key ?? null), partOf(record.value ?? null)]
  for (const [name, values] of Object.entries(headers))
    for (const value of Array.isArray(values) ? values : [values])
      parts.push(partOf(name), partOf(value as HeaderValue))
  const headerCount = (parts.length - 2) / 2
  let length = 1 + sizeOf(timestampDelta) + sizeOf(offsetDelta) + sizeOf(headerCount)
  for (const part of parts) length += sizeOf(part.length) + Math.max(0, part.length)

  const buf = Buffer.allocUnsafe(sizeOf(length) + length)
  let at = varint(buf, 0, length)
  buf[at] = 0 // attributes
  at = varint(buf, at + 1, timestampDelta)
  at = varint(buf, at, offsetDelta)
  for (const [index, part] of parts.entries()) {
    if (index === 2) at = varint(buf, at, headerCount)
    at = varint(buf, at, part.length)
    if (typeof part.bytes === 'string') at += buf.write(part.bytes, at, 'utf8')
    else if (part.bytes !== null) at += part.bytes.copy(buf, at)
  }
  if (parts.length === 2) varint(buf, at, 0)
  return encoded(buf)
}

/** Bytes before the first record of a batch; from CRC_FROM on they count for the checksum. */
const BATCH_HEAD = 61
const CRC_FROM = 21

/** The bytes of an uncompressed batch. */
export function encodeBatch(batch: BatchInit): Encoded {
  const records = batch.records ?? []
  const length = records.reduce((sum, record) => sum + record.size(), BATCH_HEAD)
  const buf = Buffer.allocUnsafe(length)
  const nowMs = Date.now()
  buf.writeBigInt64BE(long(batch.firstOffset ?? 0), 0)
  buf.writeInt32BE(length - 12, 8)
  buf.writeInt32BE(batch.partitionLeaderEpoch ?? 0, 12)
  buf.writeInt8(2, 16) // magic
  buf.writeInt16BE(batch.transactional ? 16 : 0, CRC_FROM)
  buf.writeInt32BE(batch.lastOffsetDelta ?? 0, 23)
  buf.writeBigInt64BE(long(batch.firstTimestamp ?? nowMs), 27)
  buf.writeBigInt64BE(long(batch.maxTimestamp ?? nowMs), 35)
  buf.writeBigInt64BE(long(batch.producerId ?? -1), 43)
  buf.writeInt16BE(batch.producerEpoch ?? 0, 51)
  buf.writeInt32BE(batch.firstSequence ?? 0, 53)
  buf.writeInt32BE(records.length, 57)
  let at = BATCH_HEAD
  for (const record of records) at += record.buffer.copy(buf, at)
  buf.writeUInt32BE(crc32c(buf.subarray(CRC_FROM)), 17)
  return encoded(buf)
}

function long(value: Whole): bigint {
  return BigInt(typeof value === 'number' ? value : value.toString())
}

function encoded(buf: Buffer): Encoded {
  return { buf, buffer: buf, size: () => buf.length }
}

function partOf(bytes: string | Buffer | null): Part {
  return { bytes, length: bytes === null ? -1 : Buffer.byteLength(bytes) }
}

/** Bytes of a zigzag varint. */
function sizeOf(value: number): number {
  const bits = 32 - Math.clz32((value << 1) ^ (value >> 31))
  return Math.max(1, Math.ceil(bits / 7))
}

/** Writes a zigzag varint; returns where the next byte goes. */
function varint(buf: Buffer, from: number, value: number): number {
  let rest = ((value << 1) ^ (value >> 31)) >>> 0
  let at = from
  while (rest > 0x7f) {
    buf[at] = (rest & 0x7f) | 0x80
    rest >>>= 7
    at += 1
  }
  buf[at] = rest
  return at + 1
}
