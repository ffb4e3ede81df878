import assert from 'node:assert/strict'
import { copyFile, mkdir, mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { parseImageXpressName } from '../../ingest/imagexpress.ts'
import { survey } from '../../ingest/survey.ts'
import { realSet } from './data.ts'

const imagexpress = realSet('imagexpress-9987-3434')
const bbbc039 = realSet('bbbc039-u2os-nuclei')

const guid = '9D371AF3-0189-48A3-AF3B-D108DE6A017F'
const names: readonly [string, object][] = [
  ['9987_B02_s1_w1.TIF', { base: '9987', well: 'B02', site: 1, wave: 1, z: 0, timePoint: 0 }],
  [`IXMtest_D20_s3_w1${guid}.tif`, { base: 'IXMtest', well: 'D20', site: 3, wave: 1 }],
  [`My_long_name_AF48_s16_w12${guid}.tiff`, { base: 'My_long_name', well: 'AF48', wave: 12 }],
  ['P_b7_w2.tif', { well: 'B07', site: 1, wave: 2 }],
  ['P_B07_s04.tif', { site: 4, wave: 1 }],
  ['TimePoint_6/ZStep_2/P_B07_s1_w1.tif', { timePoint: 5, z: 2 }],
  [`P_B07_s1_w1_thumb${guid}.tif`, { thumbnail: true }],
]
for (const [name, parts] of names)
  test(`the name ${name}`, () => {
    const parsed = parseImageXpressName(name)
    assert.ok(typeof parsed === 'object')
    assert.deepEqual({ ...parsed, ...parts }, parsed)
  })

for (const name of [
  'notes.txt',
  'BBBC006_z_aligned__a01__s1__w1_10.png',
  'B7_01_1_3_DAPI_001.tif',
  '9987.HTD',
])
  test(`${name} is no ImageXpress name`, () => {
    assert.equal(parseImageXpressName(name), undefined)
  })

test('a well that no plate has is told, not guessed', () => {
  const parsed = parseImageXpressName('P_Z99_s1_w1.tif')
  assert.match(typeof parsed === 'string' ? parsed : '', /"Z99" is no well/)
})

test(
  'the real plate: 36 files, declared 2 × 2 × 3 × 4 with Cy5 and the projection',
  imagexpress.needs,
  async () => {
    const read = await survey(imagexpress.path)
    assert.equal(read.format, 'imagexpress')
    assert.equal(read.sightings.length, 36)
    assert.deepEqual(read.refusals, [])
    assert.deepEqual(read.layouts, [
      {
        plate: '9987',
        wells: ['B02', 'B03'],
        sites: [1, 2],
        timePoints: [0],
        zPlanes: [0, 1, 2],
        referenceZ: 0,
        channels: [
          { id: 'w1', stain: 'DAPI' },
          { id: 'w2', stain: 'FITC' },
          { id: 'w3', stain: 'Texas Red' },
          { id: 'w4', stain: 'Cy5' },
        ],
      },
    ])
    const z = read.sightings.filter((seen) => seen.origin.endsWith('9987_B02_s1_w1.TIF'))
    assert.deepEqual(
      z.map((seen) => seen.z),
      [0, 1, 2],
    )
  },
)

test(
  'a flat folder without HTD tells no plate; masks beside it are not images',
  bbbc039.needs,
  async () => {
    const read = await survey(bbbc039.path)
    assert.equal(read.sightings.length, 22)
    assert.deepEqual(new Set(read.sightings.map((seen) => seen.plate)), new Set([undefined]))
    assert.deepEqual(read.layouts, [])
  },
)

async function folderOf(files: readonly string[]): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'wellspring-ix-'))
  for (const file of files) {
    await mkdir(join(folder, file, '..'), { recursive: true })
    await writeFile(join(folder, file), '')
  }
  return folder
}

test('thumbnails are left aside, strange TIFFs refused by name', async () => {
  const folder = await folderOf([
    'P_A01_s1_w1.tif',
    'P_A01_s1_w1_thumb.tif',
    'overview.tif',
    'a.txt',
  ])
  const read = await survey(folder)
  assert.deepEqual(
    read.sightings.map((seen) => seen.origin),
    ['P_A01_s1_w1.tif'],
  )
  assert.deepEqual(read.notes, ['1 thumbnails left aside'])
  assert.deepEqual(
    read.refusals.map((refusal) => refusal.origin),
    ['overview.tif'],
  )
})

test('two acquisitions of one plate name are never merged', imagexpress.needs, async () => {
  const folder = await folderOf([
    'one/9987_B02_s1_w1.TIF',
    'two/9987_B02_s1_w1.TIF',
    'two/9987.HTD',
  ])
  await copyFile(join(imagexpress.path, '9987.HTD'), join(folder, 'one/9987.HTD'))
  const other = `"HTSInfoFile", Version 1.0\r\n"XWells", 1\r\n"YWells", 1\r\n"WellsSelection1", TRUE\r\n"UniquePlateIdentifier", "other"\r\n`
  await writeFile(join(folder, 'two/9987.HTD'), other)
  const read = await survey(folder)
  assert.deepEqual(read.sightings, [])
  assert.match(read.refusals[0]?.reason ?? '', /another acquisition of plate "9987".*--acquisition/)
  assert.equal(read.refusals.length, 3)
})

test('a folder of something else is refused, naming a manifest in it', async () => {
  const folder = await folderOf(['r01c01f01p01-ch1.tiff', 'index.csv'])
  await assert.rejects(survey(folder), /no images named as ImageXpress.*index\.csv/)
  await assert.rejects(survey(join(folder, 'none')), /no such folder or file/)
  await assert.rejects(
    survey(join(folder, 'r01c01f01p01-ch1.tiff')),
    /neither a folder nor a \.csv/,
  )
})
