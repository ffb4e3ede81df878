// Text from outside costs as much as it is long: each reader against texts that make a looking-back one crawl.
import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { wellName } from '@wellspring/lab/wells.ts'
import { kindOfName, parseChannels } from '../../ingest/channels.ts'
import { surveyCsv } from '../../ingest/csv.ts'
import { parseHtd } from '../../ingest/htd.ts'
import { parseImageXpressName } from '../../ingest/imagexpress.ts'
import { parsePixelOffsets, pixelOffsetOf } from '../../ingest/offsets.ts'
import { readTiffText } from '../../ingest/tiff.ts'
import { duration, share, whole } from '../../cli/flags.ts'
import { columnsDiffer } from '../../services/well-profile/profile.ts'
import { tiffFile } from '../formats/tiff-file.ts'

const folder = await mkdtemp(join(tmpdir(), 'wellspring-linear-'))
after(() => rm(folder, { recursive: true }))

type Reader = (text: string) => unknown
type TextOf = (length: number) => string
const quietly =
  (read: Reader): Reader =>
  async (text) => {
    try {
      await read(text)
    } catch {
      // What it makes of the text is another test's business.
    }
  }
const throughFile =
  (
    name: string,
    read: (path: string) => Promise<unknown>,
    bytes: (text: string) => Buffer,
  ): Reader =>
  async (text) => {
    await writeFile(join(folder, name), bytes(text))
    await read(join(folder, name))
  }
const latin = (text: string): Buffer => Buffer.from(text, 'latin1')

const readers: readonly (readonly [name: string, read: Reader, texts: readonly TextOf[]])[] = [
  [
    'a plate description',
    (text) => parseHtd(latin(`"HTSInfoFile", 1\n${text}`)),
    [
      (n) => `"A"${' '.repeat(n)}\r`,
      (n) => `"A"${' '.repeat(n / 2)},${' '.repeat(n / 2)}\rx`,
      (n) => `"A"${' '.repeat(n)}x\ry`,
      (n) => ' '.repeat(n),
      (n) => `"A", ${'"'.repeat(n - 5)}`,
      (n) => `"A", ${'"a,'.repeat(n / 3)}`,
      (n) => '"'.repeat(n),
      (n) => '\r'.repeat(n),
      (n) => `"${'a'.repeat(n)}`,
    ],
  ],
  [
    'a description in a TIFF',
    throughFile('text.tif', readTiffText, (description) =>
      tiffFile([{ width: 8, height: 8, description }]),
    ),
    [
      (n) => '\n'.repeat(n),
      (n) => `Barcode:${' '.repeat(n)}x\0`,
      (n) => `Barcode:${'a '.repeat(n / 2)}`,
      (n) => `Barcode:a${' '.repeat(n)}b`,
      (n) => ' \n'.repeat(n / 2),
      (n) => 'id="_IllumSetting_"'.repeat(n / 19),
      (n) => `id="_IllumSetting_"${'value="'.repeat(n / 7)}`,
      (n) => 'Barcode:\r'.repeat(n / 9),
    ],
  ],
  [
    'a table',
    throughFile('table.csv', surveyCsv, (row) => latin(`path,plate,well,site,channel\n${row}`)),
    [
      (n) => ' '.repeat(n),
      (n) => '"'.repeat(n),
      (n) => '""'.repeat(n / 2),
      (n) => `a.tif,P,${'A'.repeat(n)},1,w1`,
    ],
  ],
  [
    'an image name',
    parseImageXpressName,
    [
      (n) => '_a1'.repeat(n / 3),
      (n) => `_${'a'.repeat(n)}`,
      (n) => 'a1_s1_w1'.repeat(n / 8),
      (n) => '/'.repeat(n),
      (n) => 'TimePoint_'.repeat(n / 10),
    ],
  ],
  [
    'a channel',
    kindOfName,
    [
      (n) => 'bright '.repeat(n / 7),
      (n) => 'hoe'.repeat(n / 3),
      (n) => 'a'.repeat(n),
      (n) => 'cy'.repeat(n / 2),
    ],
  ],
  [
    'a well',
    wellName,
    [(n) => 'A'.repeat(n), (n) => `A${'1'.repeat(n)}`, (n) => `r${'1'.repeat(n)}c1`],
  ],
  [
    'channel kinds',
    parseChannels,
    [(n) => '='.repeat(n), (n) => `w1${' '.repeat(n)}=nuclei`, (n) => 'w1=nuclei,'.repeat(n / 10)],
  ],
  [
    'pixel offsets',
    parsePixelOffsets,
    [(n) => '='.repeat(n), (n) => '0'.repeat(n), (n) => `1.${'0'.repeat(n)}x`],
  ],
  ['a pixel offset', pixelOffsetOf, [(n) => '1'.repeat(n), (n) => `1.${'0'.repeat(n)}x`]],
  [
    'a column of features',
    (text) =>
      columnsDiffer([
        { columns: [text], rows: [] },
        { columns: ['Intensity_Mean_A'], rows: [] },
      ]),
    [
      (n) => `Intensity_${'a'.repeat(n)}`,
      (n) => `Intensity_a_${'_'.repeat(n)}\n`,
      (n) => 'Intensity_'.repeat(n / 10),
    ],
  ],
  ['a duration', duration, [(n) => '1'.repeat(n), (n) => `1.${'1'.repeat(n)}x`]],
  ['a whole number', whole, [(n) => '1'.repeat(n)]],
  ['a share', share, [(n) => '0'.repeat(n), (n) => ' '.repeat(n)]],
]

async function cpuMs(read: Reader, text: string): Promise<number> {
  const before = process.cpuUsage()
  await read(text)
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1_000
}

/** For the clock's grain, and for a garbage collection in between. */
const floorMs = 10

for (const [name, read, texts] of readers)
  test(`${name} of 64 kB costs what a quarter of it costs four times, whatever is in it`, async () => {
    const once = quietly(read)
    for (const text of texts) {
      await once(text(64))
      let few = await cpuMs(once, text(1_024))
      for (const length of [4_096, 16_384, 65_536]) {
        const many = await cpuMs(once, text(length))
        // Squares would be 16 times, cubes 64.
        const said = `${JSON.stringify(text(24))}…: ${few} ms, of ${length} characters ${many} ms`
        assert.ok(many <= 9 * Math.max(few, floorMs), said)
        few = many
      }
    }
  })
