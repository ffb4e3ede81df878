// What kind of PNG a file is (PNG 3rd edition), from the chunks before its data.
import { pixelsMax, type Look } from './kinds.ts'
import type { Source } from './source.ts'

const signatureBytes = 8
const headBytes = 8
const crcBytes = 4
const headerBytes = 13

const colours = new Map([
  [0, 'grey'],
  [2, 'RGB'],
  [3, 'a palette'],
  [4, 'grey with alpha'],
  [6, 'RGB with alpha'],
])

/** Looks at a file that begins as a PNG does. Throws Exhausted. */
export async function lookAtPng(source: Source): Promise<Look> {
  const header = await source.read(signatureBytes, headBytes + headerBytes)
  if (header.length < headBytes + headerBytes)
    return { kind: 'truncated', why: 'the file ends within the header of its PNG' }
  if (header.toString('latin1', 4, 8) !== 'IHDR' || header.readUInt32BE(0) !== headerBytes)
    return { kind: 'corrupt', why: 'a PNG that does not begin with its header' }
  const [widthPx, heightPx] = [header.readUInt32BE(8), header.readUInt32BE(12)]
  const [bits, colour] = [header.readUInt8(16), header.readUInt8(17)]
  if (widthPx === 0 || heightPx === 0)
    return { kind: 'corrupt', why: `a PNG of ${widthPx} x ${heightPx} px` }
  if (colour !== 0) {
    const found = colours.get(colour) ?? `an unknown colour type (${colour})`
    return { kind: 'unsupported', why: `a PNG of ${found}` }
  }
  if (bits !== 8 && bits !== 16)
    return { kind: 'unsupported', why: `a PNG of ${bits} bit per pixel` }
  const more = await kindOfChunks(source)
  if (more !== undefined) return more
  if (widthPx * heightPx > pixelsMax)
    return { kind: 'beyond-limits', why: `${widthPx} x ${heightPx} px: more than ${pixelsMax} px` }
  const image = { widthPx, heightPx, page: 0, isTiled: false, pixelOffset: 0 }
  return { kind: 'grey-image', image: { format: 'PNG', bitsPerPixel: bits, ...image } }
}

/** What the chunks in front of the data add to the header, if that takes the image out of what is read. */
async function kindOfChunks(source: Source): Promise<Look | undefined> {
  let at = signatureBytes
  for (;;) {
    source.spend(1)
    const head = await source.read(at, headBytes + 8)
    if (head.length < headBytes)
      return { kind: 'truncated', why: 'the file ends before the data of its PNG' }
    const type = head.toString('latin1', 4, 8)
    if (type === 'IDAT') return undefined
    if (type === 'IEND') return { kind: 'corrupt', why: 'a PNG without data' }
    if (type === 'tRNS')
      return { kind: 'unsupported', why: 'a PNG with a transparent grey level (tRNS)' }
    if (type === 'acTL' && head.length >= 12 && head.readUInt32BE(8) > 1)
      return { kind: 'unsupported', why: `a PNG of ${head.readUInt32BE(8)} frames (animated)` }
    at += headBytes + head.readUInt32BE(0) + crcBytes
  }
}
