import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync, readdirSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { create } from '@bufbuild/protobuf'
import { status } from '@grpc/grpc-js'
import type { Artifact } from '#proto/wellspring/lab/v1/artifact_pb.ts'
import { ArtifactSchema } from '#proto/wellspring/lab/v1/artifact_pb.ts'
import type { SegmentNucleiRequest } from '#proto/wellspring/steps/nuclei/v1/segment_nuclei_pb.ts'
import {
  SegmentNucleiRequestSchema,
  SegmentNucleiService,
} from '#proto/wellspring/steps/nuclei/v1/segment_nuclei_pb.ts'
import { openRoots, publish, sweepTemporary } from '../../services/kit/artifacts.ts'
import { startSegment, text } from './segment.ts'
import { begin, contextOf, refusal, scratch } from './support.ts'

const { segmentNuclei } = SegmentNucleiService.method
const signal = new AbortController().signal

function artifactAt(path: string, bytes: string = text): Artifact {
  const sha256 = createHash('sha256').update(bytes).digest('hex')
  const uri = pathToFileURL(path).href
  return create(ArtifactSchema, { uri, sizeBytes: bytes.length, sha256, mediaType: 'image/tiff' })
}

function requestFor(image: Artifact, key = '1'): SegmentNucleiRequest {
  return create(SegmentNucleiRequestSchema, { context: contextOf(key), nucleiImage: image })
}

test('an artifact is opened only as announced', async (t) => {
  const root = scratch(t)
  const path = join(root, 'image.tiff')
  writeFileSync(path, text)
  const roots = await openRoots([root])
  assert.equal(await roots.open(artifactAt(path), signal), path)
  await assert.rejects(roots.open(artifactAt(path, 'pixel'), signal), /has 6 bytes, announced 5/)
  await assert.rejects(roots.open(artifactAt(path, 'PIXELS'), signal), /has SHA-256 .*, announced/)
  await assert.rejects(roots.open(artifactAt(join(root, 'none')), signal), /does not exist/)
  await assert.rejects(roots.open(artifactAt(root), signal), /under none of the roots/)
})

test('nothing outside the roots is opened, nor its absence told', async (t) => {
  const outside = scratch(t)
  const root = scratch(t)
  writeFileSync(join(outside, 'secret'), text)
  symlinkSync(join(outside, 'secret'), join(root, 'link'))
  const roots = await openRoots([root])
  const refused = { name: 'StepError', message: /under none of the roots/ }
  for (const path of [
    join(outside, 'secret'),
    join(outside, 'missing'),
    join(root, '..', 'missing'),
    join(root, 'link'),
    `${root}-beside`,
  ])
    await assert.rejects(roots.open(artifactAt(path), signal), refused)
  const remote = create(ArtifactSchema, { ...artifactAt(root), uri: 'https://host/x' })
  await assert.rejects(roots.open(remote, signal), /is no file: URI/)
})

test('a root behind a symbolic link serves what lies under it', async (t) => {
  const real = scratch(t)
  const link = join(scratch(t), 'root')
  symlinkSync(real, link)
  writeFileSync(join(real, 'image'), text)
  const roots = await openRoots([link])
  assert.equal(await roots.open(artifactAt(join(link, 'image')), signal), join(real, 'image'))
  await assert.rejects(roots.open(artifactAt(join(link, 'none')), signal), { name: 'NotReady' })
})

test('a missing artifact is the ARTIFACT_NOT_READY of the service', async (t) => {
  const store = scratch(t)
  const { client } = await startSegment(t, store, async ({ nucleiImage }, call) => {
    if (nucleiImage) await call.openArtifact(nucleiImage)
  })
  const request = requestFor(artifactAt(join(store, 'late.tiff')))
  const refused = await refusal(begin(client, segmentNuclei, request).answer)
  assert.equal(refused.info?.reason, 'ARTIFACT_NOT_READY')
  assert.equal(refused.info?.metadata['class'], 'RETRYABLE')
  const outside = requestFor(artifactAt('/etc/hostname'), '2')
  const forbidden = await refusal(begin(client, segmentNuclei, outside).answer)
  assert.equal(forbidden.code, status.INVALID_ARGUMENT)
})

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
  const context = contextOf('1')
  const bytesOf = (content: string): { bytes: Buffer; mediaType: string } => ({
    bytes: Buffer.from(content),
    mediaType: 'text/csv',
  })
  const first = await publish(store, context, { 'a.csv': bytesOf('first') }, [])
  const second = await publish(store, context, { 'a.csv': bytesOf('second!') }, [])
  assert.deepEqual(second, first)
  assert.equal(readFileSync(fileURLToPath(first['a.csv'].uri), 'utf8'), 'first')
  assert.equal(dirname(fileURLToPath(first['a.csv'].uri)).startsWith(store), true)
})

test('of many that publish at once one wins, and all describe its files', async (t) => {
  const store = scratch(t)
  const one = async (n: number): Promise<string> => {
    const file = { bytes: Buffer.from(String(n)), mediaType: 'text/plain' }
    const files = await publish(store, contextOf('1'), { file }, [])
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
  await sweepTemporary(store)
  assert.deepEqual(readdirSync(join(store, '.tmp')), ['new'])
})

test('no entity, step or file name leads out of the store', async (t) => {
  const store = join(scratch(t), 'store')
  await mkdir(store)
  const file = { bytes: Buffer.from('x'), mediaType: 'text/plain' }
  for (const entity of ['../..', '/etc', 'a//b', 'a/./b', 'a b', '.tmp/b'])
    await assert.rejects(publish(store, contextOf('1', { entity }), { file }, []), /cannot name/)
  await assert.rejects(publish(store, contextOf('1', { step: '..' }), { file }, []), /cannot name/)
  for (const name of ['../x', '.hidden', 'a/b', ''])
    await assert.rejects(publish(store, contextOf('1'), { [name]: file }, []), /want a file name/)
  assert.deepEqual(readdirSync(store), [])
})
