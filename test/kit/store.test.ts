import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { create } from '@bufbuild/protobuf'
import { ArtifactSchema, type Artifact } from '#proto/wellspring/lab/v1/artifact_pb.ts'
import type { CallContext } from '#proto/wellspring/step/v1/call_pb.ts'
import {
  SegmentNucleiRequestSchema,
  SegmentNucleiService,
  type SegmentNucleiRequest,
} from '#proto/wellspring/steps/nuclei/v1/segment_nuclei_pb.ts'
import { openEffects } from '../../services/kit/effects.ts'
import { makeTemporary, openStore, publish } from '../../services/kit/store.ts'
import { startSegment, text } from './segment.ts'
import { begin, contextOf, scratch } from './support.ts'

const { segmentNuclei } = SegmentNucleiService.method

function artifactAt(path: string, bytes: string = text): Artifact {
  const sha256 = createHash('sha256').update(bytes).digest('hex')
  const uri = pathToFileURL(path).href
  return create(ArtifactSchema, { uri, sizeBytes: bytes.length, sha256, mediaType: 'image/tiff' })
}

function requestFor(image: Artifact, key = '1'): SegmentNucleiRequest {
  return create(SegmentNucleiRequestSchema, { context: contextOf(key), nucleiImage: image })
}

const asText = (content: string): { bytes: Buffer; mediaType: string } => ({
  bytes: Buffer.from(content),
  mediaType: 'text/csv',
})

/** Publishes one file of a program, from a temporary directory of the store or from elsewhere. */
async function publishFile(store: string, path: string, movable: readonly string[] = []) {
  const files = { out: { path, mediaType: 'text/csv' } }
  return await publish({ store, context: contextOf('1'), movable, bytesMax: 1_000 }, files)
}

test('published files are whole, in their place, and nothing else is left', async (t) => {
  const store = scratch(t)
  const { client } = await startSegment(t, store, async () => {})
  const request = requestFor(artifactAt('/x'))
  const { labels, table } = await begin(client, segmentNuclei, request).answer
  assert.ok(labels && table)
  const path = fileURLToPath(labels.uri)
  const key = '1'.padStart(32, '0')
  assert.equal(path, join(store, 'E1/P1/a1/B07/t0/s2/z0/DNA/echo', key, 'labels.tiff'))
  assert.equal(readFileSync(path, 'utf8'), text)
  assert.deepEqual(labels, artifactAt(path))
  assert.equal(table.sizeBytes, 4)
  assert.deepEqual(readdirSync(join(store, '.tmp')), [])
})

test('a restarted or another replica returns the answer on record and does no work', async (t) => {
  const store = scratch(t)
  const request = requestFor(artifactAt('/x'))
  const first = await startSegment(t, store, async () => {})
  const answer = await begin(first.client, segmentNuclei, request).answer
  await first.drain()
  const second = await startSegment(t, store, () => assert.fail('worked again'))
  assert.deepEqual(await begin(second.client, segmentNuclei, request).answer, answer)
})

test('of two replicas at work on one key, the loser returns what the winner published', async (t) => {
  const store = scratch(t)
  const slowMayGo = Promise.withResolvers<void>()
  const slowIsIn = Promise.withResolvers<void>()
  const fast = await startSegment(t, store, async () => {})
  const slow = await startSegment(t, store, async () => {
    slowIsIn.resolve()
    await slowMayGo.promise
  })
  const request = requestFor(artifactAt('/x'))
  const loser = begin(slow.client, segmentNuclei, request)
  await slowIsIn.promise
  const winner = await begin(fast.client, segmentNuclei, request).answer
  writeFileSync(fileURLToPath(winner.table?.uri ?? ''), 'the winner')
  slowMayGo.resolve()
  assert.deepEqual(await loser.answer, winner)
  assert.equal(readFileSync(fileURLToPath(winner.table?.uri ?? ''), 'utf8'), 'the winner')
})

test('without the record, files that an earlier attempt published are described, not replaced', async (t) => {
  const store = scratch(t)
  const options = { store, context: contextOf('1'), movable: [] }
  const first = await publish(options, { 'a.csv': asText('first') })
  const second = await publish(options, { 'a.csv': asText('second!') })
  assert.deepEqual(second, first)
  assert.equal(readFileSync(fileURLToPath(first['a.csv'].uri), 'utf8'), 'first')
  assert.equal(dirname(fileURLToPath(first['a.csv'].uri)).startsWith(store), true)
})

