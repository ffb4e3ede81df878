import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { isCutShort } from '../../formats/complete.ts'
import type { Look } from '../../formats/kinds.ts'
import { lookAt } from '../../formats/look.ts'
import { TooSlow, lookLimits, withSource } from '../../formats/source.ts'
import { readHeader } from '../../formats/tiff.ts'
import { height, readKinds, refusedKinds, width } from './kinds.ts'
import { chunk, pngFile } from './png-file.ts'
import { ramp, tiffFile, type Field, type Page } from './tiff-file.ts'

const folder = await mkdtemp(join(tmpdir(), 'wellspring-look-'))
after(() => rm(folder, { recursive: true }))
const path = join(folder, 'file')

async function lookInto(file: Buffer): Promise<Look> {
  await writeFile(path, file)
  return await lookAt(path)
}

const page: Page = { width, height, samples: ramp(width, height, 65_535) }
const thumbnail: Page = { width: 4, height: 3, subfileType: 1 }
const with_ = (...fields: Field[]): Page => ({ ...page, fields })
const long = (tag: number, ...values: number[]): Field => ({ tag, type: 4, values })

test('every kind is told from its structure, and its size with it', async () => {
  for (const { name, file, bits } of readKinds) {
    const look = await lookInto(file)
    assert.equal(look.kind, 'grey-image', `${name}: ${JSON.stringify(look)}`)
    if (look.kind !== 'grey-image') continue
    const { widthPx, heightPx, bitsPerPixel } = look.image
    assert.deepEqual([widthPx, heightPx, bitsPerPixel], [width, height, bits], name)
  }
  for (const { name, file, why } of refusedKinds) {
    const look = await lookInto(file)
    assert.equal(look.kind, 'unsupported', `${name}: ${JSON.stringify(look)}`)
    assert.match('why' in look ? look.why : '', why, name)
  }
})

test('ImageJ’s calibration of signed pixels is a pixel offset; others are none', async () => {
  const described = async (lines: string): Promise<number> => {
    const look = await lookInto(tiffFile([{ ...page, description: `ImageJ=1.54p\n${lines}` }]))
    return look.kind === 'grey-image' ? look.image.pixelOffset : Number.NaN
  }
  assert.equal(await described('cf=0\nc0=-32768.0\nc1=1.0\nvunit=Gray Value\n'), 32_768)
  assert.equal(await described('cf=0\nc0=-100\nc1=1\n'), 100)
  assert.equal(await described('cf=0\nc0=-32768\nc1=0.5\n'), 0)
  assert.equal(await described('cf=4\nc0=-32768\nc1=1\n'), 0)
  assert.equal(await described('cf=0\nc0=12\nc1=1\n'), 0)
  assert.equal(await described('cf=0\nc0=-0.5\nc1=1\n'), 0)
  const own = await lookInto(tiffFile([{ ...page, description: 'cf=0\nc0=-32768\nc1=1' }]))
  assert.equal(own.kind === 'grey-image' && own.image.pixelOffset, 0)
})

