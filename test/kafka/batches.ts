// Record batches byte by byte (magic 2; kafka.apache.org, "Record Batch"), as odd as nobody's client would write them.
import { crc32c } from '@wellspring/kafka/crc32c.ts'
import type { Cursor } from '@wellspring/kafka/record-decoder.ts'

export type Field = string | Buffer | null

export type RecordInit = {
  readonly key?: Field
  readonly value?: Field
  /** In order; names may come again, and be no text. */
  readonly headers?: readonly (readonly [name: string | Buffer, value: Field])[]
  readonly offsetDelta?: number
  readonly timestampDelta?: number
}

export type BatchInit = {
  readonly firstOffset?: number
  readonly lastOffsetDelta?: number
  /** As the header counts them. */
  readonly count?: number
  readonly codec?: number
  /** Control 32, transactional 16, log append time 8. */
  readonly flags?: number
  readonly timestampMs?: number
  readonly producerId?: number
  readonly magic?: number
  /** Instead of the right one. */
  readonly crc?: number
  /** The records as they lie in the batch, instead of the encoded ones: compressed, or odd. */
  readonly body?: Buffer
}

export function batchBytes(records: readonly RecordInit[], init: BatchInit = {}): Buffer {
  const { timestampMs = 1_700_000_000_000, producerId = -1, firstOffset = 0 } = init
  const body = init.body ?? recordsBytes(records)
  const checked = Buffer.concat([
    int(2, (init.codec ?? 0) | (init.flags ?? 0)),
    int(4, init.lastOffsetDelta ?? Math.max(0, records.length - 1)),
    int(8, timestampMs),
    int(8, timestampMs),
    int(8, producerId),
    int(2, -1),
    int(4, -1),
    int(4, init.count ?? records.length),
    body,
  ])
  const crc = Buffer.alloc(4)
  crc.writeUInt32BE(init.crc ?? crc32c(checked))
  const head = Buffer.concat([int(4, 0), Buffer.of(init.magic ?? 2), crc])
  return Buffer.concat([int(8, firstOffset), int(4, head.length + checked.length), head, checked])
}

/** What is compressed. */
export function recordsBytes(records: readonly RecordInit[]): Buffer {
  return Buffer.concat(records.map((record, at) => recordBytes(record, at)))
}

function recordBytes(record: RecordInit, at: number): Buffer {
  const { key = null, value = null, headers = [], timestampDelta = 0 } = record
  const body = Buffer.concat([
    Buffer.of(0),
    varint(timestampDelta),
    varint(record.offsetDelta ?? at),
    field(key),
    field(value),
    varint(headers.length),
    ...headers.flatMap(([name, held]) => [field(name), field(held)]),
  ])
  return Buffer.concat([varint(body.length), body])
}

function field(value: Field): Buffer {
  if (value === null) return varint(-1)
  const bytes = Buffer.from(value)
  return Buffer.concat([varint(bytes.length), bytes])
}

/** Zigzag, up to 53 bits. */
export function varint(value: number): Buffer {
  const bytes: number[] = []
  let left = value < 0 ? -2 * value - 1 : 2 * value
  for (; left >= 0x80; left = Math.floor(left / 0x80)) bytes.push((left % 0x80) | 0x80)
  return Buffer.of(...bytes, left)
}

function int(width: 2 | 4 | 8, value: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigInt64BE(BigInt(value))
  return bytes.subarray(8 - width)
}

/** What a fetch of these bytes holds, its size in front. */
export function cursorOver(set: Buffer): Cursor {
  const size = Buffer.alloc(4)
  size.writeInt32BE(set.length)
  const buffer = Buffer.concat([size, set])
  return {
    buffer,
    offset: 0,
    readInt32() {
      this.offset += 4
      return buffer.readInt32BE(this.offset - 4)
    },
    canReadBytes(length) {
      return this.offset + length <= buffer.length
    },
  }
}
