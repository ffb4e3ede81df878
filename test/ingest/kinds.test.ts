import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { entityKey } from '@wellspring/lab/entity.ts'
import { surveyCsv } from '../../ingest/csv.ts'
import { artifactOf } from '../../ingest/digest.ts'
import { planOf } from '../../ingest/plan.ts'
import { resolveSurvey, type Resolved, type ResolveOptions } from '../../ingest/resolve.ts'
import { survey } from '../../ingest/survey.ts'
import { height, readKinds, refusedKinds, width } from '../formats/kinds.ts'
import { ramp, tiffFile, type Page } from '../formats/tiff-file.ts'
import { realSet } from './data.ts'

const folder = await mkdtemp(join(tmpdir(), 'wellspring-kinds-'))
after(() => rm(folder, { recursive: true }))
const multipage = realSet('cases/04-multipage')
const frames = realSet('cases/03-loaddata-frame')

type Options = Omit<ResolveOptions, 'experiment'>
const resolve = async (path: string, options: Options = {}): Promise<Resolved> =>
  resolveSurvey(await survey(path), { experiment: 'E', ...options })

/** A manifest of files, a site each. */
async function manifest(files: readonly Buffer[], more = ''): Promise<string> {
  const rows: string[] = []
  for (const [site, file] of files.entries()) {
    await writeFile(join(folder, `${site}.tif`), file)
    rows.push(`${site}.tif,P,A01,${site},DAPI${more === '' ? '' : ',32768'}`)
  }
  await writeFile(
    join(folder, 'm.csv'),
    `path,plate,well,site,channel${more}\n${rows.join('\n')}\n`,
  )
  return join(folder, 'm.csv')
}

test('files of every unsupported kind are refused one by one, before anything is announced', async () => {
  const { plates, refusals } = await resolve(await manifest(refusedKinds.map(({ file }) => file)))
  assert.equal(refusals.length, refusedKinds.length)
  for (const [i, { name, why }] of refusedKinds.entries()) {
    const { origin, reason } = refusals[i] ?? { origin: '', reason: '' }
    assert.equal(origin, `m.csv:${i + 2}`)
    assert.match(
      reason,
      /^unsupported kind, .*what is read: .*: export it as one file a plane$/,
      name,
    )
    assert.match(reason, why, name)
  }
  const [plate] = plates
  assert.deepEqual(plate?.images, [])
  assert.equal(plate?.promised.length, refusedKinds.length, 'what was promised stays in the plan')
})

test('files of every kind that is read are announced', async () => {
  const some = readKinds.filter((_, i) => i % 5 === 0)
  const { plates, refusals } = await resolve(await manifest(some.map(({ file }) => file)))
  assert.deepEqual(refusals, [])
  assert.equal(plates[0]?.images.length, some.length)
})

test('a claim beyond the limits is refused; what is broken is announced, and judged as such', async () => {
  const fields = [256, 257].map((tag) => ({ tag, type: 4, values: [100_000] }) as const)
  const files = [
    tiffFile([{ width, height, fields }]),
    tiffFile([{ width, height }], { loopTo: 0 }),
    tiffFile([
      { width, height },
      { width, height },
    ]).subarray(0, -40),
    Buffer.from('<html>503'),
    Buffer.alloc(0),
  ]
  const { plates, refusals } = await resolve(await manifest(files))
  assert.deepEqual(
    refusals.map(({ origin, reason }) => `${origin} ${reason.slice(0, 20)}`),
    ['m.csv:2 beyond the limits: 1'],
  )
  assert.equal(plates[0]?.images.length, 4)
})

test('a named pipe in a file’s place is refused, and waited for by nobody', async () => {
  const pipe = join(folder, 'pipe.tif')
  execFileSync('mkfifo', [pipe])
  await writeFile(join(folder, 'p.csv'), 'path,plate,well,site,channel\npipe.tif,P,A01,1,DAPI\n')
  const { plates } = await resolve(join(folder, 'p.csv'))
  const [image] = plates[0]?.images ?? []
  await assert.rejects(artifactOf(image?.sighting.path ?? ''), /no regular file/)
  await assert.rejects(surveyCsv(pipe), /no regular file/)
})

