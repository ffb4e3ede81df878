import assert from 'node:assert/strict'
import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { ChannelKind } from '#proto/wellspring/lab/v1/identity_pb.ts'
import { entityKey } from '@wellspring/lab/entity.ts'
import { parseChannels } from '../../ingest/channels.ts'
import { resolveSurvey, type Resolved, type ResolveOptions } from '../../ingest/resolve.ts'
import { survey } from '../../ingest/survey.ts'
import { realSet } from './data.ts'

const bbbc039 = realSet('bbbc039-u2os-nuclei')
const imagexpress = realSet('imagexpress-9987-3434')
const opera = realSet('opera-phenix-br00121482')

async function resolvePath(
  path: string,
  options: Omit<ResolveOptions, 'experiment'> = {},
): Promise<Resolved> {
  return resolveSurvey(await survey(path), { experiment: 'E', ...options })
}

const keysOf = (resolved: Resolved): string[] =>
  resolved.plates.flatMap((plate) => plate.images.map((image) => entityKey(image.identity)))

test(
  'bbbc039: plates by barcode, NOCODE refused by name, both F22 s6 apart',
  bbbc039.needs,
  async () => {
    const resolved = await resolvePath(join(bbbc039.path, 'images'))
    const keys = keysOf(resolved)
    assert.equal(keys.length, 14)
    assert.equal(resolved.refusals.length, 8)
    for (const refusal of resolved.refusals)
      assert.match(refusal.reason, /its barcode reads NOCODE; say --plate/)
    assert.deepEqual(
      keys.filter((key) => key.includes('/F22/')),
      ['E/BR00021344/a1/F22/t0/s6/z0/w1', 'E/BR00021381/a1/F22/t0/s6/z0/w1'],
    )
    assert.equal(resolved.plates.length, 9)
  },
)

test('bbbc039: --plate takes in the NOCODE images and moves no other', bbbc039.needs, async () => {
  const resolved = await resolvePath(join(bbbc039.path, 'images'), { plate: 'NOCODE-2010' })
  assert.deepEqual(resolved.refusals, [])
  const images = new Map(resolved.plates.map((plate) => [plate.entity, plate.images.length]))
  assert.equal(images.get('E/NOCODE-2010/a1'), 8)
  assert.equal(images.get('E/BR00021347/a1'), 3)
})

test('bbbc039: the kind of w1 is told by the illumination in the file', bbbc039.needs, async () => {
  const resolved = await resolvePath(join(bbbc039.path, 'images'))
  for (const plate of resolved.plates)
    assert.deepEqual(
      plate.channels.map((channel) => [channel.name, channel.kind]),
      [['w1', ChannelKind.NUCLEI]],
    )
})

test(
  'imagexpress: channels of the HTD with kinds by wave name, Cy5 among them',
  imagexpress.needs,
  async () => {
    const { plates, refusals } = await resolvePath(imagexpress.path)
    assert.deepEqual(refusals, [])
    assert.deepEqual(
      plates[0]?.channels.map((channel) => [channel.name, channel.kind]),
      [
        ['w1', ChannelKind.NUCLEI],
        ['w2', ChannelKind.FLUORESCENCE],
        ['w3', ChannelKind.FLUORESCENCE],
        ['w4', ChannelKind.FLUORESCENCE],
      ],
    )
  },
)

test(
  'opera: kinds by --channels, and a note for each channel that stays unknown',
  opera.needs,
  async () => {
    const channels = parseChannels('ch5=nuclei,ch6=brightfield')
    const { plates, notes } = await resolvePath(join(opera.path, 'manifest.csv'), { channels })
    assert.deepEqual(
      plates[0]?.channels.map((channel) => channel.kind),
      [0, 0, 0, 0, ChannelKind.NUCLEI, ChannelKind.BRIGHTFIELD],
    )
    assert.equal(notes.length, 4)
  },
)

test('--channels of a channel that is not there is a mistake', opera.needs, async () => {
  const channels = parseChannels('w9=nuclei')
  await assert.rejects(
    resolvePath(join(opera.path, 'manifest.csv'), { channels }),
    /there is no channel "w9"; there are ch1, ch2/,
  )
})

/** A folder with files of the given contents and a manifest of the given rows. */
async function plate(files: Readonly<Record<string, string>>, rows: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'wellspring-resolve-'))
  for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content)
  await writeFile(join(folder, 'm.csv'), `path,plate,well,site,channel\n${rows}`)
  return join(folder, 'm.csv')
}

test('one identity with two contents: both refused, each naming the other, neither merged', async () => {
  const file = await plate({ 'a.tif': '1', 'b.tif': '2' }, 'a.tif,P,A01,1,w1\nb.tif,P,a1,01,w1\n')
  const resolved = await resolvePath(file)
  assert.deepEqual(keysOf(resolved), [])
  assert.deepEqual(
    resolved.refusals.map((refusal) => [refusal.origin, refusal.reason.replace(/^.*to be /, '')]),
    [
      ['m.csv:2', 'E/P/a1/A01/t0/s1/z0/w1: this one and m.csv:3'],
      ['m.csv:3', 'E/P/a1/A01/t0/s1/z0/w1: this one and m.csv:2'],
    ],
  )
  assert.equal(resolved.plates[0]?.promised.length, 2)
})

test('one identity twice with the same bytes is one image', async () => {
  const file = await plate({ 'a.tif': '1', 'b.tif': '1' }, 'a.tif,P,A01,1,w1\nb.tif,P,A01,1,w1\n')
  const resolved = await resolvePath(file)
  assert.equal(keysOf(resolved).length, 1)
  assert.match(resolved.notes[0] ?? '', /1 files of E\/P\/a1 are listed twice/)
})

test('ids with spaces and signs are encoded, in the experiment too', async () => {
  const file = await plate({ 'a.tif': '1' }, 'a.tif,Plate #1,A01,1,Texas Red\n')
  const resolved = await resolveSurvey(await survey(file), { experiment: 'Ünit 1' })
  assert.deepEqual(keysOf(resolved), ['%C3%9Cnit%201/Plate%20%231/a1/A01/t0/s1/z0/Texas%20Red'])
})

test('no plate anywhere: refused with what to say', async () => {
  const file = await plate({ 'a.tif': 'no tiff' }, 'a.tif,,A01,1,w1\ngone.tif,,A01,2,w1\n')
  const resolved = await resolvePath(file)
  assert.match(resolved.refusals[0]?.reason ?? '', /holds no barcode; say --plate/)
  assert.match(resolved.refusals[1]?.reason ?? '', /cannot be read: ENOENT/)
})
