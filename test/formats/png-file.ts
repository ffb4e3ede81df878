// Writes PNG files of every kind that the reader must tell apart (PNG 3rd edition), pixels known by construction.
import { crc32, deflateSync } from 'node:zlib'

export type Chunk = readonly [type: string, data: Uint8Array]

export type PngOptions = {
  readonly width: number
  readonly height: number
  /** Samples in reading order, interleaved. */
  readonly samples: ArrayLike<number>
  readonly bits?: 1 | 2 | 4 | 8 | 16
  /** 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGBA. */
  readonly colourType?: 0 | 2 | 3 | 4 | 6
  readonly interlaced?: boolean
  /** Between the header and the data. */
  readonly before?: readonly Chunk[]
  /** Bytes of data a chunk. */
  readonly chunkBytes?: number
}

const samplesPerPixel = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 } as const

/** The bytes of a file. */
export function pngFile(options: PngOptions): Buffer {
  const { width, height, bits = 8, colourType = 0, interlaced = false, before = [] } = options
  const header = Buffer.alloc(13)
  header.writeUInt32BE(width, 0)
  header.writeUInt32BE(height, 4)
  header.set([bits, colourType, 0, 0, interlaced ? 1 : 0], 8)
  const data = deflateSync(Buffer.concat(interlaced ? passes(options) : [scanlines(options)]))
  const step = options.chunkBytes ?? data.length
  const parts = Array.from({ length: Math.ceil(data.length / step) }, (_, i) =>
    chunk('IDAT', data.subarray(i * step, (i + 1) * step)),
  )
  return Buffer.concat([
    Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'),
    chunk('IHDR', header),
    ...before.map(([type, bytes]) => chunk(type, bytes)),
    ...parts,
    chunk('IEND', Buffer.alloc(0)),
  ])
}

export function chunk(type: string, data: Uint8Array): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data])
  const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)]
  length.writeUInt32BE(data.length)
  sum.writeUInt32BE(crc32(body))
  return Buffer.concat([length, body, sum])
}

type Grid = { readonly x0: number; readonly y0: number; readonly dx: number; readonly dy: number }

function scanlines(options: PngOptions, grid: Grid = { x0: 0, y0: 0, dx: 1, dy: 1 }): Buffer {
  const { width, height, samples, bits = 8, colourType = 0 } = options
  const perPixel = samplesPerPixel[colourType]
  const rows: Buffer[] = []
  for (let y = grid.y0; y < height; y += grid.dy) {
    let text = ''
    const row: number[] = []
    for (let x = grid.x0; x < width; x += grid.dx)
      for (let s = 0; s < perPixel; s++) {
        const value = samples[(y * width + x) * perPixel + s] ?? 0
        if (bits === 16) row.push(value >> 8, value & 255)
        else text += value.toString(2).padStart(bits, '0')
      }
    if (bits === 16 ? row.length === 0 : text === '') continue
    text = text.padEnd(Math.ceil(text.length / 8) * 8, '0')
    for (let i = 0; i < text.length; i += 8) row.push(parseInt(text.slice(i, i + 8), 2))
    rows.push(Buffer.from([0, ...row]))
  }
  return Buffer.concat(rows)
}

const adam7: readonly Grid[] = [
  { x0: 0, y0: 0, dx: 8, dy: 8 },
  { x0: 4, y0: 0, dx: 8, dy: 8 },
  { x0: 0, y0: 4, dx: 4, dy: 8 },
  { x0: 2, y0: 0, dx: 4, dy: 4 },
  { x0: 0, y0: 2, dx: 2, dy: 4 },
  { x0: 1, y0: 0, dx: 2, dy: 2 },
  { x0: 0, y0: 1, dx: 1, dy: 2 },
]

const passes = (options: PngOptions): Buffer[] => adam7.map((grid) => scanlines(options, grid))

/** An ICC profile of a grey device with this gamma, the smallest that is valid (ICC.1:2022, 7 and 8.5). */
export function greyProfile(gamma: number): Buffer {
  const tags: readonly Chunk[] = [
    ['desc', description('grey')],
    ['wtpt', Buffer.concat([Buffer.from('XYZ \0\0\0\0', 'latin1'), fixed(0.9642, 1, 0.8249)])],
    ['kTRC', curve(gamma)],
    ['cprt', Buffer.from('text\0\0\0\0none\0\0\0\0', 'latin1')],
  ]
  const head = Buffer.alloc(132 + tags.length * 12)
  head.writeUInt32BE(0x02400000, 8)
  head.write('mntrGRAYXYZ ', 12, 'latin1')
  head.write('acsp', 36, 'latin1')
  fixed(0.9642, 1, 0.8249).copy(head, 68)
  head.writeUInt32BE(tags.length, 128)
  let at = head.length
  const bodies: Buffer[] = []
  tags.forEach(([name, data], i) => {
    head.write(name, 132 + i * 12, 'latin1')
    head.writeUInt32BE(at, 136 + i * 12)
    head.writeUInt32BE(data.length, 140 + i * 12)
    const body = Buffer.concat([data, Buffer.alloc((4 - (data.length % 4)) % 4)])
    at += body.length
    bodies.push(body)
  })
  const profile = Buffer.concat([head, ...bodies])
  profile.writeUInt32BE(profile.length, 0)
  return profile
}

function fixed(...values: number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4)
  values.forEach((value, i) => bytes.writeInt32BE(Math.round(value * 65_536), i * 4))
  return bytes
}

function curve(gamma: number): Buffer {
  const bytes = Buffer.alloc(14)
  bytes.write('curv', 0, 'latin1')
  bytes.writeUInt32BE(1, 8)
  bytes.writeUInt16BE(Math.round(gamma * 256), 12)
  return bytes
}

function description(text: string): Buffer {
  const bytes = Buffer.alloc(12 + text.length + 1 + 78)
  bytes.write('desc', 0, 'latin1')
  bytes.writeUInt32BE(text.length + 1, 8)
  bytes.write(text, 12, 'latin1')
  return bytes
}

/** The chunk that carries a profile. */
export function iccChunk(profile: Buffer): Chunk {
  return ['iCCP', Buffer.concat([Buffer.from('grey\0\0', 'latin1'), deflateSync(profile)])]
}