test('tables and plate descriptions that are too large are refused unread, saying what to do', async () => {
  const csv = join(folder, 'large.csv')
  await writeFile(csv, 'path,plate,well,site,channel\n')
  await truncate(csv, 200 * 1024 * 1024)
  await assert.rejects(surveyCsv(csv), /large\.csv has 209715200 bytes, more than .*split it/)
  const wide = join(folder, 'wide.csv')
  await writeFile(wide, `${Array.from({ length: 5_000 }, (_, i) => `c${i}`).join(',')}\n`)
  await assert.rejects(
    surveyCsv(wide),
    /wide\.csv cannot be read as CSV: it has 5000 columns, more than 4096/,
  )
  const endless = join(folder, 'endless.csv')
  await writeFile(endless, `path,plate\n"${'a'.repeat(3 * 1024 * 1024)}`)
  await assert.rejects(surveyCsv(endless), /endless\.csv cannot be read as CSV: .*[Rr]ecord/)
  const plate = await mkdtemp(join(folder, 'plate-'))
  await writeFile(join(plate, 'P_B02_s1_w1.tif'), tiffFile([{ width, height }]))
  await writeFile(join(plate, 'P.HTD'), '"HTSInfoFile", Version 1.0\r\n')
  await truncate(join(plate, 'P.HTD'), 5 * 1024 * 1024)
  const { refusals } = await survey(plate)
  assert.match(refusals[0]?.reason ?? '', /P\.HTD has 5242880 bytes, more than .*no HTD file/)
})

const page: Page = { width, height, samples: ramp(width, height, 30_000) }
const signed = { ...page, description: 'ImageJ=1.54p\ncf=0\nc0=-32768\nc1=1\nvunit=Gray Value\n' }
const offsetsOf = ({ plates }: Resolved): unknown => ({
  plan: plates.flatMap((plate) => planOf(plate).channels.map((channel) => channel.pixelOffset)),
  images: plates.flatMap((plate) => plate.images.map((image) => image.channel.pixelOffset)),
})

test('the pixel offset that a file states goes into the plan and with every image', async () => {
  const resolved = await resolve(await manifest([tiffFile([signed]), tiffFile([signed])]))
  assert.deepEqual(offsetsOf(resolved), { plan: [32_768], images: [32_768, 32_768] })
  assert.match(resolved.notes.join('\n'), /32768 is subtracted from every pixel of channel DAPI/)
})

test('files that state different ones keep their own, and it is said', async () => {
  const resolved = await resolve(await manifest([tiffFile([signed]), tiffFile([page])]))
  assert.deepEqual(offsetsOf(resolved), { plan: [0], images: [32_768, 0] })
  assert.match(resolved.notes.join('\n'), /different pixel offsets \(32768, 0\)/)
})

test('images as ScanR writes them are noted: they do not say what they are', async () => {
  const software = (text: string): Page => ({
    ...page,
    fields: [{ tag: 305, type: 2, values: Buffer.from(`${text}\0`) }],
  })
  const scanr = tiffFile([software('National Instruments IMAQ   ')])
  const { notes } = await resolve(await manifest([scanr]))
  assert.match(notes.join('\n'), /begin at 32768, say --pixel-offset "DAPI=32768"/)
  const offsets = { every: 32_768, byChannel: new Map<string, number>() }
  const told = await resolve(await manifest([scanr]), { pixelOffsets: offsets })
  assert.doesNotMatch(told.notes.join('\n'), /say --pixel-offset/)
  const other = await resolve(await manifest([tiffFile([software('tifffile.py')])]))
  assert.deepEqual(other.notes, [])
})

