// Files of every kind, made on the spot: those whose grey levels must come out one by one, and those that must be
// refused by their kind. Reader, programs, wrappers and ingest are all asked about the same ones.
import { greyProfile, iccChunk, pngFile, type Chunk, type PngOptions } from './png-file.ts'
import { ramp, tiffFile, type Compression, type Page, type TiffOptions } from './tiff-file.ts'

export type ReadKind = {
  readonly name: string
  readonly file: Buffer
  readonly values: readonly number[]
  readonly bits: 8 | 16
}
export type RefusedKind = {
  readonly name: string
  readonly file: Buffer
  /** What is said of it. */
  readonly why: RegExp
}

/** Odd on purpose: the last tiles and strips are not full. */
export const [width, height] = [37, 23]

const depths = [8, 16] as const
const orders: readonly TiffOptions[] = [
  { little: true },
  { little: false },
  { little: true, big: true },
  { little: false, big: true },
]
const orderName = ({ little, big }: TiffOptions): string =>
  `${little === true ? 'II' : 'MM'}${big === true ? ' BigTIFF' : ''}`
const compressions: readonly Compression[] = ['none', 'lzw', 'deflate', 'old-deflate', 'packbits']
const layouts = [{}, { rowsPerStrip: 5 }, { tile: 16 }] as const

const valuesOf = (bits: number): number[] => ramp(width, height, 2 ** bits - 1)
const greyPage = (bits: number): Page => ({ width, height, bits, samples: valuesOf(bits) })

function readTiff(name: string, page: Page, options: TiffOptions = {}): ReadKind {
  const bits = page.bits === 8 ? 8 : 16
  return { name, file: tiffFile([page], options), values: valuesOf(bits), bits }
}

function packedKinds(bits: 8 | 16, order: TiffOptions): ReadKind[] {
  return compressions.flatMap((compression) =>
    layouts.flatMap((layout) =>
      ([1, 2] as const).flatMap((predictor) => {
        if (predictor === 2 && !['lzw', 'deflate'].includes(compression)) return []
        const words = [`TIFF ${bits} bit`, orderName(order), compression, JSON.stringify(layout)]
        const name = [...words, predictor === 2 ? 'predictor' : ''].join(' ')
        return readTiff(name, { ...greyPage(bits), compression, predictor, ...layout }, order)
      }),
    ),
  )
}

const reduced: Page = { width: 12, height: 8, subfileType: 1 }

function odd(bits: 8 | 16): ReadKind[] {
  const page = greyPage(bits)
  const inverted = valuesOf(bits).map((value) => 2 ** bits - 1 - value)
  const tiff = (name: string, more: Partial<Page>): ReadKind =>
    readTiff(`TIFF ${bits} bit, ${name}`, { ...page, ...more })
  const pages = (name: string, all: readonly Page[]): ReadKind => ({
    ...tiff(name, {}),
    file: tiffFile(all),
  })
  const icc = { tag: 34675, type: 7, values: greyProfile(2.2) } as const
  const full = 2 ** bits
  const curve = Array.from({ length: full }, (_, i) => 65_535 - (i % 65_536))
  return [
    tiff('white is zero', { photometric: 0, samples: inverted }),
    tiff('white is zero, tiled', { photometric: 0, samples: inverted, tile: 16 }),
    tiff('bits in the other order', { fillOrder: 2 }),
    tiff('bits in the other order, LZW in tiles', { fillOrder: 2, compression: 'lzw', tile: 16 }),
    tiff('a grey ICC profile', { fields: [icc] }),
    tiff('a grey ICC profile, tiled', { fields: [icc], tile: 16 }),
    tiff('a response curve', { fields: [{ tag: 291, type: 3, values: curve }] }),
    tiff('a transfer function', { fields: [{ tag: 301, type: 3, values: curve }] }),
    tiff('turned by its orientation', { fields: [{ tag: 274, type: 3, values: [6] }] }),
    tiff('no sample format', { without: [339] }),
    tiff('no compression, no samples per pixel', { without: [259, 277, 284] }),
    tiff('one page of several, alone', { subfileType: 2 }),
    pages('a thumbnail first', [reduced, page]),
    pages('a thumbnail last', [page, reduced]),
    pages('a thumbnail by the old tag', [
      { width: 12, height: 8, fields: [{ tag: 255, type: 3, values: [2] }] },
      page,
    ]),
    pages('a mask before it', [{ width, height, bits: 8, subfileType: 4, photometric: 4 }, page]),
    pages('a pyramid in SubIFDs', [{ ...page, tile: 16, subIfds: [reduced] }]),
    pages('a pyramid in SubIFDs that are chained too', [
      { ...page, subIfds: [reduced, { ...reduced, width: 6, height: 4 }], subIfdsEndAt: 0 },
    ]),
    pages('a pyramid of unmarked SubIFDs', [{ ...page, subIfds: [{ width: 18, height: 11 }] }]),
    pages('a pyramid of pages', [page, reduced, { ...reduced, width: 6, height: 4 }]),
    pages('OME-XML of many planes, one here', [
      { ...page, description: '<?xml version="1.0"?><OME><Pixels SizeC="5" SizeZ="3"/></OME>' },
    ]),
    pages('a shape of one plane', [
      { ...page, description: JSON.stringify({ shape: [height, width] }) },
    ]),
  ]
}

