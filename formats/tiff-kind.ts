// Whether the image of a TIFF is of a kind that is read rightly, and if not, what kind it is.
import { pixelsMax, type Look } from './kinds.ts'
import type { Source } from './source.ts'
import { findPage, imagejValue } from './tiff-pages.ts'
import { beyondEnd, numbersOf, tags, type Directory, type TiffHeader } from './tiff.ts'

/** What a directory says of its pixels, with the defaults of TIFF 6.0. */
export type Traits = {
  readonly widthPx: number
  readonly heightPx: number
  readonly bits: number
  readonly samples: number
  readonly sampleFormat: number
  readonly photometric: number | undefined
  readonly compression: number
  readonly predictor: number
  readonly isTiled: boolean
  readonly tileWidthPx: number
  readonly tileHeightPx: number
}

const compressions = new Map([
  [2, 'CCITT'],
  [3, 'CCITT Group 3'],
  [4, 'CCITT Group 4'],
  [6, 'JPEG, old style'],
  [7, 'JPEG'],
  [9, 'JBIG'],
  [32809, 'ThunderScan'],
  [33003, 'JPEG 2000'],
  [33004, 'JPEG 2000'],
  [33005, 'JPEG 2000'],
  [34712, 'JPEG 2000'],
  [34887, 'LERC'],
  [34892, 'JPEG, lossy'],
  [34925, 'LZMA'],
  [34933, 'PNG'],
  [34934, 'JPEG XR'],
  [22610, 'JPEG XR'],
  [50000, 'Zstandard'],
  [50001, 'WebP'],
  [50002, 'JPEG XL'],
])
/** Most bytes that one byte can become: what claims more has not the data for it. */
const expansionMax = new Map([
  [5, 4_096],
  [8, 1_040],
  [32946, 1_040],
  [32773, 64],
])
const photometrics = new Map([
  [2, 'RGB'],
  [3, 'a palette'],
  [4, 'a transparency mask'],
  [5, 'CMYK'],
  [6, 'YCbCr'],
  [8, 'CIE L*a*b*'],
  [9, 'ICC L*a*b*'],
  [10, 'ITU L*a*b*'],
  [32803, 'a colour filter array (raw camera data)'],
  [32844, 'CIE Log L'],
  [32845, 'CIE Log Luv'],
  [34892, 'linear raw camera data'],
])
const sampleFormats = new Map([
  [2, 'signed whole numbers'],
  [3, 'floating point'],
  [4, 'an undefined format'],
  [5, 'complex whole numbers'],
  [6, 'complex floating point'],
])

/** Looks at a TIFF. Throws Damaged and Exhausted. */
export async function lookAtTiff(source: Source, header: TiffHeader): Promise<Look> {
  const pages = await findPage(source, header)
  if (pages.kind !== 'one') return { kind: 'unsupported', why: `a TIFF with ${pages.why}` }
  const { directory, index } = pages.page
  const traits = await traitsOf(source, header, directory)
  const { widthPx, heightPx, bits, isTiled } = traits
  if (widthPx === 0 || heightPx === 0 || traits.photometric === undefined)
    return { kind: 'corrupt', why: 'its TIFF directory lacks width, height or photometric' }
  const found = unsupportedIn(traits)
  // A file that is cut short is said to be so first: what it would have been is not known for certain.
  const beyond = found === undefined ? undefined : beyondEnd(directory, source)
  if (beyond !== undefined)
    return { kind: 'truncated', why: `the values of tag ${beyond.tag} lie beyond the file's end` }
  if (found !== undefined) return { kind: 'unsupported', why: `a TIFF ${found}` }
  const beyondLimits = tooLarge(traits, source.size)
  if (beyondLimits !== undefined) return beyondLimits
  const pixelOffset = offsetIn(pages.description ?? '')
  const image = { widthPx, heightPx, page: index, isTiled, pixelOffset }
  return {
    kind: 'grey-image',
    image: { format: 'TIFF', bitsPerPixel: bits === 8 ? 8 : 16, ...image },
  }
}