const damaged: readonly [what: string, file: () => Buffer, kind: Look['kind'], why: RegExp][] = [
  [
    'directories in a circle',
    () =>
      tiffFile(
        [
          { ...page, subfileType: 1 },
          { ...page, subfileType: 1 },
        ],
        { loopTo: 0 },
      ),
    'corrupt',
    /circle/,
  ],
  ['a directory that follows itself', () => tiffFile([page], { loopTo: 0 }), 'corrupt', /circle/],
  [
    'SubIFDs that lead back',
    () => {
      const file = tiffFile([with_({ tag: 330, type: 13, values: [0] })])
      const entry = file.indexOf(Buffer.from([0x4a, 1, 13, 0, 1, 0, 0, 0]))
      file.writeUInt32LE(file.readUInt32LE(4), entry + 8)
      return file
    },
    'corrupt',
    /circle/,
  ],
  [
    'SubIFDs in a circle of their own',
    () => {
      const file = tiffFile([{ ...page, subIfds: [thumbnail, thumbnail], subIfdsEndAt: 0 }])
      const entry = file.indexOf(Buffer.from([0x4a, 1, 13, 0, 2, 0, 0, 0]))
      const [first, second] = [0, 4].map((at) =>
        file.readUInt32LE(file.readUInt32LE(entry + 8) + at),
      )
      file.writeUInt32LE(first ?? 0, (second ?? 0) + 2 + file.readUInt16LE(second ?? 0) * 12)
      return file
    },
    'corrupt',
    /circle/,
  ],
  [
    'a directory outside of the file',
    () => tiffFile([page], { next: 4_000_000_000 }),
    'truncated',
    /4000000000/,
  ],
  ['a directory at the last byte', () => tiffFile([page], { next: 1_000 }), 'truncated', /./],
  ['a tag twice', () => tiffFile([with_(long(256, 5), long(256, 6))]), 'corrupt', /256 twice/],
  ['no width', () => tiffFile([{ ...page, without: [256] }]), 'corrupt', /lacks width/],
  ['a width of 0', () => tiffFile([with_(long(256, 0))]), 'corrupt', /lacks width/],
  ['no photometric', () => tiffFile([{ ...page, without: [262] }]), 'corrupt', /photometric/],
  [
    'a width that is text',
    () => tiffFile([with_({ tag: 256, type: 2, values: Buffer.from('37\0\0') })]),
    'corrupt',
    /want whole numbers/,
  ],
  [
    'tiles of nothing',
    () => tiffFile([{ ...page, tile: 16, fields: [long(322, 0)] }]),
    'corrupt',
    /tiles of 0/,
  ],
  [
    'a stack that is cut short',
    () => tiffFile([page, page]).subarray(0, -20),
    'truncated',
    /directory/,
  ],
  [
    'colours with a value beyond the end',
    () =>
      tiffFile([
        {
          ...page,
          photometric: 2,
          samplesPerPixel: 3,
          fields: [{ ...long(700, 1), count: 9_999 }],
        },
      ]),
    'truncated',
    /tag 700/,
  ],
  [
    'a PNG without data',
    () => pngFile({ width, height, samples: [] }).subarray(0, 33),
    'truncated',
    /./,
  ],
  [
    'a PNG that begins with something else',
    () =>
      Buffer.concat([
        pngFile({ width, height, samples: [] }).subarray(0, 8),
        chunk('IDAT', Buffer.alloc(40)),
      ]),
    'corrupt',
    /header/,
  ],
  ['nothing', () => Buffer.alloc(0), 'no-image', /empty/],
  ['text', () => Buffer.from('<html>503'), 'no-image', /known image/],
  [
    'a BigTIFF beyond 2^63',
    () => Buffer.from('II+\0\x08\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\0\0', 'latin1'),
    'no-image',
    /./,
  ],
]
for (const [what, file, kind, why] of damaged)
  test(`${what}: ${kind}`, async () => {
    const look = await lookInto(file())
    assert.equal(look.kind, kind, JSON.stringify(look))
    assert.match('why' in look ? look.why : '', why)
  })

const large: readonly [what: string, file: () => Buffer, kind: Look['kind']][] = [
  [
    '100,000 x 100,000 px',
    () => tiffFile([with_(long(256, 1e5), long(257, 1e5))]),
    'beyond-limits',
  ],
  [
    '2^32 - 1 px square',
    () => tiffFile([with_(long(256, 2 ** 32 - 1), long(257, 2 ** 32 - 1))]),
    'beyond-limits',
  ],
  [
    '9,000 px square in LZW',
    () => tiffFile([{ ...with_(long(256, 9_000), long(257, 9_000)), compression: 'lzw' }]),
    'beyond-limits',
  ],
  [
    '9,000 px square in Deflate',
    () => tiffFile([{ ...with_(long(256, 9_000), long(257, 9_000)), compression: 'deflate' }]),
    'beyond-limits',
  ],
  [
    '9,000 px square without compression',
    () => tiffFile([with_(long(256, 9_000), long(257, 9_000))]),
    'truncated',
  ],
  [
    'tiles of 65,536 px',
    () => tiffFile([{ ...page, tile: 16, fields: [long(322, 65_536), long(323, 65_536)] }]),
    'beyond-limits',
  ],
]
for (const [what, file, kind] of large)
  test(`a small file that claims ${what} is ${kind}`, async () => {
    assert.equal((await lookInto(file())).kind, kind)
  })

test('a small PNG that claims 100,000 px square is beyond limits', async () => {
  const file = pngFile({ width: 1, height: 1, samples: [0] })
  file.writeUInt32BE(100_000, 16)
  file.writeUInt32BE(100_000, 20)
  assert.equal((await lookInto(file)).kind, 'beyond-limits')
})

