import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtemp, readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { fromBinary } from '@bufbuild/protobuf'
import { CommandSchema, ImageAcquiredSchema } from '#proto/wellspring/record/v1/input_pb.ts'
import { entityKey } from '@wellspring/lab/entity.ts'
import { announcePlate, type Announced, type Announcement } from '../../ingest/announce.ts'
import { planOf } from '../../ingest/plan.ts'
import { resolveSurvey } from '../../ingest/resolve.ts'
import { survey } from '../../ingest/survey.ts'
import { realSet } from './data.ts'

const imagexpress = realSet('imagexpress-9987-3434')
const broken = realSet('broken-files')

/** Announces the only plate of a source into a list. */
async function announceInto(path: string): Promise<{ sent: Announcement[]; announced: Announced }> {
  const resolved = await resolveSurvey(await survey(path), { experiment: 'E' })
  const sent: Announcement[] = []
  const [plate] = resolved.plates
  assert.ok(plate)
  const announcer = {
    announce: async (records: readonly Announcement[]) => void sent.push(...records),
  }
  const options = { application: 'wellspring', author: 'test' }
  const announced = await announcePlate(planOf(plate), plate.images, announcer, options)
  return { sent, announced }
}

test(
  'the plan goes first, then every image with the digest of what is on disk',
  imagexpress.needs,
  async () => {
    const { sent, announced } = await announceInto(imagexpress.path)
    assert.deepEqual(announced, { images: 36, refusals: [] })
    assert.deepEqual(
      sent.map((record) => record.topic),
      ['commands.v1', ...Array.from({ length: 36 }, () => 'images.v1')],
    )
    assert.deepEqual(new Set(sent.map((record) => record.key)), new Set(['E/9987']))
    const [command, first] = sent
    assert.ok(command && first)
    const action = fromBinary(CommandSchema, command.value).action
    assert.equal(action.case, 'plan')
    const image = fromBinary(ImageAcquiredSchema, first.value)
    const bytes = await readFile(fileURLToPath(image.artifact?.uri ?? ''))
    assert.equal(image.artifact?.sizeBytes, bytes.length)
    assert.equal(image.artifact?.sha256, createHash('sha256').update(bytes).digest('hex'))
    assert.equal(first.headers['wellspring-type'], 'wellspring.record.v1.ImageAcquired')
    assert.match(first.headers['traceparent'] ?? '', /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/)
  },
)

test('each image has its own trace, the same on every run', imagexpress.needs, async () => {
  const headers = async (): Promise<unknown[]> =>
    (await announceInto(imagexpress.path)).sent.map((record) => record.headers['traceparent'])
  const once = await headers()
  assert.equal(new Set(once).size, 37)
  assert.deepEqual(await headers(), once)
})

test(
  'broken files are announced as they are: judging bytes is not ingest',
  broken.needs,
  async () => {
    const names = (await readFile(join(broken.path, 'expected_outcomes.csv'), 'utf8'))
      .split('\n')
      .slice(1)
      .flatMap((line) => line.split(',', 1).filter((name) => name !== ''))
    const rows = names.map(
      (name, index) => `${join(broken.path, name)},MIX,A0${(index % 9) + 1},${index},DAPI`,
    )
    const folder = await mkdtemp(join(tmpdir(), 'wellspring-broken-'))
    await writeFile(join(folder, 'm.csv'), `path,plate,well,site,channel\n${rows.join('\n')}\n`)
    const { announced } = await announceInto(join(folder, 'm.csv'))
    assert.deepEqual(announced, { images: 12, refusals: [] })
  },
)

test('a file that is gone or not what its manifest claims is refused and stays in the plan', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'wellspring-claims-'))
  await writeFile(join(folder, 'a.tif'), 'abc')
  const sha = createHash('sha256').update('abc').digest('hex')
  const other = sha.replace(/^./, (digit) => (digit === '0' ? '1' : '0'))
  await writeFile(
    join(folder, 'm.csv'),
    'path,plate,well,site,channel,bytes,sha256\n' +
      `a.tif,P,A01,1,DAPI,3,${sha.toUpperCase()}\n` +
      `a.tif,P,A01,2,DAPI,4,${sha}\n` +
      `a.tif,P,A01,3,DAPI,3,${other}\n` +
      'gone.tif,P,A01,4,DAPI,,\n',
  )
  const { sent, announced } = await announceInto(join(folder, 'm.csv'))
  assert.equal(announced.images, 1)
  assert.deepEqual(
    announced.refusals.map(({ origin, reason }) => `${origin} ${reason.slice(0, 42)}`),
    [
      'm.csv:3 the manifest claims 4 bytes, the file has ',
      `m.csv:4 the manifest claims sha256 ${other.slice(0, 15)}`,
      'm.csv:5 cannot be announced: ENOENT: no such file ',
    ],
  )
  const [command, image] = sent
  assert.ok(command && image)
  const { action } = fromBinary(CommandSchema, command.value)
  assert.deepEqual(action.case === 'plan' && action.value.sites, [1, 2, 3, 4])
  const { identity } = fromBinary(ImageAcquiredSchema, image.value)
  assert.equal(identity && entityKey(identity), 'E/P/a1/A01/t0/s1/z0/DAPI')
})

test('an invalid plan announces nothing and says which field', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'wellspring-invalid-'))
  const rows = Array.from({ length: 300 }, (_, site) => `a.tif,P,A01,${site},DAPI`)
  await writeFile(join(folder, 'm.csv'), `path,plate,well,site,channel\n${rows.join('\n')}\n`)
  await assert.rejects(announceInto(join(folder, 'm.csv')), /PlatePlan|Command is invalid: .*sites/)
})
