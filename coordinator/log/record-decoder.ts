// The records of a fetched partition. kafkajs takes a decoder, three buffers, two longs and an object of every batch's
// facts per record, and an exception per fetch: half of the time of a restore. Compressed batches come here as well.
import type { Message } from './patched.ts'

/** What kafkajs reads bytes with. */
export type Cursor = {
  readonly buffer: Buffer
  offset: number
  readInt32(): number
  canReadBytes(length: number): boolean
}

/** What kafkajs knows of a batch, and hands on with each of its records. */
type Context = {
  readonly firstOffset: string
  readonly firstTimestamp: string
  readonly partitionLeaderEpoch: number
  readonly inTransaction: boolean
  readonly isControlBatch: boolean
  readonly lastOffsetDelta: number
  readonly producerId: string
  readonly producerEpoch: number
  readonly firstSequence: number
  readonly maxTimestamp: string
  readonly timestampType: number
  readonly magicByte: number
}

export type Decompress = (attributes: number, bytes: Buffer) => Promise<Buffer>

/** Bytes of a batch before its records. */
const HEAD_BYTES = 61
const MAGIC_AT = 16
const MAGIC = 2
const CODEC_MASK = 7
const LOG_APPEND_TIME_FLAG = 8
const TRANSACTIONAL_FLAG = 16
const CONTROL_FLAG = 32

/**
 * Every record of the whole batches that are there: a fetch may cut the last one off. A batch whose last record was
 * compacted away ends with a control record that says nothing: readers move by the offsets they see. undefined: the
 * messages are of an older format, and nothing was read.
 */
export function decodeMessages(
  cursor: Cursor,
  decompress: Decompress,
): Message[] | Promise<Message[]> | undefined {
  const start = cursor.offset
  const size = cursor.readInt32()
  if (size <= 0 || !cursor.canReadBytes(size)) return []
  const set = cursor.buffer.subarray(cursor.offset, cursor.offset + size)
  if (set.length > MAGIC_AT && set[MAGIC_AT] !== MAGIC) {
    cursor.offset = start
    return undefined
  }
  cursor.offset += size
  const messages: Message[] = []
  const end = batches(set, 0, messages)
  return end === undefined ? messages : withCompressed(set, end, { messages, decompress })
}

/** Decodes batches from there on; where a compressed one begins, if there is one. */
function batches(set: Buffer, from: number, messages: Message[]): number | undefined {
  let at = from
  while (at + HEAD_BYTES <= set.length) {
    const next = at + 12 + set.readInt32BE(at + 8)
    if (next > set.length) return undefined
    if ((set.readInt16BE(at + 21) & CODEC_MASK) !== 0) return at
    records(set, at, { bytes: set, from: at + HEAD_BYTES, messages })
    at = next
  }
  return undefined
}

async function withCompressed(
  set: Buffer,
  first: number,
  { messages, decompress }: { messages: Message[]; decompress: Decompress },
): Promise<Message[]> {
  for (let at: number | undefined = first; at !== undefined;) {
    const next = at + 12 + set.readInt32BE(at + 8)
    const packed = set.subarray(at + HEAD_BYTES, next)
    const bytes = packed.length > 0 ? await decompress(set.readInt16BE(at + 21), packed) : packed
    records(set, at, { bytes, from: 0, messages })
    at = batches(set, next, messages)
  }
  return messages
}

type Into = { readonly bytes: Buffer; readonly from: number; readonly messages: Message[] }

function records(set: Buffer, at: number, { bytes, from, messages }: Into): void {
  const attributes = set.readInt16BE(at + 21)
  const firstOffset = Number(set.readBigInt64BE(at))
  const firstTimestamp = Number(set.readBigInt64BE(at + 27))
  const maxTimestamp = Number(set.readBigInt64BE(at + 35))
  const lastOffsetDelta = set.readInt32BE(at + 23)
  const isControlRecord = (attributes & CONTROL_FLAG) !== 0
  const isAppendTime = (attributes & LOG_APPEND_TIME_FLAG) !== 0
  const batchContext: Context = {
    firstOffset: String(firstOffset),
    firstTimestamp: String(firstTimestamp),
    partitionLeaderEpoch: set.readInt32BE(at + 12),
    inTransaction: (attributes & TRANSACTIONAL_FLAG) !== 0,
    isControlBatch: isControlRecord,
    lastOffsetDelta,
    producerId: String(set.readBigInt64BE(at + 43)),
    producerEpoch: set.readInt16BE(at + 51),
    firstSequence: set.readInt32BE(at + 53),
    maxTimestamp: String(maxTimestamp),
    timestampType: isAppendTime ? 1 : 0,
    magicByte: MAGIC,
  }
  let last = -1
  const reader = new Varints(bytes, from)
  for (let left = set.readInt32BE(at + 57); left > 0; left -= 1) {
    const end = reader.next() + reader.at
    reader.at += 1 // attributes, of which there are none
    const timestamp = firstTimestamp + reader.next()
    last = reader.next()
    const key = reader.bytes()
    const value = reader.bytes()
    const headers = reader.at < end ? reader.headers() : {}
    const message = {
      magicByte: MAGIC,
      attributes: 0,
      timestamp: isAppendTime ? batchContext.maxTimestamp : String(timestamp),
      offset: String(firstOffset + last),
      key,
      value,
      headers,
      isControlRecord,
      batchContext,
    }
    messages.push(message)
    reader.at = end
  }
  if (last < lastOffsetDelta) messages.push(filler(firstOffset + lastOffsetDelta, batchContext))
}

/** Takes a reader past what compaction removed. */
function filler(offset: number, batchContext: Context): Message {
  const nothing = { key: null, value: null, headers: {}, isControlRecord: true }
  return { ...nothing, offset: String(offset), batchContext } as Message
}

type HeaderValue = Buffer | null

class Varints {
  at: number
  readonly #bytes: Buffer

  constructor(bytes: Buffer, from: number) {
    this.#bytes = bytes
    this.at = from
  }

  /** A zigzag varint of up to 53 bits. */
  next(): number {
    const bytes = this.#bytes
    let byte = bytes[this.at++] ?? 0
    let value = byte & 0x7f
    if (byte < 0x80) return (value >>> 1) ^ -(value & 1)
    for (let factor = 0x80; byte >= 0x80; factor *= 0x80) {
      byte = bytes[this.at++] ?? 0
      value += (byte & 0x7f) * factor
    }
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2
  }

  bytes(): Buffer | null {
    const length = this.next()
    if (length < 0) return null
    const { at } = this
    this.at += length
    return this.#bytes.subarray(at, at + length)
  }

  /** Values of a name that occurs more than once are a list. */
  headers(): Record<string, HeaderValue | HeaderValue[]> {
    const headers: Record<string, HeaderValue | HeaderValue[]> = {}
    for (let left = this.next(); left > 0; left -= 1) {
      const name = this.bytes()?.toString('utf8') ?? ''
      const value = this.bytes()
      const before = headers[name]
      if (before === undefined) headers[name] = value
      else headers[name] = Array.isArray(before) ? [...before, value] : [before, value]
    }
    return headers
  }
}
