// Opening compressed batches. What comes out is bounded, whatever a batch claims: memory follows what is taken in, not
// what a producer writes.
import { gunzipSync, zstdDecompressSync, type ZstdOptions } from 'node:zlib'
import { lz4Decompress } from './lz4.ts'
import type { RecordBatch, Unreadable } from './records.ts'
import { RecordReader, bodyOf, codecOf, isOld, unreadable } from './record-decoder.ts'
import { snappyDecompress } from './snappy.ts'

/** Largest batch that is opened, its records together, decompressed. A broker takes 1 MB compressed by default. */
export const OPENED_BYTES_MAX = 16 * 1024 * 1024

type Decompress = (bytes: Buffer, bytesMax: number) => Buffer

/** By the number that a batch carries. */
const codecs: Readonly<Record<number, { readonly name: string; readonly open: Decompress }>> = {
  1: { name: 'gzip', open: (bytes, max) => gunzipSync(bytes, { maxOutputLength: max }) },
  2: { name: 'snappy', open: snappyDecompress },
  3: { name: 'lz4', open: lz4Decompress },
  4: { name: 'zstd', open: zstd },
}

export type Opened =
  | { readonly kind: 'bytes'; readonly bytes: Buffer }
  | { readonly kind: 'refused'; readonly reason: string; readonly message: string }

/** The records of a batch, decompressed if need be; never throws. */
export function openBatch(batch: RecordBatch): RecordReader | Unreadable {
  if (isOld(batch.batch))
    return unreadable(batch, 'OLD_FORMAT', 'the batch is of a format from before Kafka 0.11')
  const codec = codecOf(batch.batch)
  if (codec === 0) return new RecordReader(batch, bodyOf(batch.batch))
  const opened = decompressed(codec, bodyOf(batch.batch))
  if (opened.kind === 'refused') return unreadable(batch, opened.reason, opened.message)
  return new RecordReader(batch, opened.bytes)
}

/** Decompresses a batch's records; never throws. */
export function decompressed(codec: number, bytes: Buffer, bytesMax = OPENED_BYTES_MAX): Opened {
  const known = codecs[codec]
  if (!known)
    return { kind: 'refused', reason: 'UNKNOWN_CODEC', message: `no codec has the number ${codec}` }
  // Nothing becomes nothing, with all of them.
  if (bytes.length === 0) return { kind: 'bytes', bytes }
  try {
    return { kind: 'bytes', bytes: known.open(bytes, bytesMax) }
  } catch (error) {
    const isTooLarge = error instanceof RangeError
    return {
      kind: 'refused',
      reason: isTooLarge ? 'BATCH_TOO_LARGE' : 'UNDECODABLE_BATCH',
      message: isTooLarge
        ? `${bytes.length} bytes of ${known.name} become more than ${bytesMax}`
        : `no ${known.name}: ${error instanceof Error ? error.message : String(error)}`,
    }
  }
}

type Frame = { readonly buffer: Buffer; readonly engine: { readonly bytesWritten: number } }
/** With `info` it tells how much it has read. */
const openFrame: (bytes: Buffer, options: ZstdOptions & { info: true }) => unknown =
  zstdDecompressSync

/** Frame by frame: Node opens the first one only. */
function zstd(bytes: Buffer, bytesMax: number): Buffer {
  const frames: Buffer[] = []
  let left = bytesMax
  for (let at = 0; at < bytes.length;) {
    const options = { maxOutputLength: left, info: true } as const
    const { buffer, engine } = openFrame(bytes.subarray(at), options) as Frame
    if (!(engine.bytesWritten > 0)) throw new Error('a frame has no end')
    frames.push(buffer)
    left -= buffer.length
    at += engine.bytesWritten
  }
  const [first] = frames
  return first && frames.length === 1 ? first : Buffer.concat(frames)
}
