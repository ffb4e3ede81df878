// Writes TIFF files of every kind that the reader must tell apart, pixel by pixel known by construction: both byte
// orders, classic and BigTIFF, strips and tiles, compressions, predictors, several directories, and lies.
import { deflateSync, zstdCompressSync } from 'node:zlib'
import { encodeLzw, encodePackBits } from './codecs.ts'

export type Compression = 'none' | 'lzw' | 'deflate' | 'old-deflate' | 'packbits' | 'zstd'

export type Field = {
  readonly tag: number
  readonly type: 1 | 2 | 3 | 4 | 5 | 7 | 13 | 16
  /** Numbers by type; a Buffer is written as it is. */
  readonly values: readonly number[] | Buffer
  /** Claimed number of values, where it is to differ. */
  readonly count?: number
}

export type Page = {
  readonly width: number
  readonly height: number
  /** Samples in reading order, interleaved. Default: a ramp. */
  readonly samples?: ArrayLike<number>
  readonly bits?: number
  readonly samplesPerPixel?: number
  /** 1 unsigned, 2 signed, 3 floating point. */
  readonly sampleFormat?: number
  readonly photometric?: number
  readonly compression?: Compression
  readonly predictor?: 1 | 2 | 3
  readonly planar?: 1 | 2
  readonly rowsPerStrip?: number
  /** Edge of square tiles; strips without it. */
  readonly tile?: number
  /** Bytes whose bits are stored in the other order. */
  readonly fillOrder?: 1 | 2
  readonly subfileType?: number
  readonly description?: string
  /** Added, or put in the place of what the writer would say. */
  readonly fields?: readonly Field[]
  readonly without?: readonly number[]
  readonly subIfds?: readonly Page[]
  /** Each of them leads to the next one too, as some writers do it; the last one to this offset. */
  readonly subIfdsEndAt?: number
}

export type TiffOptions = {
  readonly little?: boolean
  readonly big?: boolean
  /** Where the last directory's pointer leads: an index of a page, or an offset in the file. */
  readonly loopTo?: number
  readonly next?: number
}

const compressionCodes: Readonly<Record<Compression, number>> = {
  none: 1,
  lzw: 5,
  deflate: 8,
  'old-deflate': 32946,
  packbits: 32773,
  zstd: 50000,
}
const typeBytes: Readonly<Record<Field['type'], number>> = {
  1: 1,
  2: 1,
  3: 2,
  4: 4,
  5: 8,
  7: 1,
  13: 4,
  16: 8,
}

/** A ramp that uses the whole of the type, and differs from row to row. */
export function ramp(width: number, height: number, max: number): number[] {
  return Array.from({ length: width * height }, (_, i) => {
    const [x, y] = [i % width, Math.floor(i / width)]
    return (x * 257 + y * 1_031 + ((x * y) % 13)) % (max + 1)
  })
}

/** The bytes of a file with these pages, in this order. */
export function tiffFile(pages: readonly Page[], options: TiffOptions = {}): Buffer {
  const { little = true, big = false } = options
  const file = new FileBuilder(little, big)
  file.header()
  let link = big ? 8 : 4
  const starts: number[] = []
  for (const page of pages) {
    const { at, nextAt } = directory(file, page)
    file.offsetAt(link, at)
    starts.push(at)
    link = nextAt
  }
  if (options.loopTo !== undefined) file.offsetAt(link, starts[options.loopTo] ?? 0)
  if (options.next !== undefined) file.offsetAt(link, options.next)
  return file.bytes()
}

class FileBuilder {
  readonly little: boolean
  readonly big: boolean
  #bytes = Buffer.alloc(1 << 20)
  #length = 0

  constructor(little: boolean, big: boolean) {
    this.little = little
    this.big = big
  }