test('of many that publish at once one wins, and all describe its files', async (t) => {
  const store = scratch(t)
  const one = async (n: number): Promise<string> => {
    const file = asText(String(n))
    const files = await publish({ store, context: contextOf('1'), movable: [] }, { file })
    return files.file.sha256
  }
  const digests = await Promise.all([1, 2, 3, 4, 5, 6].map(one))
  assert.equal(new Set(digests).size, 1)
  assert.deepEqual(readdirSync(join(store, '.tmp')), [])
})

test('what a killed process left is swept a day later, not before', async (t) => {
  const store = scratch(t)
  for (const name of ['old', 'new'])
    await mkdir(join(store, '.tmp', name, 'x'), { recursive: true })
  const dayAgo = Date.now() / 1_000 - 25 * 3_600
  utimesSync(join(store, '.tmp', 'old'), dayAgo, dayAgo)
  await openStore(store)
  assert.deepEqual(readdirSync(join(store, '.tmp')), ['new'])
})

test('what a program has closed to its own user is swept too, and stops no start', async (t) => {
  const store = scratch(t)
  const closed = join(store, '.tmp', 'old', 'a', 'b')
  mkdirSync(closed, { recursive: true })
  writeFileSync(join(closed, 'c'), '')
  const dayAgo = Date.now() / 1_000 - 25 * 3_600
  utimesSync(join(store, '.tmp', 'old'), dayAgo, dayAgo)
  const { href } = new URL('../../services/kit/store.ts', import.meta.url)
  const script = `
    const { chmodSync } = await import('node:fs')
    const { openStore } = await import(${JSON.stringify(href)})
    chmodSync(process.env.CLOSED, 0)
    await openStore(process.env.STORE)`
  // Root may remove whatever it likes: somebody else is to try.
  const other = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {}
  if ('uid' in other) execFileSync('chown', ['-R', '65534:65534', store])
  const env = { ...process.env, STORE: store, CLOSED: closed }
  const args = ['--input-type=module', '-e', script]
  execFileSync(process.execPath, args, { env, cwd: '/', ...other })
  assert.deepEqual(readdirSync(join(store, '.tmp')), [])
})

test('no entity, step or file name leads out of the store', async (t) => {
  const store = join(scratch(t), 'store')
  await mkdir(store)
  const put = (over: Partial<CallContext>, name = 'x'): Promise<unknown> =>
    publish({ store, context: contextOf('1', over), movable: [] }, { [name]: asText('x') })
  for (const entity of ['/etc', 'a//b', 'a b', 'a\0b', 'a\nb', 'a/'.repeat(2_000) + 'a'])
    await assert.rejects(put({ entity }), /cannot name/)
  await assert.rejects(put({ step: 'a/b' }), /cannot name/)
  for (const name of ['../x', '.hidden', 'a/b', ''])
    await assert.rejects(put({}, name), /want a file name/)
  assert.deepEqual(readdirSync(store), [])
  for (const entity of ['../../x', './P/a', '.tmp/P/a', '%2e%2e/P/a', '.answers/ab/a'])
    await put({ entity, step: '..' })
  assert.deepEqual(readdirSync(dirname(store)), ['store'])
})

test('no two entities share a place, and none lies where the store keeps its own', async (t) => {
  const store = scratch(t)
  const names = ['effects', '.answers', '.tmp', '.', '..', '%2E', '%2e', '%', '%25', '%252E', 'E']
  const places = new Set<string>()
  for (const experiment of names) {
    const context = contextOf('1', { entity: `${experiment}/ab/a1` })
    const options = { store, context, movable: [] }
    const { file } = await publish(options, { file: asText(experiment) })
    assert.equal(readFileSync(fileURLToPath(file.uri), 'utf8'), experiment)
    places.add(file.uri)
  }
  assert.equal(places.size, names.length)
  assert.deepEqual(readdirSync(join(store, '.tmp')), [])
  assert.equal(existsSync(join(store, '.answers')), false)
  // A directory where version 0.1 would have had a record is no record.
  const key = 'ab'.padEnd(32, '0')
  await mkdir(join(store, 'effects', 'ab', `${key}.binpb`))
  const binding = { entity: 'e', step: 's', generation: 1, input: '', type: 't' }
  assert.equal(await openEffects(store).read(key, binding), undefined)
})

