// LZ4 frames as record batches hold them, one or several after another. Written from the format's description
// (lz4/lz4 on GitHub, doc/: frame and block format). Checksums are left to the batch, which has its own; what a
// frame claims to hold is not believed, and nothing is written or read beyond a buffer.
import { repeat } from './snappy.ts'

const MAGIC = 0x184d2204
const SKIPPABLE_MAGIC = 0x184d2a50
const FLAG = {
  version: 0xc0,
  blockSum: 0x10,
  size: 0x08,
  contentSum: 0x04,
  dictionary: 0x01,
} as const
const VERSION = 0x40
/** Largest block by the id in a frame's header. */
const BLOCK_BYTES_MAX: Readonly<Record<number, number>> = {
  4: 64 * 1024,
  5: 256 * 1024,
  6: 1024 * 1024,
  7: 4 * 1024 * 1024,
}
const STORED_FLAG = 0x80000000
const MATCH_MIN = 4

/** Throws RangeError when there would be more than `bytesMax`, and Error when it is no LZ4. */
export function lz4Decompress(bytes: Buffer, bytesMax: number): Buffer {
  const out = new Growing(bytesMax)
  for (let at = 0; at < bytes.length;) at = frame(bytes, at, out)
  return out.bytes()
}

/** Decompresses the frame that begins there; where the next one begins. */
function frame(bytes: Buffer, from: number, out: Growing): number {
  const magic = word(bytes, from)
  if ((magic & 0xfffffff0) >>> 0 === SKIPPABLE_MAGIC) return from + 8 + word(bytes, from + 4)
  if (magic !== MAGIC) throw new Error('an LZ4 frame begins otherwise')
  const flags = bytes[from + 4] ?? 0
  const blockMax = BLOCK_BYTES_MAX[((bytes[from + 5] ?? 0) >>> 4) & 7]
  if ((flags & FLAG.version) !== VERSION || blockMax === undefined)
    throw new Error('an LZ4 frame of an unknown version')
  if ((flags & FLAG.dictionary) !== 0) throw new Error('an LZ4 frame needs a dictionary')
  const begun = out.length
  let at = from + 7 + ((flags & FLAG.size) === 0 ? 0 : 8)
  for (;;) {
    const size = word(bytes, at)
    at += 4
    if (size === 0) return at + ((flags & FLAG.contentSum) === 0 ? 0 : 4)
    const length = size & ~STORED_FLAG
    if (length > blockMax || at + length > bytes.length) throw new Error('an LZ4 block is cut off')
    const packed = bytes.subarray(at, at + length)
    if ((size & STORED_FLAG) !== 0) out.append(packed)
    else block(packed, out, { begun, endMax: out.length + blockMax })
    at += length + ((flags & FLAG.blockSum) === 0 ? 0 : 4)
  }
}

/** Blocks of a frame may refer to what earlier ones made. */
function block(
  bytes: Buffer,
  out: Growing,
  { begun, endMax }: { readonly begun: number; readonly endMax: number },
): void {
  for (let at = 0; at < bytes.length;) {
    const token = bytes[at] ?? 0
    const literals = lengthAt(bytes, at + 1, token >>> 4)
    const end = literals.next + literals.length
    if (end > bytes.length) throw new Error('an LZ4 block is cut off')
    out.append(bytes.subarray(literals.next, end))
    if (end === bytes.length) return
    if (end + 2 > bytes.length) throw new Error('an LZ4 block is cut off')
    const offset = bytes.readUInt16LE(end)
    const match = lengthAt(bytes, end + 2, token & 0xf)
    if (offset === 0 || offset > out.length - begun)
      throw new Error('an LZ4 block refers to bytes before its first')
    if (out.length + match.length + MATCH_MIN > endMax)
      throw new Error('an LZ4 block is longer than its frame allows')
    out.repeat(offset, match.length + MATCH_MIN)
    at = match.next
  }
}

/** A length of four bits, and of whole bytes as long as they are full. */
function lengthAt(bytes: Buffer, from: number, low: number): { length: number; next: number } {
  let length = low
  let next = from
  for (let byte = low === 0xf ? 0xff : 0; byte === 0xff;) {
    const found = bytes[next]
    if (found === undefined) throw new Error('an LZ4 block is cut off')
    byte = found
    length += byte
    next += 1
  }
  return { length, next }
}

function word(bytes: Buffer, at: number): number {
  if (at + 4 > bytes.length) throw new Error('an LZ4 frame is cut off')
  return bytes.readUInt32LE(at)
}

/** Output that doubles as it is needed, up to a limit. */
class Growing {
  length = 0
  readonly #max: number
  #into = Buffer.allocUnsafeSlow(64 * 1024)

  constructor(max: number) {
    this.#max = max
  }

  append(bytes: Buffer): void {
    this.#room(bytes.length)
    this.length += bytes.copy(this.#into, this.length)
  }

  repeat(offset: number, length: number): void {
    this.#room(length)
    repeat(this.#into, this.length, { length, offset })
    this.length += length
  }

  bytes(): Buffer {
    return this.#into.subarray(0, this.length)
  }

  #room(bytes: number): void {
    const wanted = this.length + bytes
    if (wanted > this.#max) throw new RangeError(`more than ${this.#max} bytes`)
    if (wanted <= this.#into.length) return
    const larger = Buffer.allocUnsafeSlow(
      Math.min(this.#max, Math.max(wanted, 2 * this.#into.length)),
    )
    this.#into.copy(larger, 0, 0, this.length)
    this.#into = larger
  }
}