function pngs(bits: 8 | 16): ReadKind[] {
  const png = (name: string, more: Partial<PngOptions> = {}): ReadKind => {
    const options = { width, height, bits, samples: valuesOf(bits), ...more }
    return { name: `PNG ${bits} bit${name}`, file: pngFile(options), values: valuesOf(bits), bits }
  }
  const gamma: Chunk = ['gAMA', Buffer.from([0, 0, 0xb1, 0x8f])]
  return [
    png(''),
    png(', interlaced', { interlaced: true }),
    png(', in many chunks', { chunkBytes: 10 }),
    png(', a grey ICC profile', { before: [iccChunk(greyProfile(2.2))] }),
    png(', gAMA', { before: [gamma] }),
    png(', sRGB', { before: [['sRGB', Buffer.from([0])], gamma] }),
    png(', cICP', { before: [['cICP', Buffer.from([9, 16, 0, 1])]] }),
    png(', sBIT', { before: [['sBIT', Buffer.from([bits - 4])]] }),
    png(', bKGD', { before: [['bKGD', Buffer.from([0, 5])]] }),
    png(', animated with one frame', { before: [['acTL', Buffer.from([0, 0, 0, 1, 0, 0, 0, 0])]] }),
  ]
}

/** Kinds whose grey levels come out one by one. */
export const readKinds: readonly ReadKind[] = depths.flatMap((bits) => [
  ...orders.flatMap((order) => packedKinds(bits, order)),
  ...odd(bits),
  ...pngs(bits),
])

function refusedTiff(name: string, why: RegExp, page: Partial<Page>, order = {}): RefusedKind {
  return { name: `TIFF, ${name}`, why, file: tiffFile([{ ...greyPage(16), ...page }], order) }
}

const greyInRgb = Array.from({ length: width * height * 4 }, (_, i) => Math.floor(i / 4) % 251)
const page16 = greyPage(16)