  bytes(): Buffer {
    return Buffer.from(this.#bytes.subarray(0, this.#length))
  }

  header(): void {
    this.append(Buffer.from(this.little ? 'II' : 'MM', 'latin1'))
    this.append(this.number(this.big ? 43 : 42, 2))
    if (this.big) this.append(Buffer.concat([this.number(8, 2), this.number(0, 2)]))
    this.append(this.number(0, this.big ? 8 : 4))
  }

  /** Puts bytes at the end, on a word boundary; returns where. */
  append(bytes: Buffer): number {
    if (this.#length % 2 === 1) this.#length += 1
    const at = this.#length
    while (at + bytes.length > this.#bytes.length)
      this.#bytes = Buffer.concat([this.#bytes, Buffer.alloc(this.#bytes.length)])
    bytes.copy(this.#bytes, at)
    this.#length = at + bytes.length
    return at
  }

  offsetAt(at: number, value: number): void {
    this.number(value, this.big ? 8 : 4).copy(this.#bytes, at)
  }

  number(value: number, bytes: number): Buffer {
    const buffer = Buffer.alloc(bytes)
    const whole = BigInt.asUintN(bytes * 8, BigInt(Math.trunc(value)))
    for (let i = 0; i < bytes; i++)
      buffer[this.little ? i : bytes - 1 - i] = Number((whole >> BigInt(8 * i)) & 255n)
    return buffer
  }

  values({ type, values }: Field): Buffer {
    if (values instanceof Uint8Array) return Buffer.from(values)
    const size = type === 5 ? 4 : typeBytes[type]
    return Buffer.concat(values.map((value) => this.number(value, size)))
  }
}

function directory(file: FileBuilder, page: Page): { at: number; nextAt: number } {
  const { places, sizes } = writeData(file, page)
  const sub = belowOf(file, page)
  const fields = new Map(fieldsOf(page, places, sizes).map((field) => [field.tag, field]))
  if (sub.length > 0) fields.set(330, { tag: 330, type: 13, values: sub })
  for (const tag of page.without ?? []) fields.delete(tag)
  const own = page.fields ?? []
  const [twice, once] = [
    own.filter((field, i) => own.findIndex(({ tag }) => tag === field.tag) !== i),
    own.filter((field, i) => own.findIndex(({ tag }) => tag === field.tag) === i),
  ]
  for (const field of once) fields.set(field.tag, field)
  const all = [...fields.values(), ...twice].toSorted((a, b) => a.tag - b.tag)
  const slot = file.big ? 8 : 4
  const entries = all.map((field) => {
    const bytes = file.values(field)
    const count = field.count ?? bytes.length / typeBytes[field.type]
    const value = Buffer.alloc(slot)
    if (bytes.length <= slot) bytes.copy(value)
    else file.number(file.append(bytes), slot).copy(value)
    const head = [file.number(field.tag, 2), file.number(field.type, 2), file.number(count, slot)]
    return Buffer.concat([...head, value])
  })
  const counted = file.number(entries.length, file.big ? 8 : 2)
  const body = Buffer.concat([counted, ...entries, Buffer.alloc(slot)])
  const at = file.append(body)
  return { at, nextAt: at + body.length - slot }
}

function belowOf(file: FileBuilder, { subIfds = [], subIfdsEndAt }: Page): number[] {
  const below = subIfds.map((inner) => directory(file, inner))
  if (subIfdsEndAt !== undefined)
    for (const [i, { nextAt }] of below.entries())
      file.offsetAt(nextAt, below[i + 1]?.at ?? subIfdsEndAt)
  return below.map(({ at }) => at)
}

function fieldsOf(page: Page, places: readonly number[], sizes: readonly number[]): Field[] {
  const { width, height, bits = 16, samplesPerPixel = 1, sampleFormat = 1, tile } = page
  const short = (tag: number, ...values: number[]): Field => ({ tag, type: 3, values })
  const long = (tag: number, ...values: number[]): Field => ({ tag, type: 4, values })
  const perSample = (value: number) => Array.from({ length: samplesPerPixel }, () => value)
  const fields = [
    long(256, width),
    long(257, height),
    short(258, ...perSample(bits)),
    short(259, compressionCodes[page.compression ?? 'none']),
    short(262, page.photometric ?? 1),
    short(277, samplesPerPixel),
    short(284, page.planar ?? 1),
    short(339, ...perSample(sampleFormat)),
  ]
  if (tile === undefined)
    fields.push(long(273, ...places), long(278, page.rowsPerStrip ?? height), long(279, ...sizes))
  else fields.push(long(322, tile), long(323, tile), long(324, ...places), long(325, ...sizes))
  if (page.subfileType !== undefined) fields.push(long(254, page.subfileType))
  if (page.fillOrder !== undefined) fields.push(short(266, page.fillOrder))
  if (page.predictor !== undefined) fields.push(short(317, page.predictor))
  if (page.description !== undefined)
    fields.push({ tag: 270, type: 2, values: Buffer.from(`${page.description}\0`, 'latin1') })
  return fields
}

type Block = { readonly rows: number[][]; readonly perPixel: number }

function writeData(file: FileBuilder, page: Page): { places: number[]; sizes: number[] } {
  const [places, sizes]: number[][] = [[], []]
  for (const block of blocksOf(page)) {
    const packed = compressed(file, page, block)
    places?.push(file.append(packed))
    sizes?.push(packed.length)
  }
  return { places: places ?? [], sizes: sizes ?? [] }
}

/** Strips or tiles, plane by plane where planes are apart. Tiles are filled up with zeros. */
function blocksOf(page: Page): Block[] {
  const { width, height, samplesPerPixel = 1, planar = 1, tile } = page
  const samples =
    page.samples ??
    ramp(width * samplesPerPixel, height, Math.min(2 ** (page.bits ?? 16) - 1, 65_535))
  const planes = planar === 2 ? samplesPerPixel : 1
  const perPixel = planar === 2 ? 1 : samplesPerPixel
  const tileWidth = tile ?? width
  const tileHeight = tile ?? page.rowsPerStrip ?? height
  const blocks: Block[] = []
  for (let plane = 0; plane < planes; plane++)
    for (let top = 0; top < height; top += tileHeight)
      for (let left = 0; left < width; left += tileWidth) {
        const rows: number[][] = []
        const bottom = tile === undefined ? Math.min(top + tileHeight, height) : top + tileHeight
        for (let y = top; y < bottom; y++) {
          const row: number[] = []
          for (let x = left; x < left + tileWidth; x++)
            for (let s = 0; s < perPixel; s++) {
              const at = (y * width + x) * samplesPerPixel + (planar === 2 ? plane : s)
              row.push(x < width && y < height ? (samples[at] ?? 0) : 0)
            }
          rows.push(row)
        }
        blocks.push({ rows, perPixel })
      }
  return blocks
}

function compressed(file: FileBuilder, page: Page, block: Block): Buffer {
  const rows = block.rows.map((row) => rowBytes(file, page, row, block.perPixel))
  const raw = Buffer.concat(rows)
  const packed = packedBy(page.compression ?? 'none', raw, rows)
  return page.fillOrder === 2 ? Buffer.from(packed.map(mirrored)) : packed
}

function packedBy(compression: Compression, raw: Buffer, rows: readonly Buffer[]): Buffer {
  switch (compression) {
    case 'none':
      return raw
    case 'lzw':
      return encodeLzw(raw)
    case 'packbits':
      return Buffer.concat(rows.map(encodePackBits)) // never across rows (TIFF 6.0, section 9)
    case 'deflate':
    case 'old-deflate':
      return deflateSync(raw)
    case 'zstd':
      return zstdCompressSync(raw)
  }
}

function mirrored(byte: number): number {
  let mirror = 0
  for (let bit = 0; bit < 8; bit++) mirror |= ((byte >> bit) & 1) << (7 - bit)
  return mirror
}

function rowBytes(file: FileBuilder, page: Page, row: readonly number[], perPixel: number): Buffer {
  const { bits = 16, sampleFormat = 1, predictor = 1 } = page
  if (sampleFormat === 3) return floatRow(file, row, { bits, predictor, perPixel })
  const wrap = 2 ** bits
  const differences = row.map((value, i) =>
    predictor === 2 && i >= perPixel
      ? (((value - (row[i - perPixel] ?? 0)) % wrap) + wrap) % wrap
      : value,
  )
  if (bits % 8 === 0) return Buffer.concat(differences.map((value) => file.number(value, bits / 8)))
  let text = ''
  for (const value of differences) text += value.toString(2).padStart(bits, '0').slice(-bits)
  text = text.padEnd(Math.ceil(text.length / 8) * 8, '0')
  return Buffer.from(
    Array.from({ length: text.length / 8 }, (_, i) => parseInt(text.slice(i * 8, i * 8 + 8), 2)),
  )
}

/** Predictor 3 (Adobe Photoshop TIFF Technical Note 3): bytes by significance, then differences. */
function floatRow(
  file: FileBuilder,
  row: readonly number[],
  { bits, predictor, perPixel }: { bits: number; predictor: number; perPixel: number },
): Buffer {
  const size = bits / 8
  const write = (value: number, little: boolean): Buffer => {
    const buffer = Buffer.alloc(size)
    if (size === 2) {
      const half = new Uint16Array(new Float16Array([value]).buffer)[0] ?? 0
      if (little) buffer.writeUInt16LE(half)
      else buffer.writeUInt16BE(half)
    } else if (size === 4) {
      if (little) buffer.writeFloatLE(value)
      else buffer.writeFloatBE(value)
    } else if (little) buffer.writeDoubleLE(value)
    else buffer.writeDoubleBE(value)
    return buffer
  }
  if (predictor !== 3) return Buffer.concat(row.map((value) => write(value, file.little)))
  const big = row.map((value) => write(value, false))
  const planes = Buffer.alloc(row.length * size)
  big.forEach((bytes, i) => bytes.forEach((byte, k) => (planes[k * row.length + i] = byte)))
  for (let i = planes.length - 1; i >= perPixel; i--)
    planes[i] = ((planes[i] ?? 0) - (planes[i - perPixel] ?? 0)) & 255
  return planes
}