export async function traitsOf(
  source: Source,
  header: TiffHeader,
  { entries }: Directory,
): Promise<Traits> {
  const all = async (tag: number): Promise<number[]> =>
    await numbersOf(source, header, entries.get(tag), 64)
  const [widthPx = 0] = await all(tags.imageWidth)
  const [heightPx = 0] = await all(tags.imageLength)
  const [samples = 1] = await all(tags.samplesPerPixel)
  const [compression = 1] = await all(tags.compression)
  const [photometric] = await all(tags.photometric)
  const [predictor = 1] = await all(tags.predictor)
  const [bits = 1] = await all(tags.bitsPerSample)
  const [sampleFormat = 1] = await all(tags.sampleFormat)
  const [tileWidthPx = 0] = await all(tags.tileWidth)
  const [tileHeightPx = 0] = await all(tags.tileLength)
  const isTiled = entries.has(tags.tileOffsets) || entries.has(tags.tileWidth)
  const pixels = { bits, samples, sampleFormat, photometric, compression, predictor }
  return { widthPx, heightPx, ...pixels, isTiled, tileWidthPx, tileHeightPx }
}

/** What keeps an image from being read, in the words after "a TIFF"; undefined: nothing. */
function unsupportedIn(traits: Traits): string | undefined {
  const { bits, samples, sampleFormat, photometric = 1, compression } = traits
  if (photometric > 1) {
    const colours = photometrics.get(photometric) ?? `photometric interpretation ${photometric}`
    return `of ${colours}${samples > 1 ? ` with ${samples} samples per pixel` : ''}`
  }
  if (samples !== 1) return `of grey with ${samples} samples per pixel`
  if (sampleFormat !== 1)
    return `of ${sampleFormats.get(sampleFormat) ?? `sample format ${sampleFormat}`} (${bits} bit)`
  if (bits !== 8 && bits !== 16)
    return `of ${bits} bit per pixel${bits % 8 === 0 ? '' : ', packed'}`
  if (compression !== 1 && !expansionMax.has(compression))
    return `with compression ${compressions.get(compression) ?? compression}`
  return traits.predictor > 2 ? `with predictor ${traits.predictor} on whole numbers` : undefined
}

/** Refuses what no memory should be set aside for. */
function tooLarge(traits: Traits, fileBytes: number): Look | undefined {
  const { widthPx, heightPx, bits, compression, isTiled, tileWidthPx, tileHeightPx } = traits
  const across = isTiled ? Math.ceil(widthPx / tileWidthPx) * tileWidthPx : widthPx
  const down = isTiled ? Math.ceil(heightPx / tileHeightPx) * tileHeightPx : heightPx
  const size = `${widthPx} x ${heightPx} px`
  if (isTiled && !(tileWidthPx > 0 && tileHeightPx > 0))
    return { kind: 'corrupt', why: `tiles of ${tileWidthPx} x ${tileHeightPx} px` }
  if (widthPx * heightPx > pixelsMax)
    return { kind: 'beyond-limits', why: `${size}: more than ${pixelsMax} px` }
  if (across * down > 2 * pixelsMax)
    return { kind: 'beyond-limits', why: `${size} in tiles of ${tileWidthPx} x ${tileHeightPx} px` }
  const bytes = widthPx * heightPx * (bits / 8)
  if (compression === 1 && bytes > fileBytes)
    return { kind: 'truncated', why: `${size} are ${bytes} bytes, the file has ${fileBytes}` }
  if (bytes > fileBytes * (expansionMax.get(compression) ?? 1))
    return { kind: 'beyond-limits', why: `${size} cannot come out of ${fileBytes} bytes` }
  return undefined
}

/** ImageJ keeps signed pixels as unsigned ones with a calibration: value = c0 + c1 * stored, c0 = -32768. */
function offsetIn(description: string): number {
  const [c0 = 0, c1 = 1] = [imagejValue(description, 'c0'), imagejValue(description, 'c1')]
  const isLine = (imagejValue(description, 'cf') ?? 0) === 0
  return isLine && c1 === 1 && Number.isInteger(c0) && c0 < 0 && c0 >= -65_535 ? -c0 : 0
}
