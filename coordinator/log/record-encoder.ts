// A Kafka record (message format 2) in one pass into one buffer. kafkajs takes a zeroed 512-byte buffer for the record
// and one for each header, grows them by doubling, and counts in BigInt.

export type RecordInit = {
  readonly offsetDelta?: number
  readonly timestampDelta?: number
  readonly key?: string | Buffer | null
  readonly value?: string | Buffer | null
  readonly headers?: Readonly<Record<string, HeaderValue | readonly HeaderValue[]>>
}

type HeaderValue = string | Buffer

/** What kafkajs takes for an encoder. */
export type Encoded = { readonly buf: Buffer; readonly buffer: Buffer }

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
  return { buf, buffer: buf }
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
