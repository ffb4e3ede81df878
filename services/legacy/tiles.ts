// Reads the tiles of a TIFF. libvips paints a tile that it cannot decode black and says nothing, whatever failOn is;
// of a strip it says so. A tile is packed as a strip of its size is, so the tiles are handed to it as strips.
import { open } from 'node:fs/promises'
import { blocksOf, type Block } from '../../formats/complete.ts'
import { withSource } from '../../formats/source.ts'
import { traitsOf, type Traits } from '../../formats/tiff-kind.ts'
import { findPage } from '../../formats/tiff-pages.ts'
import { numbersOf, readHeader, tags } from '../../formats/tiff.ts'

/** The tiles of an image as a TIFF of its own, one tile wide, one strip a tile. */
export type Column = { readonly file: Buffer; readonly traits: Traits }

const dataBytesMax = 512 * 1024 * 1024
const [SHORT, LONG] = [3, 4]
const headerBytes = 8
const entryBytes = 12

/** Throws an Error when tiles are missing, or lie outside of the file. */
export async function tilesAsStrips(path: string): Promise<Column> {
  const { little, traits, fillOrder, tiles } = await withSource(path, {}, async (source) => {
    const header = await readHeader(source)
    const pages = header && (await findPage(source, header))
    if (header === undefined || pages?.kind !== 'one') throw new Error('no TIFF of one page')
    const { directory } = pages.page
    const found = await traitsOf(source, header, directory)
    const [order = 1] = await numbersOf(source, header, directory.entries.get(tags.fillOrder), 1)
    const blocks = await blocksOf(source, header, directory)
    return { little: header.little, traits: found, fillOrder: order, tiles: blocks }
  })
  const { widthPx, heightPx, tileWidthPx, tileHeightPx } = traits
  const count = Math.ceil(widthPx / tileWidthPx) * Math.ceil(heightPx / tileHeightPx)
  if (tiles.length < count) throw new Error(`${tiles.length} tiles, expected ${count}`)
  const used = tiles.slice(0, count)
  const data = await bytesOf(path, used)
  const values = new Map<number, [type: number, values: readonly number[]]>([
    [tags.imageWidth, [LONG, [tileWidthPx]]],
    [tags.imageLength, [LONG, [tileHeightPx * count]]],
    [tags.bitsPerSample, [SHORT, [traits.bits]]],
    [tags.compression, [SHORT, [traits.compression]]],
    [tags.photometric, [SHORT, [traits.photometric ?? 1]]],
    [tags.fillOrder, [SHORT, [fillOrder]]],
    [tags.stripOffsets, [LONG, runningSum(used)]],
    [tags.samplesPerPixel, [SHORT, [1]]],
    [tags.rowsPerStrip, [LONG, [tileHeightPx]]],
    [tags.stripByteCounts, [LONG, used.map(({ bytes }) => bytes)]],
    [tags.predictor, [SHORT, [traits.predictor]]],
  ])
  return { file: fileOf(data, values, little), traits }
}

function runningSum(blocks: readonly Block[]): number[] {
  let at = headerBytes
  return blocks.map(({ bytes }) => (at += bytes) - bytes)
}

async function bytesOf(path: string, blocks: readonly Block[]): Promise<Buffer> {
  const total = blocks.reduce((sum, { bytes }) => sum + bytes, 0)
  if (total > dataBytesMax) throw new Error(`tiles of ${total} bytes pass the limit`)
  const data = Buffer.alloc(total)
  const file = await open(path)
  try {
    let at = 0
    for (const [i, block] of blocks.entries()) {
      if (block.bytes === 0) throw new Error(`tile ${i} has no data`)
      const { bytesRead } = await file.read(data, at, block.bytes, block.at)
      if (bytesRead < block.bytes)
        throw new Error(`tile ${i}: got ${bytesRead} bytes, expected ${block.bytes}`)
      at += block.bytes
    }
  } finally {
    await file.close()
  }
  return data
}

/** A classic TIFF: header, data, the lists that do not fit into an entry, the directory. */
function fileOf(
  data: Buffer,
  fields: ReadonlyMap<number, readonly [type: number, values: readonly number[]]>,
  little: boolean,
): Buffer {
  const lists = [...fields.values()].reduce((sum, [, values]) => sum + values.length * 4, 0)
  const file = Buffer.alloc(headerBytes + data.length + 1 + lists + 6 + fields.size * entryBytes)
  const short = (value: number, at: number): unknown =>
    little ? file.writeUInt16LE(value, at) : file.writeUInt16BE(value, at)
  const long = (value: number, at: number): unknown =>
    little ? file.writeUInt32LE(value, at) : file.writeUInt32BE(value, at)
  file.write(little ? 'II' : 'MM', 'latin1')
  short(42, 2)
  data.copy(file, headerBytes)
  let free = headerBytes + data.length + (data.length % 2)
  const start = free + lists
  long(start, 4)
  short(fields.size, start)
  let at = start + 2
  for (const [tag, [type, values]] of fields) {
    short(tag, at)
    short(type, at + 2)
    long(values.length, at + 4)
    const [only = 0] = values
    if (values.length === 1 && type === SHORT) short(only, at + 8)
    else if (values.length === 1) long(only, at + 8)
    else {
      long(free, at + 8)
      for (const value of values) {
        long(value, free)
        free += 4
      }
    }
    at += entryBytes
  }
  return file
}

/** Puts the rows of a column of tiles where they belong, and leaves out what fills the last tiles up. */
export function laidOut(column: Uint16Array, traits: Traits): Uint16Array {
  const { widthPx, heightPx, tileWidthPx, tileHeightPx } = traits
  const across = Math.ceil(widthPx / tileWidthPx)
  const values = new Uint16Array(widthPx * heightPx)
  for (let y = 0; y < heightPx; y++)
    for (let tile = 0; tile < across; tile++) {
      const left = tile * tileWidthPx
      const row = (Math.floor(y / tileHeightPx) * across + tile) * tileHeightPx + (y % tileHeightPx)
      const from = row * tileWidthPx
      const length = Math.min(tileWidthPx, widthPx - left)
      values.set(column.subarray(from, from + length), y * widthPx + left)
    }
  return values
}
