// Reads TIFF directories (TIFF 6.0, and BigTIFF), in either byte order: the one place that knows how they are laid out.
import type { Source } from './source.ts'

/** The file contradicts its own structure. */
export class Damaged extends Error {
  override readonly name = 'Damaged'
  readonly kind: 'truncated' | 'corrupt'

  constructor(kind: 'truncated' | 'corrupt', message: string) {
    super(message)
    this.kind = kind
  }
}

export type TiffHeader = {
  readonly little: boolean
  readonly big: boolean
  /** Of the first directory. */
  readonly first: number
}

export type Entry = {
  readonly tag: number
  readonly type: number
  /** Claimed number of values. */
  readonly count: number
  /** Where the values begin in the file. */
  readonly at: number
  readonly bytes: number
  /** They lie in the entry itself. */
  readonly inline: Buffer | undefined
}

export type Directory = {
  readonly at: number
  readonly entries: ReadonlyMap<number, Entry>
  /** Of the next directory; 0: there is none. */
  readonly next: number
}

/** Tags by their names in TIFF 6.0 and its supplements. */
export const tags = {
  newSubfileType: 254,
  subfileType: 255,
  imageWidth: 256,
  imageLength: 257,
  bitsPerSample: 258,
  compression: 259,
  photometric: 262,
  fillOrder: 266,
  imageDescription: 270,
  stripOffsets: 273,
  samplesPerPixel: 277,
  rowsPerStrip: 278,
  stripByteCounts: 279,
  planarConfiguration: 284,
  software: 305,
  predictor: 317,
  tileWidth: 322,
  tileLength: 323,
  tileOffsets: 324,
  tileByteCounts: 325,
  subIfds: 330,
  sampleFormat: 339,
  imageDepth: 32997,
  /** MetaMorph's: its count is the number of planes. */
  uic2: 33629,
} as const

const typeBytes = new Map([
  [1, 1],
  [2, 1],
  [3, 2],
  [4, 4],
  [5, 8],
  [6, 1],
  [7, 1],
  [8, 2],
  [9, 4],
  [10, 8],
  [11, 4],
  [12, 8],
  [13, 4],
  [16, 8],
  [17, 8],
  [18, 8],
])
const integerTypes = new Set([1, 3, 4, 13, 16, 18])

/** Undefined when the file does not begin as a TIFF does. */
export async function readHeader(source: Source): Promise<TiffHeader | undefined> {
  const head = await source.read(0, 16)
  const order = head.toString('latin1', 0, 2)
  if (head.length <= 8 || (order !== 'II' && order !== 'MM')) return undefined
  const little = order === 'II'
  const version = unsigned(head, 2, { size: 2, little })
  if (version === 42) return { little, big: false, first: unsigned(head, 4, { size: 4, little }) }
  if (version !== 43 || source.size <= 16) return undefined
  // BigTIFF: offsets have 8 bytes, and nothing else has ever been written.
  if (unsigned(head, 4, { size: 2, little }) !== 8) return undefined
  const first = unsigned(head, 8, { size: 8, little })
  return first >= 2 ** 63 ? undefined : { little, big: true, first }
}

/** One directory. Throws Damaged when it does not lie in the file, or says something twice. */
export async function readDirectory(
  source: Source,
  header: TiffHeader,
  at: number,
): Promise<Directory> {
  const { little, big } = header
  const slot = big ? 8 : 4
  const [countBytes, entryBytes] = big ? [8, 20] : [2, 12]
  const counted = await source.read(at, countBytes)
  if (counted.length < countBytes)
    throw new Damaged('truncated', `a directory lies at ${at}, the file ends at ${source.size}`)
  const count = unsigned(counted, 0, { size: countBytes, little })
  if (count === 0) throw new Damaged('corrupt', `the directory at ${at} has no entries`)
  if (at + countBytes + count * entryBytes > source.size)
    throw new Damaged('truncated', `the file ends within the directory at ${at}`)
  source.spend(count)
  const bytes = await source.read(at + countBytes, count * entryBytes + slot)
  const entries = new Map<number, Entry>()
  for (let i = 0; i < count; i++) {
    const entry = entryAt(bytes, i * entryBytes, header)
    if (entries.has(entry.tag))
      throw new Damaged('corrupt', `the directory at ${at} has tag ${entry.tag} twice`)
    entries.set(entry.tag, entry)
  }
  const end = count * entryBytes
  // Some writers leave out the last pointer when there is nothing for it to say.
  const next = bytes.length < end + slot ? 0 : unsigned(bytes, end, { size: slot, little })
  return { at, entries, next }
}

function entryAt(bytes: Buffer, at: number, { little, big }: TiffHeader): Entry {
  const slot = big ? 8 : 4
  const type = unsigned(bytes, at + 2, { size: 2, little })
  const count = unsigned(bytes, at + 4, { size: slot, little })
  const length = count * (typeBytes.get(type) ?? 1)
  const value = at + 4 + slot
  const isInline = length <= slot
  return {
    tag: unsigned(bytes, at, { size: 2, little }),
    type,
    count,
    at: isInline ? 0 : unsigned(bytes, value, { size: slot, little }),
    bytes: length,
    inline: isInline ? bytes.subarray(value, value + length) : undefined,
  }
}

/** The first entry whose values do not lie in the file. */
export function beyondEnd(directory: Directory, source: Source): Entry | undefined {
  return [...directory.entries.values()].find(
    ({ inline, at, bytes }) => inline === undefined && at + bytes > source.size,
  )
}

/**
 * The whole numbers of an entry, at most `most` of them; none where the tag is missing.
 * Throws Damaged when they are of another type or do not lie in the file.
 */
export async function numbersOf(
  source: Source,
  header: TiffHeader,
  entry: Entry | undefined,
  most: number,
): Promise<number[]> {
  if (entry === undefined) return []
  const size = typeBytes.get(entry.type) ?? 0
  if (!integerTypes.has(entry.type))
    throw new Damaged('corrupt', `tag ${entry.tag} is of type ${entry.type}: want whole numbers`)
  const count = Math.min(entry.count, most)
  const bytes = entry.inline ?? (await source.read(entry.at, count * size))
  if (bytes.length < count * size)
    throw new Damaged('truncated', `the values of tag ${entry.tag} lie beyond the end of the file`)
  const { little } = header
  return Array.from({ length: count }, (_, i) => unsigned(bytes, i * size, { size, little }))
}

/** Text of an entry up to its first zero, at most `bytesMax` of it; cut where the file ends. */
export async function textOf(
  source: Source,
  entry: Entry | undefined,
  bytesMax: number,
): Promise<string | undefined> {
  if (entry === undefined) return undefined
  const length = Math.min(entry.bytes, bytesMax)
  const bytes = entry.inline ?? (await source.read(entry.at, length))
  const end = bytes.indexOf(0)
  return bytes.toString('latin1', 0, end < 0 ? bytes.length : end)
}

/** Numbers beyond 2^53 lose their last digits; no file is as long as that. */
function unsigned(
  bytes: Buffer,
  at: number,
  { size, little }: { readonly size: number; readonly little: boolean },
): number {
  if (size === 1) return bytes.readUInt8(at)
  if (size === 2) return little ? bytes.readUInt16LE(at) : bytes.readUInt16BE(at)
  if (size === 4) return little ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at)
  return Number(little ? bytes.readBigUInt64LE(at) : bytes.readBigUInt64BE(at))
}
