import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { after, test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { deflateSync } from 'node:zlib'
import { readPixels, subtractOffset } from '../../../services/legacy/pixels.ts'
import { height, readKinds, refusedKinds, width } from '../../formats/kinds.ts'
import { pngFile } from '../../formats/png-file.ts'
import { ramp, tiffFile, type Compression, type Page } from '../../formats/tiff-file.ts'

const folder = await mkdtemp(join(tmpdir(), 'pixel-kinds-'))
after(() => rm(folder, { recursive: true }))
const path = join(folder, 'image')

test(`${readKinds.length} kinds of files come out grey level by grey level`, async () => {
  assert.ok(readKinds.length > 150)
  for (const { name, file, values, bits } of readKinds) {
    await writeFile(path, file)
    const image = await readPixels(path).catch((error: unknown) =>
      assert.fail(`${name}: ${String(error)}`),
    )
    assert.deepEqual(
      [image.widthPx, image.heightPx, image.bitsPerPixel],
      [width, height, bits],
      name,
    )
    const wrong = values.findIndex((value, i) => image.values[i] !== value)
    assert.equal(
      wrong,
      -1,
      `${name}: pixel ${wrong} is ${image.values[wrong]}, not ${values[wrong]}`,
    )
  }
})

test(`${refusedKinds.length} kinds are refused by their names, and never called damaged`, async () => {
  assert.ok(refusedKinds.length > 80)
  for (const { name, file, why } of refusedKinds) {
    await writeFile(path, file)
    const said = await readPixels(path).then(
      () => 'nothing',
      (error: Error) => error.message,
    )
    assert.match(said, /^unsupported kind: /, name)
    assert.match(said, why, name)
  }
})

const packings: readonly Compression[] = ['none', 'lzw', 'deflate', 'packbits']
for (const compression of packings)
  test(`no damaged, missing or cut tile of ${compression} is given out as black`, async () => {
    const page: Page = {
      width,
      height,
      tile: 16,
      compression,
      samples: ramp(width, height, 65_535),
    }
    const whole = tiffFile([page])
    await writeFile(path, whole)
    await readPixels(path)
    const nowhere = { tag: 324, type: 4, values: [8, 8, 8, 8, 8, 9_999_999] } as const
    const nothing = { tag: 325, type: 4, values: [0, 0, 0, 0, 0, 0] } as const
    const short = { tag: 325, type: 4, values: [5, 5, 5, 5, 5, 5] } as const
    const few = [
      { tag: 324, type: 4, values: [8] },
      { tag: 325, type: 4, values: [64] },
    ] as const
    const bad = [
      tiffFile([{ ...page, fields: [nowhere] }]),
      tiffFile([{ ...page, fields: [nothing] }]),
      tiffFile([{ ...page, fields: [short] }]),
      tiffFile([{ ...page, fields: few }]),
    ]
    // Any bytes are good PackBits, as they are good pixels without compression.
    if (compression === 'lzw' || compression === 'deflate')
      bad.push(Buffer.from(whole).fill(0xff, 20, 120))
    for (const [i, file] of bad.entries()) {
      await writeFile(path, file)
      await assert.rejects(readPixels(path), `${compression} ${i}`)
    }
  })

test('what unpacks to 200 MB beside the image, or behind its strip, costs no memory', async () => {
  const bomb = deflateSync(Buffer.alloc(200_000_000), { level: 9 })
  const named = (head: string): Buffer => Buffer.concat([Buffer.from(head, 'latin1'), bomb])
  const samples = ramp(8, 8, 255)
  const png = (type: string, head: string): Buffer =>
    pngFile({ width: 8, height: 8, samples, before: [[type, named(head)]] })
  const strip = tiffFile([
    {
      width: 8,
      height: 8,
      compression: 'deflate',
      fields: [
        { tag: 273, type: 4, values: [4_096] },
        { tag: 279, type: 4, values: [bomb.length] },
      ],
    },
  ])
  const behind = Buffer.concat([strip, Buffer.alloc(4_096 - strip.length), bomb])
  const files = [png('iCCP', 'x\0\0'), png('zTXt', 'x\0\0'), png('iTXt', 'x\0\x01\0\0\0'), behind]
  const reader = resolve(import.meta.dirname, '../../../services/legacy/pixels.ts')
  for (const file of files) {
    await writeFile(path, file)
    const script = `
      import { readPixels } from ${JSON.stringify(pathToFileURL(reader).href)}
      const image = await readPixels(${JSON.stringify(path)})
      console.log(image.values.length, Math.round(process.resourceUsage().maxRSS / 1024))`
    const said = execFileSync(process.execPath, ['--input-type=module', '-e', script])
    const [pixels, maxRssMib] = said.toString().split(' ').map(Number)
    assert.equal(pixels, 64)
    assert.ok((maxRssMib ?? Infinity) < 200, `${maxRssMib} MiB`)
  }
})

test('an offset is taken away, and what lies below it is counted', () => {
  const values = Uint16Array.from([32_768, 32_769, 40_000, 32_767])
  const image = { values, widthPx: 2, heightPx: 2, bitsPerPixel: 16 } as const
  assert.equal(subtractOffset(image, 32_768), 0.25)
  assert.deepEqual([...values], [0, 1, 7_232, 0])
  assert.equal(subtractOffset(image, 0), 0)
})
