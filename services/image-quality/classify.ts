import { open } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'

/** Why a file cannot be read, as the contract's reasons name it. */
export type Unreadable = 'NOT_AN_IMAGE' | 'TRUNCATED' | 'CORRUPT' | 'LIMIT_EXCEEDED'

/**
 * Sorts a file that the decoder refused: by the decoder's words, then by a look at the file's structure.
 * Reads at most a few kilobytes. Throws when the file itself cannot be opened.
 */
export async function classify(path: string, decoderText: string): Promise<Unreadable> {
  if (/\blimits?\b|out of memory|allocation failed/i.test(decoderText)) return 'LIMIT_EXCEEDED'
  if (/expected one grey channel|expected 8 or 16 bit/.test(decoderText)) return 'NOT_AN_IMAGE'
  const file = await open(path)
  try {
    const structure = await lookAt(file)
    if (structure !== 'whole') return structure
  } finally {
    await file.close()
  }
  return /got \d+ bytes, expected \d+|premature|unexpected end|past end/i.test(decoderText)
    ? 'TRUNCATED'
    : 'CORRUPT'
}

type Structure = 'whole' | 'NOT_AN_IMAGE' | 'TRUNCATED' | 'CORRUPT'

async function lookAt(file: FileHandle): Promise<Structure> {
  const { size } = await file.stat()
  const head = await bytesAt(file, 0, 16)
  if (head.length < 8) return 'NOT_AN_IMAGE'
  const magic = head.toString('latin1', 0, 4)
  if (magic === '\x89PNG') return await endsWith(file, size, 'IEND')
  if (magic.startsWith('\xff\xd8\xff')) return await endsWith(file, size, '\xff\xd9')
  const tiff = tiffKinds.get(magic)
  if (tiff === undefined || size <= tiff.headerBytes) return 'NOT_AN_IMAGE'
  return await lookAtTiff(file, { ...tiff, size, head })
}

type TiffKind = { readonly little: boolean; readonly headerBytes: 8 | 16 }

const tiffKinds = new Map<string, TiffKind>([
  ['II*\0', { little: true, headerBytes: 8 }],
  ['MM\0*', { little: false, headerBytes: 8 }],
  ['II+\0', { little: true, headerBytes: 16 }],
  ['MM\0+', { little: false, headerBytes: 16 }],
])

// TIFF 6.0, sections 2 and 7: the header points to a directory, the directory to strips or tiles of data.
async function lookAtTiff(
  file: FileHandle,
  tiff: TiffKind & { readonly size: number; readonly head: Buffer },
): Promise<Structure> {
  const { size, head, little } = tiff
  if (tiff.headerBytes === 16) {
    const offset = little ? head.readBigUInt64LE(8) : head.readBigUInt64BE(8)
    if (offset >= 2n ** 63n) return 'NOT_AN_IMAGE'
    return offset >= BigInt(size) ? 'TRUNCATED' : 'whole'
  }
  const numbers = (bytes: Buffer) => ({
    short: (at: number) => (little ? bytes.readUInt16LE(at) : bytes.readUInt16BE(at)),
    long: (at: number) => (little ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at)),
  })
  const start = numbers(head).long(4)
  const counted = await bytesAt(file, start, 2)
  if (counted.length < 2) return 'TRUNCATED'
  const entries = numbers(counted).short(0)
  if (entries === 0) return 'CORRUPT'
  const directory = await bytesAt(file, start + 2, entries * 12)
  if (directory.length < entries * 12) return 'TRUNCATED'
  const read = numbers(directory)
  for (let at = 0; at < directory.length; at += 12) {
    const [tag, type, count] = [read.short(at), read.short(at + 2), read.long(at + 4)]
    if (tag !== stripOffsets && tag !== tileOffsets) continue
    if (type !== longType || count * 4 > listBytesMax) continue
    const list =
      count === 1 ? directory.subarray(at + 8) : await bytesAt(file, read.long(at + 8), count * 4)
    if (list.length < count * 4) return 'TRUNCATED'
    for (let i = 0; i < count; i++) if (numbers(list).long(i * 4) >= size) return 'TRUNCATED'
  }
  return 'whole'
}

const [stripOffsets, tileOffsets, longType] = [273, 324, 4]
const listBytesMax = 1_048_576

async function endsWith(file: FileHandle, size: number, mark: string): Promise<Structure> {
  const tail = await bytesAt(file, Math.max(0, size - 16), 16)
  return tail.toString('latin1').includes(mark) ? 'whole' : 'TRUNCATED'
}

async function bytesAt(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, position)
  return buffer.subarray(0, bytesRead)
}