/** What a look at a file costs: bytes read of it. */
async function costOf(file: Buffer): Promise<number> {
  await writeFile(path, file)
  return await withSource(path, {}, async (source) => {
    const { lookInto: look } = await import('../../formats/look.ts')
    await look(source)
    return source.bytesRead
  })
}

test('a look reads some kilobytes, however large the file and its lists are', async () => {
  const rows = 2_048
  const samples = ramp(1_024, rows, 65_535)
  const file = tiffFile([{ width: 1_024, height: rows, rowsPerStrip: 1, samples }])
  assert.ok(file.length > 4 * 1024 * 1024)
  assert.ok((await costOf(file)) <= 3 * 4_096)
})

test('thousands of directories, entries or lists end at the budget, not at the file', async () => {
  await writeFile(path, tiffFile(Array.from({ length: 200 }, () => thumbnail)))
  const limits = { entriesMax: 1_000 }
  assert.equal((await lookAt(path, { limits })).kind, 'beyond-limits')
  const entries = Array.from({ length: 1_100 }, (_, i) => long(40_000 + i, 1))
  await writeFile(path, tiffFile([with_(...entries)]))
  assert.equal((await lookAt(path, { limits })).kind, 'beyond-limits')
  const chunks = Array.from({ length: 20_000 }, () => ['tEXt', Buffer.from('a\0b')] as const)
  const png = pngFile({ width, height, samples: ramp(width, height, 255), before: chunks })
  assert.equal((await lookInto(png)).kind, 'beyond-limits')
})

test('2,000 lists of strips in one directory are a contradiction, found without reading a list', async () => {
  const list = { ...long(273, 100_000), count: 200_000 } // 800 kB of zeros
  const twice = Array.from({ length: 2_000 }, () => list)
  const padded = Buffer.alloc(1_000_000)
  tiffFile([with_(...twice)]).copy(padded)
  assert.deepEqual(await costOf(padded).then((bytes) => bytes < 64 * 1024), true)
  assert.equal((await lookInto(padded)).kind, 'corrupt')
  assert.equal(await isCutShort(path), false)
})

test('a list of strips beyond the budget is not read', async () => {
  const strips = { ...long(273, 8), count: 400_000_000 }
  const file = tiffFile([{ width: 8, height: 8, fields: [strips, { ...strips, tag: 279 }] }])
  await writeFile(path, Buffer.concat([file, Buffer.alloc(lookLimits.bytesMax)]))
  await assert.rejects(isCutShort(path), /lists 400000000 strips/)
})

test('data beyond the end is found by the lists, in strips, tiles and PNGs', async () => {
  const whole = [
    tiffFile([{ ...page, rowsPerStrip: 4, compression: 'lzw' }]),
    tiffFile([{ ...page, tile: 16 }], { big: true }),
    pngFile({ width, height, samples: ramp(width, height, 255) }),
  ]
  for (const file of whole) {
    await writeFile(path, file)
    assert.equal(await isCutShort(path), false)
  }
  const far = tiffFile([{ ...page, rowsPerStrip: 23, fields: [long(273, 90_000)] }])
  await writeFile(path, far)
  assert.equal(await isCutShort(path), true)
  await writeFile(path, whole[2]?.subarray(0, -30) ?? Buffer.alloc(0))
  assert.equal(await isCutShort(path), true)
})

test('a look ends with its caller, and a named pipe or a folder is not waited for', async () => {
  await writeFile(path, tiffFile([page]))
  const gone = AbortSignal.abort(new Error('the caller left'))
  await assert.rejects(lookAt(path, { signal: gone }), /the caller left/)
  const leaving = new AbortController()
  const looking = withSource(path, { signal: leaving.signal }, async (source) => {
    leaving.abort(new Error('the caller left'))
    return await readHeader(source)
  })
  await assert.rejects(looking, /the caller left/)
  const pipe = join(folder, 'pipe')
  execFileSync('mkfifo', [pipe])
  await assert.rejects(lookAt(pipe), /no regular file/)
  await assert.rejects(lookAt(folder), /no regular file/)
  await assert.rejects(lookAt(join(folder, 'none')), /ENOENT/)
})

test('a file that is not read in time is slow, not damaged', async () => {
  await writeFile(path, tiffFile([page]))
  await assert.rejects(
    withSource(path, { limits: { timeMaxMs: 20 } }, async (source) => {
      await new Promise((resolve) => setTimeout(resolve, 60))
      return await readHeader(source)
    }),
    (error) => error instanceof TooSlow,
  )
})
