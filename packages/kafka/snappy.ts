// Snappy as record batches hold it: one block, or blocks framed as Java does it (xerial). Written from the format's
// description (google/snappy, format_description.txt); what a block claims is believed only as far as its bytes can
// bear it, and nothing is written or read beyond a buffer.

// Magic, version, lowest version; then blocks with a length before each.
const xerialMagic = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00])
const XERIAL_HEAD_BYTES = 16
/** No element of three bytes makes more than 64. */
const GROWTH_MAX = 22

/** Throws RangeError when there would be more than `bytesMax`, and Error when it is no Snappy. */
export function snappyDecompress(bytes: Buffer, bytesMax: number): Buffer {
  if (!bytes.subarray(0, xerialMagic.length).equals(xerialMagic)) return block(bytes, bytesMax)
  const blocks: Buffer[] = []
  let left = bytesMax
  for (let at = XERIAL_HEAD_BYTES; at < bytes.length;) {
    const length = at + 4 <= bytes.length ? bytes.readInt32BE(at) : -1
    at += 4
    if (length < 0 || at + length > bytes.length) throw new Error('a Snappy block is cut off')
    const opened = block(bytes.subarray(at, at + length), left)
    left -= opened.length
    blocks.push(opened)
    at += length
  }
  return Buffer.concat(blocks)
}

function block(bytes: Buffer, bytesMax: number): Buffer {
  const { length, from } = lengthOf(bytes)
  if (length > bytesMax) throw new RangeError(`a Snappy block claims ${length} bytes`)
  if (length > bytes.length * GROWTH_MAX)
    throw new Error(`a Snappy block of ${bytes.length} bytes claims ${length}`)
  const into = Buffer.allocUnsafeSlow(length)
  let at = from
  let to = 0
  while (at < bytes.length) {
    const tag = byteAt(bytes, at)
    const found = (tag & 3) === 0 ? literal(bytes, at, tag) : copy(bytes, at, tag)
    if (to + found.length > length) throw new Error('a Snappy block is longer than it claims')
    if (found.offset === 0) {
      if (found.next > bytes.length) throw new Error('a Snappy block is cut off')
      bytes.copy(into, to, found.next - found.length, found.next)
    } else {
      if (found.offset > to) throw new Error('a Snappy block refers to bytes before its first')
      repeat(into, to, found)
    }
    at = found.next
    to += found.length
  }
  if (to !== length) throw new Error('a Snappy block is shorter than it claims')
  return into
}

/** The varint in front: up to 32 bits. */
function lengthOf(bytes: Buffer): { length: number; from: number } {
  let length = 0
  for (let at = 0; at < 5; at += 1) {
    const byte = byteAt(bytes, at)
    length += (byte & 0x7f) * 2 ** (7 * at)
    if (byte < 0x80) return { length, from: at + 1 }
  }
  throw new Error('a Snappy block has no length')
}

/** `offset` bytes back from where it is written; 0: the bytes before `next`. */
type Element = { readonly length: number; readonly offset: number; readonly next: number }

function literal(bytes: Buffer, at: number, tag: number): Element {
  const short = tag >>> 2
  const more = Math.max(0, short - 59)
  const length = more === 0 ? short + 1 : littleEndian(bytes, at + 1, more) + 1
  return { length, offset: 0, next: at + 1 + more + length }
}

function copy(bytes: Buffer, at: number, tag: number): Element {
  const kind = tag & 3
  if (kind === 1) {
    const offset = ((tag >>> 5) << 8) + byteAt(bytes, at + 1)
    return checked({ length: ((tag >>> 2) & 7) + 4, offset, next: at + 2 })
  }
  const wide = kind === 2 ? 2 : 4
  const offset = littleEndian(bytes, at + 1, wide)
  return checked({ length: (tag >>> 2) + 1, offset, next: at + 1 + wide })
}

function checked(element: Element): Element {
  if (element.offset === 0) throw new Error('a Snappy block refers to nothing')
  return element
}

/** What is copied may overlap what it becomes. */
export function repeat(into: Buffer, to: number, { length, offset }: Omit<Element, 'next'>): void {
  if (offset >= length) into.copyWithin(to, to - offset, to - offset + length)
  else if (offset === 1) into.fill(into[to - 1] ?? 0, to, to + length)
  else for (let at = to; at < to + length; at += 1) into[at] = into[at - offset] ?? 0
}

function littleEndian(bytes: Buffer, at: number, width: number): number {
  if (at + width > bytes.length) throw new Error('a Snappy block is cut off')
  return bytes.readUIntLE(at, width)
}

function byteAt(bytes: Buffer, at: number): number {
  const byte = bytes[at]
  if (byte === undefined) throw new Error('a Snappy block is cut off')
  return byte
}
