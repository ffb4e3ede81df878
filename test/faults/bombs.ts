// Batches that are small on the wire and huge once they are opened, in every codec that Kafka has: one record whose
// value is zeros.
import { createGzip, createZstdCompress } from 'node:zlib'
import { Readable, type Transform } from 'node:stream'
import { around, codecs, type RawBatch, type RawRecord } from './batch.ts'

const MEGA = 1_048_576

export const BOMBS = ['gzip', 'zstd', 'lz4', 'snappy'] as const
export type Bomb = (typeof BOMBS)[number]

/** Bytes of the value: about a megabyte on the wire, which a broker takes by default; zstd needs 12 to 30 kB. */
const valueBytes: Readonly<Record<Bomb, number>> = {
  gzip: 900_000_000,
  zstd: 400_000_000,
  lz4: 220_000_000,
  snappy: 18_000_000,
}

/** Takes seconds for gzip; the event loop stays free. */
export async function bombBatch(
  bomb: Bomb,
  record: Omit<RawRecord, 'value'>,
  zeros = valueBytes[bomb],
): Promise<RawBatch> {
  const { before, after } = around(record, zeros)
  const packed = await pack[bomb]({ before, zeros, after })
  return { codec: codecs[bomb], count: 1, packed, timestampMs: Date.now() }
}

type Plain = { readonly before: Buffer; readonly zeros: number; readonly after: Buffer }

const pack: Readonly<Record<Bomb, (plain: Plain) => Promise<Buffer>>> = {
  gzip: (plain) => through(plain, createGzip({ level: 9 })),
  zstd: (plain) => through(plain, createZstdCompress()),
  lz4: async (plain) => lz4Frame(plain),
  snappy: async (plain) => xerial(plain),
}

async function through(plain: Plain, packer: Transform): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of Readable.from(pieces(plain)).pipe(packer)) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

function* pieces({ before, zeros, after }: Plain): Generator<Buffer> {
  yield before
  const piece = Buffer.alloc(MEGA)
  for (let left = zeros; left > 0; left -= piece.length) yield piece.subarray(0, left)
  yield after
}

/** Blocks of at most 4 MB, each on its own; what is no zero is stored as it is (the frame format of lz4/lz4). */
function lz4Frame({ before, zeros, after }: Plain): Buffer {
  const blocks: Buffer[] = []
  for (let left = zeros; left > 0; left -= 4 * MEGA)
    blocks.push(sized(lz4Zeros(Math.min(left, 4 * MEGA))))
  const head = Buffer.of(0x04, 0x22, 0x4d, 0x18, 0x60, 0x70, 0x73)
  return Buffer.concat([head, lz4Stored(before), ...blocks, lz4Stored(after), Buffer.alloc(4)])
}

const LZ4_STORED = 0x80000000

function lz4Stored(bytes: Buffer): Buffer {
  const size = Buffer.alloc(4)
  size.writeUInt32LE(LZ4_STORED + bytes.length)
  return Buffer.concat([size, bytes])
}

function sized(block: Buffer): Buffer {
  const size = Buffer.alloc(4)
  size.writeUInt32LE(block.length)
  return Buffer.concat([size, block])
}

/** One literal zero, then a copy of it over and over; a block ends with five literals. */
function lz4Zeros(count: number): Buffer {
  const LAST = 5
  const copied = count - 1 - LAST
  if (copied < 19) return Buffer.concat([Buffer.of(count << 4), Buffer.alloc(count)])
  const more = copied - 19
  const lengths = Buffer.alloc(Math.floor(more / 255) + 1, 255)
  lengths[lengths.length - 1] = more % 255
  return Buffer.concat([
    Buffer.of(0x1f, 0, 1, 0),
    lengths,
    Buffer.of(LAST << 4),
    Buffer.alloc(LAST),
  ])
}

/** As Java frames it: magic, two versions, then blocks with their size before them. */
function xerial({ before, zeros, after }: Plain): Buffer {
  const head = Buffer.from('82534e41505059000000000100000001', 'hex')
  const blocks: Buffer[] = []
  for (let left = zeros; left > 0; left -= SNAPPY_BLOCK)
    blocks.push(snappyZeros(Math.min(left, SNAPPY_BLOCK)))
  const all = [snappyLiteral(before), ...blocks, snappyLiteral(after)]
  return Buffer.concat([head, ...all.flatMap((block) => [bigEndian(block.length), block])])
}

const SNAPPY_BLOCK = 32_768

function bigEndian(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

function unsigned(value: number): Buffer {
  const bytes: number[] = []
  let left = value
  while (left >= 0x80) {
    bytes.push((left & 0x7f) | 0x80)
    left >>>= 7
  }
  return Buffer.of(...bytes, left)
}

/** Length of the block, then a literal of up to 65,536 bytes (format_description.txt of snappy). */
function snappyLiteral(bytes: Buffer): Buffer {
  const length = Buffer.alloc(2)
  length.writeUInt16LE(bytes.length - 1)
  return Buffer.concat([unsigned(bytes.length), Buffer.of(61 << 2), length, bytes])
}

/** One literal zero, then copies of up to 64 bytes from one byte back. */
function snappyZeros(count: number): Buffer {
  const parts = [unsigned(count), Buffer.of(0, 0)]
  for (let left = count - 1; left > 0; left -= 64)
    parts.push(Buffer.of(((Math.min(left, 64) - 1) << 2) | 2, 1, 0))
  return Buffer.concat(parts)
}