test('publish follows no link of a program: neither the file nor its folder nor the place', async (t) => {
  const [store, outside] = [scratch(t), scratch(t)]
  await openStore(store)
  writeFileSync(join(outside, 'secret'), 'secret')
  for (const isMovable of [true, false]) {
    const folder = isMovable ? await makeTemporary(store) : scratch(t)
    const movable = isMovable ? [folder] : []
    symlinkSync(join(outside, 'secret'), join(folder, 'link'))
    await assert.rejects(publishFile(store, join(folder, 'link'), movable), /no regular file/)
    if (isMovable) {
      symlinkSync(outside, join(folder, 'out'))
      await assert.rejects(
        publishFile(store, join(folder, 'out', 'secret'), movable),
        /behind a link that leads elsewhere/,
      )
    }
  }
  assert.deepEqual(readdirSync(outside), ['secret'], 'it was moved away')
  const file = join(await makeTemporary(store), 'file')
  writeFileSync(file, 'x')
  symlinkSync(outside, join(store, 'E1'))
  await assert.rejects(publishFile(store, file, [dirname(file)]), /leads through a link/)
  assert.deepEqual(readdirSync(outside), ['secret'])
})

test('a store that is given other places by links stays the one it is', async (t) => {
  const [store, outside] = [scratch(t), scratch(t)]
  symlinkSync(outside, join(store, '.tmp'))
  await assert.rejects(openStore(store), /no directory|link/)
  const other = scratch(t)
  await openStore(other)
  symlinkSync(outside, join(other, '.answers'))
  const binding = { entity: 'e', step: 's', generation: 1, input: '', type: 't' }
  await assert.rejects(openEffects(other).write('ab'.repeat(16), binding, Buffer.from('x')), /link/)
  // Where a winner's files would be, a link to a folder that has one of that name.
  const target = join(outside, 'P1/a1/B07/t0/s2/z0/DNA/echo', '1'.padStart(32, '0'))
  mkdirSync(target, { recursive: true })
  writeFileSync(join(target, 'out'), 'foreign')
  symlinkSync(outside, join(other, 'E1'))
  writeFileSync(join(outside, 'x'), 'x')
  await assert.rejects(publishFile(other, join(outside, 'x')), /none of the roots|link/)
})

test('what a program puts out must be a file of bounded size', async (t) => {
  const store = scratch(t)
  await openStore(store)
  for (const isMovable of [true, false]) {
    const folder = isMovable ? await makeTemporary(store) : scratch(t)
    const movable = isMovable ? [folder] : []
    execFileSync('mkfifo', [join(folder, 'pipe')])
    mkdirSync(join(folder, 'folder'))
    writeFileSync(join(folder, 'sparse'), '')
    truncateSync(join(folder, 'sparse'), 1024 ** 4)
    const refusals: readonly (readonly [string, RegExp])[] = [
      ['pipe', /no regular file/],
      ['folder', /no regular file/],
      ['sparse', /more than 1000 bytes/],
      ['none', /not there|does not exist/],
    ]
    for (const [name, why] of refusals)
      await assert.rejects(publishFile(store, join(folder, name), movable), why)
  }
  assert.deepEqual(
    readdirSync(store).filter((name) => !name.startsWith('.')),
    [],
  )
})

test('a directory that is everybody’s by its sticky bit is not closed', async (t) => {
  const store = join(scratch(t), 'tmp')
  mkdirSync(store)
  chmodSync(store, 0o1777)
  await openStore(store)
  assert.equal(statSync(store).mode & 0o7777, 0o1777)
  assert.equal(statSync(join(store, '.tmp')).mode & 0o777, 0o700)
})

test('all of a store is readable by its owner alone, whatever the umask', async (t) => {
  const before = process.umask(0)
  t.after(() => process.umask(before))
  const store = join(scratch(t), 'store')
  mkdirSync(store, { mode: 0o777 })
  mkdirSync(join(store, '.tmp'), { mode: 0o777 })
  const { client } = await startSegment(t, store, async () => {})
  await begin(client, segmentNuclei, requestFor(artifactAt('/x'))).answer
  const entries = readdirSync(store, { recursive: true, encoding: 'utf8' })
  assert.ok(entries.some((name) => name.endsWith('labels.tiff')))
  const open = ['.', ...entries].filter((name) => (statSync(join(store, name)).mode & 0o077) !== 0)
  assert.deepEqual(open, [])
})