test('a column states it, a flag where no column does, and a file only where nobody does', async () => {
  const column = await manifest([tiffFile([page])], ',pixel_offset')
  assert.deepEqual(offsetsOf(await resolve(column)), { plan: [32_768], images: [32_768] })
  const every = { every: 100, byChannel: new Map<string, number>() }
  assert.deepEqual(offsetsOf(await resolve(column, { pixelOffsets: every })), {
    plan: [32_768],
    images: [32_768],
  })
  const plain = await manifest([tiffFile([signed])])
  assert.deepEqual(offsetsOf(await resolve(plain, { pixelOffsets: every })), {
    plan: [100],
    images: [100],
  })
  const byChannel = { every: undefined, byChannel: new Map([['DAPI', 7]]) }
  assert.deepEqual(offsetsOf(await resolve(plain, { pixelOffsets: byChannel })), {
    plan: [7],
    images: [7],
  })
  const unknown = { every: undefined, byChannel: new Map([['w9', 7]]) }
  await assert.rejects(resolve(plain, { pixelOffsets: unknown }), /no channel "w9"; there are DAPI/)
})

test('LoadData: an offset a channel, a wrong one refused; frames and series other than 0 refused', async () => {
  await writeFile(join(folder, 'a.tif'), tiffFile([page]))
  const header = ['DNA', 'ER'].flatMap((name) =>
    ['FileName', 'Frame', 'Series', 'Metadata_PixelOffset'].map((column) => `${column}_${name}`),
  )
  await writeFile(
    join(folder, 'load.csv'),
    `${header.join(',')},Metadata_Plate,Metadata_Well,Metadata_Site\n` +
      'a.tif,0,0,32768,a.tif,,,,P,A01,1\n' +
      'a.tif,1,0,,a.tif,0,2,,P,A01,2\n' +
      'a.tif,0,0,70000,a.tif,0,0,many,P,A01,3\n',
  )
  const read = await surveyCsv(join(folder, 'load.csv'))
  assert.deepEqual(
    read.sightings.map((seen) => [seen.channel, seen.pixelOffset]),
    [
      ['DNA', 32_768],
      ['ER', undefined],
    ],
  )
  const reasons = read.refusals.map(({ origin, reason }) => `${origin}: ${reason}`)
  assert.match(
    reasons[0] ?? '',
    /load\.csv:3 DNA: Frame_DNA is 1: only files of one plane are read/,
  )
  assert.match(reasons[1] ?? '', /load\.csv:3 ER: Series_ER is 2/)
  assert.match(reasons[2] ?? '', /"70000" is no pixel offset: want 0 to 65535/)
  assert.match(reasons[3] ?? '', /"many" is no pixel offset/)
})

test(
  'of real files, plain, thumbnail and pyramid are announced, stacks are not',
  multipage.needs,
  async () => {
    const { plates, refusals } = await resolve(join(multipage.path, 'manifest.csv'))
    assert.deepEqual(
      plates[0]?.images.map((image) => entityKey(image.identity).slice(0, -11)),
      ['E/PL4/a1/D01/t0', 'E/PL4/a1/D05/t0', 'E/PL4/a1/D06/t0'],
    )
    assert.deepEqual(
      refusals.map(({ origin }) => origin),
      ['manifest.csv:3', 'manifest.csv:4', 'manifest.csv:5'],
    )
    for (const { reason } of refusals) assert.match(reason, /more than one full page/)
  },
)

test(
  'real LoadData with frames: the second frame by its row, the first by its file',
  frames.needs,
  async () => {
    const { plates, refusals } = await resolve(join(frames.path, 'load_data.csv'))
    assert.deepEqual(plates[0]?.images, [])
    assert.equal(refusals.length, 2)
    for (const { reason } of refusals) assert.match(reason, /more than one full page/)
    const read = await surveyCsv(join(frames.path, 'load_data.csv'))
    assert.deepEqual(
      read.refusals.map(({ origin, reason }) => `${origin} ${reason.slice(0, 13)}`),
      ['load_data.csv:2 ER Frame_ER is 1', 'load_data.csv:3 ER Frame_ER is 1'],
    )
  },
)
