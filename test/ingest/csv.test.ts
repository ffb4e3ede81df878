import assert from 'node:assert/strict'
import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { surveyCsv } from '../../ingest/csv.ts'
import { realSet } from './data.ts'

const nf1 = realSet('nf1-cell-painting')
const opera = realSet('opera-phenix-br00121482')
const imagexpress = realSet('imagexpress-9987-3434')

async function csv(text: string): Promise<string> {
  const file = join(await mkdtemp(join(tmpdir(), 'wellspring-csv-')), 'manifest.csv')
  await writeFile(file, text)
  return file
}

test(
  'nf1: 15 images, its 10 masks left aside, wells without zero are canonical',
  nf1.needs,
  async () => {
    const read = await surveyCsv(join(nf1.path, 'manifest.csv'))
    assert.equal(read.sightings.length, 15)
    assert.deepEqual(read.notes, ['10 rows of kind mask left aside'])
    const first = read.sightings[0]
    assert.equal(first?.path, join(nf1.path, 'images/B7_01_1_3_DAPI_001.tif'))
    assert.deepEqual(
      [first?.plate, first?.well, first?.site, first?.channel],
      ['Plate_2', 'B07', 3, 'DAPI'],
    )
    assert.equal(first?.claimed.sizeBytes, 516714)
  },
)

test('opera: the plane column is z', opera.needs, async () => {
  const read = await surveyCsv(join(opera.path, 'manifest.csv'))
  assert.deepEqual(
    read.sightings.map((seen) => [seen.well, seen.z, seen.channel]),
    [
      ['A01', 1, 'ch1'],
      ['A01', 1, 'ch2'],
      ['A01', 1, 'ch3'],
      ['A01', 1, 'ch4'],
      ['A01', 1, 'ch5'],
      ['A01', 1, 'ch6'],
    ],
  )
})

test(
  'imagexpress by its CSV: time points of instruments count from 1',
  imagexpress.needs,
  async () => {
    const read = await surveyCsv(join(imagexpress.path, 'manifest.csv'))
    assert.equal(read.sightings.length, 36)
    assert.deepEqual(new Set(read.sightings.map((seen) => seen.timePoint)), new Set([0]))
    assert.deepEqual(new Set(read.sightings.map((seen) => seen.z)), new Set([0, 1, 2]))
  },
)

test(
  'LoadData: paths of another machine are found below --root by their names',
  opera.needs,
  async () => {
    const root = join(opera.path, 'Images')
    const read = await surveyCsv(join(opera.path, 'load_data.csv'), { root })
    assert.equal(read.format, 'loaddata')
    assert.deepEqual(
      read.sightings.map((seen) => [seen.channel, seen.stain]),
      [
        ['OrigRNA', '488 long'],
        ['OrigER', 'Alexa 488'],
        ['OrigAGP', 'Alexa 568'],
        ['OrigMito', 'Alexa 647'],
        ['OrigBrightfield', 'Brightfield'],
        ['OrigDNA', 'HOECHST 33342'],
      ],
    )
    assert.equal(read.sightings[5]?.path, join(root, 'r01c01f01p01-ch5sk1fk1fl1.tiff'))
    assert.deepEqual(new Set(read.sightings.map((seen) => seen.z)), new Set([1]))
  },
)

test('LoadData: a file: URL is its path, another URL is refused', async () => {
  const file = await csv(
    'URL_DNA,FileName_ER,PathName_ER,Metadata_Plate,Metadata_Well,Metadata_Site\n' +
      'file:///d/a%20b.tif,e.tif,/abs,P1,a1,04\nhttp://host/a.tif,,,P1,A02,1\n',
  )
  const read = await surveyCsv(file)
  assert.deepEqual(
    read.sightings.map((seen) => [seen.path, seen.well, seen.site]),
    [
      ['/d/a b.tif', 'A01', 4],
      ['/abs/e.tif', 'A01', 4],
    ],
  )
  assert.deepEqual(
    read.refusals.map((refusal) => refusal.origin),
    ['manifest.csv:3 DNA', 'manifest.csv:3 ER'],
  )
})

test('LoadData: a file: URL that names no file of this machine is refused, the next row is read', async () => {
  const file = await csv(
    'URL_DNA,Metadata_Plate,Metadata_Well,Metadata_Site\n' +
      'file://host/a.tif,P1,A01,1\nfile:///a%2Fb.tif,P1,A02,1\nfile:///c.tif,P1,A03,1\n',
  )
  const read = await surveyCsv(file)
  assert.deepEqual([read.refusals.length, read.sightings.map((seen) => seen.path)], [2, ['/c.tif']])
})

test('a byte order mark, quotes, CRLF and spaces in names are read', async () => {
  const file = await csv(
    '\uFEFFpath,plate,well,site,channel\r\n"a, b #1.tif",P 1,r02c07,04,Texas Red\r\n',
  )
  const read = await surveyCsv(file)
  const seen = read.sightings[0]
  assert.equal(seen?.path.endsWith('/a, b #1.tif'), true)
  assert.deepEqual(
    [seen?.plate, seen?.well, seen?.site, seen?.channel],
    ['P 1', 'B07', 4, 'Texas Red'],
  )
})

for (const well of ['B7', 'b7', 'B07', 'b07', 'r02c07', 'R2C7'])
  test(`the well ${well} is B07`, async () => {
    const read = await surveyCsv(await csv(`path,plate,well,site,channel\na.tif,P,${well},1,w1\n`))
    assert.equal(read.sightings[0]?.well, 'B07')
  })

const wrong: readonly [string, string, RegExp][] = [
  ['well', 'a.tif,P,Z99,1,w1,1,1', /"Z99" is no well/],
  ['missing well', 'a.tif,P,,1,w1,1,1', /"" is no well/],
  ['site', 'a.tif,P,A01,one,w1,1,1', /"one" is no site number/],
  ['negative site', 'a.tif,P,A01,-1,w1,1,1', /"-1" is no site number/],
  ['z', 'a.tif,P,A01,1,w1,top,1', /"top" is no z plane/],
  ['time', 'a.tif,P,A01,1,w1,1,noon', /"noon" is no time point/],
  ['channel', 'a.tif,P,A01,1,,1,1', /the channel is empty/],
  ['path', ',P,A01,1,w1,1,1', /the path is empty/],
  ['short row', 'a.tif,P', /"" is no well/],
]
for (const [what, row, reason] of wrong)
  test(`a row with a wrong ${what} is refused with its line, the next one is read`, async () => {
    const file = await csv(
      `path,plate,well,site,channel,z,timepoint\n${row}\nb.tif,P,A02,1,w1,1,1\n`,
    )
    const read = await surveyCsv(file)
    assert.equal(read.refusals[0]?.origin, 'manifest.csv:2')
    assert.match(read.refusals[0]?.reason ?? '', reason)
    assert.deepEqual(
      read.sightings.map((seen) => seen.well),
      ['A02'],
    )
  })

test('a CSV of something else names the columns it would need', async () => {
  await assert.rejects(
    surveyCsv(await csv('a,b\n1,2\n')),
    /want columns path, plate, well.*found a, b/,
  )
  await assert.rejects(surveyCsv(await csv('')), /found no rows/)
})
