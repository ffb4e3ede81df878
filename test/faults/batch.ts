// Record batches as they lie on the wire (magic 2; kafka.apache.org, "Record Batch"), built byte by byte: what no client
// library would write, and what a client library of another language does.
import { crc32c } from '@wellspring/kafka/crc32c.ts'

export type RawRecord = {
  readonly key: Buffer | null
  readonly value: Buffer | null
  /** In order; names may come again, and be no text. */
  readonly headers: readonly (readonly [name: Buffer, value: Buffer | null])[]
}

export const codecs = { none: 0, gzip: 1, snappy: 2, lz4: 3, zstd: 4 } as const

export type RawBatch = {
  /** Three bits: 0 is none, 1 to 4 have names, 5 to 7 are nobody's. */
  readonly codec: number
  /** As the header counts them. */
  readonly count: number
  /** The records, compressed by the codec. */
  readonly packed: Buffer
  readonly timestampMs: number
}

/** Uncompressed. */
export function plainBatch(records: readonly RawRecord[], timestampMs = Date.now()): RawBatch {
  const packed = Buffer.concat(records.map((record, at) => recordBytes(record, at)))
  return { codec: codecs.none, count: records.length, packed, timestampMs }
}

/** What precedes the bytes of a record's value, and what follows them, when the value has so many bytes. */
export function around(
  { key, headers }: Omit<RawRecord, 'value'>,
  valueBytes: number,
): { readonly before: Buffer; readonly after: Buffer } {
  const head = Buffer.concat([Buffer.of(0, 0, 0), lengthOf(key), key ?? none, varint(valueBytes)])
  const after = headerBytes(headers)
  return { before: Buffer.concat([varint(head.length + valueBytes + after.length), head]), after }
}

/** The whole batch; its base offset is the broker's to set. */
export function batchBytes({ codec, count, packed, timestampMs }: RawBatch): Buffer {
  const checked = Buffer.concat([
    int16(codec),
    int32(count - 1),
    int64(timestampMs),
    int64(timestampMs),
    Buffer.alloc(8 + 2 + 4, 0xff), // no producer id, epoch, sequence
    int32(count),
    packed,
  ])
  const crc = Buffer.alloc(4)
  crc.writeUInt32BE(crc32c(checked))
  const head = Buffer.concat([int32(0), Buffer.of(2), crc]) // leader epoch, magic, checksum
  return Buffer.concat([Buffer.alloc(8), int32(head.length + checked.length), head, checked])
}

const none = Buffer.alloc(0)

function recordBytes({ key, value, headers }: RawRecord, at: number): Buffer {
  const body = Buffer.concat([
    Buffer.of(0, 0), // attributes, delta of time
    varint(at),
    lengthOf(key),
    key ?? none,
    lengthOf(value),
    value ?? none,
    headerBytes(headers),
  ])
  return Buffer.concat([varint(body.length), body])
}

function headerBytes(headers: RawRecord['headers']): Buffer {
  const parts = headers.flatMap(([name, value]) => [
    varint(name.length),
    name,
    lengthOf(value),
    value ?? none,
  ])
  return Buffer.concat([varint(headers.length), ...parts])
}

const lengthOf = (bytes: Buffer | null): Buffer => varint(bytes?.length ?? -1)

/** Zigzag, of up to 32 bits. */
export function varint(value: number): Buffer {
  const bytes: number[] = []
  let left = ((value << 1) ^ (value >> 31)) >>> 0
  while (left >= 0x80) {
    bytes.push((left & 0x7f) | 0x80)
    left >>>= 7
  }
  return Buffer.of(...bytes, left)
}

export function int16(value: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeInt16BE(value)
  return bytes
}

export function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}

function int64(value: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigInt64BE(BigInt(value))
  return bytes
}
