import sharp from 'sharp'

/** One grey plane, row by row. 8-bit images keep their 8-bit values. */
export type Pixels = {
  readonly values: Uint16Array
  readonly widthPx: number
  readonly heightPx: number
  readonly bitsPerPixel: 8 | 16
}

// 10,000 px square: five times the largest camera frame in use.
const pixelsMax = 100_000_000

sharp.cache(false)
sharp.concurrency(1)

/**
 * Reads a grey image of 8 or 16 bit. Throws with the decoder's text when the file cannot be read to its end.
 *
 * Two settings carry the weight: `failOn: 'error'` refuses damaged data (the default also refuses files
 * whose date tag alone is malformed), and the grey16 colour space keeps 16-bit values (without it sharp
 * hands out 8-bit sRGB and says nothing).
 */
export async function readPixels(path: string): Promise<Pixels> {
  const image = sharp(path, { failOn: 'error', limitInputPixels: pixelsMax })
  const { depth, channels, width, height } = await image.metadata()
  if (channels !== 1) throw new Error(`expected one grey channel, found ${channels}`)
  if (depth === 'uchar') {
    const bytes = await image.toColourspace('b-w').raw({ depth: 'uchar' }).toBuffer()
    const values = Uint16Array.from(bytes)
    return whole({ values, widthPx: width, heightPx: height, bitsPerPixel: 8 })
  }
  if (depth !== 'ushort') throw new Error(`expected 8 or 16 bit pixels, found ${depth}`)
  const bytes = await image.toColourspace('grey16').raw({ depth: 'ushort' }).toBuffer()
  const values = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2)
  return whole({ values, widthPx: width, heightPx: height, bitsPerPixel: 16 })
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