function severalPages(): RefusedKind[] {
  const many = (name: string, why: RegExp, pages: readonly Page[]): RefusedKind => ({
    name: `TIFF, ${name}`,
    why,
    file: tiffFile(pages),
  })
  const described = (description: string): Page => ({ ...page16, description })
  return [
    many('a stack', /more than one full page/, [page16, page16, page16]),
    many('two channels and a thumbnail', /more than one full page/, [reduced, page16, page16]),
    many('pages of different size, unmarked', /more than one full page/, [
      page16,
      { width: 18, height: 11 },
    ]),
    many('OME-TIFF of two channels', /more than one full page/, [
      described('<?xml version="1.0"?><OME><Pixels SizeC="2"/></OME>'),
      page16,
    ]),
    many('only a thumbnail', /no full page/, [reduced]),
    many('only a mask', /no full page/, [{ ...page16, subfileType: 4 }]),
    many('an ImageJ stack behind one directory', /3 planes \(an ImageJ stack\)/, [
      described('ImageJ=1.54p\nimages=3\nslices=3\nhyperstack=true\n'),
    ]),
    many('a shaped array behind one directory', /5 planes \(an array of shape 5 x/, [
      described(JSON.stringify({ shape: [5, height, width] })),
    ]),
    many('a MetaMorph stack', /4 planes in one directory \(a MetaMorph stack\)/, [
      { ...page16, fields: [{ tag: 33629, type: 5, values: Array.from({ length: 8 }, () => 1) }] },
    ]),
    many('a volume', /7 planes in one directory \(a volume\)/, [
      { ...page16, fields: [{ tag: 32997, type: 4, values: [7] }] },
    ]),
    many('a full page in SubIFDs', /another full page below/, [{ ...page16, subIfds: [page16] }]),
    many('a thumbnail with the image in its SubIFDs', /no full page/, [
      { ...reduced, subIfds: [page16] },
    ]),
  ]
}

function otherSamples(): RefusedKind[] {
  const float = [16, 32, 64].flatMap((bits) =>
    ([1, 3] as const).map((predictor) =>
      refusedTiff(`${bits} bit float, predictor ${predictor}`, /floating point/, {
        bits,
        sampleFormat: 3,
        ...(predictor === 3 ? { predictor, compression: 'deflate' } : {}),
      }),
    ),
  )
  const signed = [8, 16, 32, 64].map((bits) =>
    refusedTiff(`${bits} bit signed`, /signed whole numbers/, { bits, sampleFormat: 2 }),
  )
  const widths = [1, 2, 4, 6, 10, 12, 14, 24, 32, 64].map((bits) =>
    refusedTiff(`${bits} bit unsigned`, new RegExp(`of ${bits} bit per pixel`), { bits }),
  )
  return [
    ...float,
    ...signed,
    ...widths,
    refusedTiff('undefined format', /undefined format/, { sampleFormat: 4 }),
    refusedTiff('complex', /complex floating point/, { sampleFormat: 6, bits: 64 }),
    refusedTiff('predictor of floats on whole numbers', /predictor 3/, {
      compression: 'deflate',
      fields: [{ tag: 317, type: 3, values: [3] }],
    }),
  ]
}

function colours(): RefusedKind[] {
  const samples = greyInRgb
  const several = ([2, 3, 4] as const).flatMap((samplesPerPixel) =>
    ([1, 2] as const).flatMap((planar) =>
      depths.map((bits) =>
        refusedTiff(`${samplesPerPixel} samples of ${bits} bit, planar ${planar}`, /samples per/, {
          samplesPerPixel,
          planar,
          bits,
          samples,
        }),
      ),
    ),
  )
  const coloured = (
    [
      ['RGB', 2, 3, /RGB with 3 samples/],
      ['RGBA', 2, 4, /RGB with 4 samples/],
      ['palette', 3, 1, /a palette/],
      ['mask', 4, 1, /a transparency mask/],
      ['CMYK', 5, 4, /CMYK/],
      ['YCbCr', 6, 3, /YCbCr/],
      ['Lab', 8, 3, /CIE L\*a\*b\*/],
      ['raw camera data', 32803, 1, /colour filter array/],
      ['something unknown', 999, 1, /photometric interpretation 999/],
    ] as const
  ).map(([name, photometric, samplesPerPixel, why]) =>
    refusedTiff(name, why, { photometric, samplesPerPixel, bits: 8, samples }),
  )
  const packings = (
    [
      [2, /compression CCITT/],
      [4, /compression CCITT/],
      [7, /compression JPEG/],
      [34712, /compression JPEG 2000/],
      [34887, /compression LERC/],
      [34925, /compression LZMA/],
      [50001, /compression WebP/],
      [65_000, /compression 65000/],
    ] as const
  ).map(([code, why]) =>
    refusedTiff(`compression ${code}`, why, { fields: [{ tag: 259, type: 3, values: [code] }] }),
  )
  const zstd = [{}, { tile: 16 }].map((layout) =>
    refusedTiff(`Zstandard ${JSON.stringify(layout)}`, /compression Zstandard/, {
      compression: 'zstd',
      ...layout,
    }),
  )
  return [...several, ...coloured, ...packings, ...zstd]
}

function otherPngs(): RefusedKind[] {
  const png = (name: string, why: RegExp, more: Partial<PngOptions>): RefusedKind => {
    const samples = more.bits !== undefined && more.bits < 8 ? valuesOf(more.bits) : greyInRgb
    return { name: `PNG, ${name}`, why, file: pngFile({ width, height, samples, ...more }) }
  }
  const palette = Buffer.from(Array.from({ length: 768 }, (_, i) => Math.floor(i / 3)))
  const transparent: Chunk = ['tRNS', Buffer.from([0, 5])]
  return [
    ...([1, 2, 4] as const).map((bits) => png(`${bits} bit`, /bit per pixel/, { bits })),
    ...depths.flatMap((bits) => [
      png(`RGB of ${bits} bit that is grey`, /RGB/, { bits, colourType: 2 }),
      png(`RGBA of ${bits} bit that is grey`, /RGB with alpha/, { bits, colourType: 6 }),
      png(`grey and alpha of ${bits} bit`, /grey with alpha/, { bits, colourType: 4 }),
      png(`transparent grey of ${bits} bit`, /tRNS/, { bits, before: [transparent] }),
    ]),
    png('a grey palette', /a palette/, { colourType: 3, before: [['PLTE', palette]] }),
    png('animated', /3 frames/, { before: [['acTL', Buffer.from([0, 0, 0, 3, 0, 0, 0, 0])]] }),
  ]
}

const beginning = (bytes: string): Buffer => Buffer.from(bytes.padEnd(600, '\0'), 'latin1')

const otherFormats: readonly RefusedKind[] = [
  ['JPEG', '\xff\xd8\xff\xe0\0\x10JFIF\0'],
  ['JPEG 2000', '\0\0\0\x0cjP  \r\n\x87\n'],
  ['JPEG 2000', '\xffO\xffQ'],
  ['JPEG XL', '\xff\n'],
  ['GIF', 'GIF89a'],
  ['BMP', 'BM\x10\0\0\0\0\0\0\0'],
  ['WebP', 'RIFF\0\0\0\0WEBP'],
  ['HEIF or AVIF', '\0\0\0 ftypavif'],
  ['Zeiss CZI', 'ZISRAWFILE'],
  ['Nikon ND2', '\xda\xce\xbe\n'],
  ['DICOM', `${'\0'.repeat(128)}DICM`],
  ['HDF5', '\x89HDF\r\n\x1a\n'],
  ['NumPy', '\x93NUMPY\x01\0'],
].map(([name = '', bytes = '']) => ({
  name: `${name}: ${JSON.stringify(bytes.slice(0, 12))}`,
  file: beginning(bytes),
  why: new RegExp(`an? ${name} file`),
}))

/** Kinds that are refused by their names. */
export const refusedKinds: readonly RefusedKind[] = [
  ...severalPages(),
  ...otherSamples(),
  ...colours(),
  ...otherPngs(),
  ...otherFormats,
]
