// Reads text that microscopes leave in TIFF tags: barcode, illumination setting. Never decodes pixels, and answers
// "nothing" on any damage: a broken file is for the image-quality step to judge, not for ingest.
import { open } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'

/** What the tags tell; undefined where they do not. */
export type TiffText = {
  /** True when the file begins as a TIFF does. */
  readonly isTiff: boolean
  /** ImageDescription, up to descriptionBytesMax bytes. */
  readonly description: string | undefined
  readonly barcode: string | undefined
  /** MetaMorph illumination setting, for instance "DAPI". */
  readonly illumination: string | undefined
}

const IMAGE_DESCRIPTION = 270
const entriesMax = 4096
const descriptionBytesMax = 65_536
/** MetaMorph keeps its custom properties between the description and the end of the file. */
const trailerBytesMax = 65_536
const NOTHING: TiffText = {
  isTiff: false,
  description: undefined,
  barcode: undefined,
  illumination: undefined,
}

/** Reads the text tags of the first directory. Rejects only when the file cannot be opened or read. */
export async function readTiffText(path: string): Promise<TiffText> {
  const file = await open(path, 'r')
  try {
    const head = await readAt(file, 0, 8)
    const little = head.toString('latin1', 0, 2) === 'II'
    if (head.length < 8 || (!little && head.toString('latin1', 0, 2) !== 'MM')) return NOTHING
    const uint16 = (from: Buffer, at: number): number =>
      little ? from.readUInt16LE(at) : from.readUInt16BE(at)
    const uint32 = (from: Buffer, at: number): number =>
      little ? from.readUInt32LE(at) : from.readUInt32BE(at)
    if (uint16(head, 2) !== 42) return { ...NOTHING, isTiff: uint16(head, 2) === 43 }

    const directory = uint32(head, 4)
    const count = await readAt(file, directory, 2)
    if (count.length < 2) return { ...NOTHING, isTiff: true }
    const entries = await readAt(file, directory + 2, Math.min(uint16(count, 0), entriesMax) * 12)
    for (let at = 0; at + 12 <= entries.length; at += 12) {
      if (uint16(entries, at) !== IMAGE_DESCRIPTION) continue
      const length = Math.min(uint32(entries, at + 4), descriptionBytesMax)
      const inline = length <= 4
      const where = uint32(entries, at + 8)
      const bytes = inline
        ? entries.subarray(at + 8, at + 8 + length)
        : await readAt(file, where, length)
      const trailer = inline ? Buffer.alloc(0) : await readAt(file, where, trailerBytesMax)
      return tellText(bytes, trailer)
    }
    return { ...NOTHING, isTiff: true }
  } finally {
    await file.close()
  }
}

function tellText(bytes: Buffer, trailer: Buffer): TiffText {
  const description = bytes.toString('latin1').replace(/\0.*$/s, '')
  return {
    isTiff: true,
    description,
    barcode: /^\s*Barcode:[ \t]*([^\r\n]*?)[ \t]*$/im.exec(description)?.[1] || undefined,
    illumination: illuminationOf(description, trailer),
  }
}

/** Newer MetaXpress writes XML; older a binary property: name, 5 bytes of type, length, text. */
function illuminationOf(description: string, trailer: Buffer): string | undefined {
  const xml = /id="_IllumSetting_"[^>]*value="([^"]*)"/.exec(description)?.[1]
  if (xml !== undefined) return xml
  const name = '_IllumSetting_'
  const at = trailer.indexOf(name, 0, 'latin1')
  if (at < 0) return undefined
  const length = trailer[at + name.length + 5] ?? 0
  const text = trailer.toString('latin1', at + name.length + 6, at + name.length + 6 + length)
  return length > 0 && /^[\x20-\x7e]+$/.test(text) ? text : undefined
}

/** Fewer bytes than asked at the end of the file. */
async function readAt(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length)
  const { bytesRead } = await file.read(buffer, 0, length, position)
  return buffer.subarray(0, bytesRead)
}
