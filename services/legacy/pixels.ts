// Reads and writes images for the programs: grey levels as they were stored, or an error, never other numbers.
import sharp, { type SharpOptions } from 'sharp'
import { READ_KINDS, pixelsMax, type GreyImage } from '../../formats/kinds.ts'
import { lookAt } from '../../formats/look.ts'
import { laidOut, tilesAsStrips } from './tiles.ts'

/** One grey plane, row by row. 8-bit images keep their 8-bit values. */
export type Pixels = {
  readonly values: Uint16Array
  readonly widthPx: number
  readonly heightPx: number
  readonly bitsPerPixel: 8 | 16
}

sharp.cache(false)
sharp.concurrency(1)

/**
 * Reads a grey image of 8 or 16 bit: of a TIFF its one full page, white is zero turned to black is zero. Throws with
 * the decoder's text when the file cannot be read to its end, and with "unsupported kind" where its numbers would
 * not be grey levels.
 *
 * Three settings carry the weight: `failOn: 'error'` refuses damaged data (the default also refuses files whose date
 * tag alone is malformed), the grey16 colour space keeps 16-bit values (without it sharp hands out 8-bit sRGB and
 * says nothing), and `ignoreIcc` keeps a grey profile from bending the levels.
 */
export async function readPixels(path: string): Promise<Pixels> {
  const look = await lookAt(path)
  if (look.kind === 'unsupported') throw new Error(`unsupported kind: ${look.why}; ${READ_KINDS}`)
  if (look.kind === 'no-image') throw new Error(`unsupported image format: ${look.why}`)
  if (look.kind !== 'grey-image') throw new Error(`${look.kind}: ${look.why}`)
  const { image } = look
  const { widthPx, heightPx, bitsPerPixel } = image
  const values = image.isTiled ? await tiledValues(path, image) : await valuesOf(path, image)
  return whole({ values, widthPx, heightPx, bitsPerPixel })
}

async function tiledValues(path: string, image: GreyImage): Promise<Uint16Array> {
  const { file, traits } = await tilesAsStrips(path)
  return laidOut(await valuesOf(file, { ...image, page: 0 }), traits)
}

async function valuesOf(
  input: string | Buffer,
  { page, bitsPerPixel }: GreyImage,
): Promise<Uint16Array> {
  const options: SharpOptions = {
    failOn: 'error',
    ignoreIcc: true,
    limitInputPixels: 2 * pixelsMax, // tiles are filled up; the image itself was looked at
    page,
  }
  const decoded = sharp(input, options)
  const { depth, channels } = await decoded.metadata()
  if (channels !== 1) throw new Error(`expected one grey channel, found ${channels}`)
  if (depth !== (bitsPerPixel === 8 ? 'uchar' : 'ushort'))
    throw new Error(`expected ${bitsPerPixel} bit pixels, found ${depth}`)
  if (bitsPerPixel === 8)
    return Uint16Array.from(await decoded.toColourspace('b-w').raw({ depth: 'uchar' }).toBuffer())
  const bytes = await decoded.toColourspace('grey16').raw({ depth: 'ushort' }).toBuffer()
  return new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2)
}

/**
 * Takes away, in place, the grey level that stands for no light; what lies below it becomes 0.
 * @returns the share of pixels below it, 0 to 1.
 */
export function subtractOffset({ values }: Pixels, offset: number): number {
  if (offset === 0) return 0
  let below = 0
  for (let i = 0; i < values.length; i++) {
    const value = (values[i] ?? 0) - offset
    if (value < 0) below++
    values[i] = Math.max(0, value)
  }
  return below / values.length
}

/** Writes a 16-bit grey PNG, such as a label image. */
export async function writePng16(path: string, image: Omit<Pixels, 'bitsPerPixel'>): Promise<void> {
  const raw = { width: image.widthPx, height: image.heightPx, channels: 1 as const }
  await sharp(image.values, { raw })
    .toColourspace('grey16')
    .png({ compressionLevel: 1 })
    .toFile(path)
}

// Rotation tags, pages and alpha are all ways to get another number of values than the header promised.
function whole(pixels: Pixels): Pixels {
  const expected = pixels.widthPx * pixels.heightPx
  if (pixels.values.length === expected) return pixels
  throw new Error(`expected ${expected} pixels, decoded ${pixels.values.length}`)
}
