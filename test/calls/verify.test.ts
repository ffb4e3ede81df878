import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { pathToFileURL } from 'node:url'
import { create, toBinary } from '@bufbuild/protobuf'
import { ErrorClass } from '#proto/wellspring/contract/v1/errors_pb.ts'
import type { Artifact } from '#proto/wellspring/lab/v1/artifact_pb.ts'
import { ArtifactSchema } from '#proto/wellspring/lab/v1/artifact_pb.ts'
import { EchoImageResponseSchema, EchoService } from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import {
  SegmentNucleiResponseSchema,
  SegmentNucleiService,
} from '#proto/wellspring/steps/nuclei/v1/segment_nuclei_pb.ts'
import { openFiles, responseCheck } from '../../coordinator/calls/verify.ts'

async function store(t: TestContext): Promise<{ root: string; artifact: Artifact }> {
  const root = await mkdtemp(join(tmpdir(), 'verify-'))
  t.after(() => rm(root, { recursive: true }))
  const bytes = Buffer.alloc(200_000, 7)
  const path = join(root, 'labels.png')
  await writeFile(path, bytes)
  const sha256 = createHash('sha256').update(bytes).digest('hex')
  const uri = pathToFileURL(path).href
  const mediaType = 'image/png'
  const artifact = create(ArtifactSchema, { uri, sizeBytes: bytes.length, sha256, mediaType })
  return { root, artifact }
}

async function reasonFor(root: string, labels: Artifact): Promise<[string, string] | undefined> {
  const check = responseCheck(SegmentNucleiService.method.segmentNuclei, openFiles([root], 2))
  const bytes = toBinary(
    SegmentNucleiResponseSchema,
    create(SegmentNucleiResponseSchema, { labels }),
  )
  const failure = await check(bytes)
  return failure && [failure.reason, failure.message]
}

test('an output that is there, whole and the same is believed', async (t) => {
  const { root, artifact } = await store(t)
  assert.equal(await reasonFor(root, artifact), undefined)
})

test('an output that is missing, short, altered or elsewhere is not', async (t) => {
  const { root, artifact } = await store(t)
  const elsewhere = await store(t)
  await symlink(elsewhere.root, join(root, 'link'))
  const wrong: readonly [Partial<Artifact>, RegExp][] = [
    [{ uri: `${artifact.uri}x` }, /ENOENT/],
    [{ sizeBytes: 200_001 }, /has 200000 bytes, the response says 200001/],
    [{ sha256: 'a'.repeat(64) }, /has sha256 [0-9a-f]{64}, the response says a{64}/],
    [{ uri: elsewhere.artifact.uri }, /below none of the roots/],
    [{ uri: pathToFileURL(join(root, 'link', 'labels.png')).href }, /below none of the roots/],
    [{ uri: 'https://example.org/labels.png' }, /no file: URI/],
  ]
  for (const [change, message] of wrong) {
    // One after another, so that a failure names its case.
    const [reason, text] = (await reasonFor(root, { ...artifact, ...change })) ?? []
    assert.equal(reason, 'OUTPUT_MISSING')
    assert.match(text ?? '', message)
  }
})

test('an output without files is checked at once', () => {
  const check = responseCheck(EchoService.method.echoImage, openFiles([], 1))
  const bytes = (digest: string): Uint8Array =>
    toBinary(EchoImageResponseSchema, create(EchoImageResponseSchema, { digest }))
  assert.equal(check(bytes('a'.repeat(64))), undefined)
  for (const bad of [bytes('short'), Buffer.from([255, 255])]) {
    const failure = check(bad)
    assert.ok(failure && !(failure instanceof Promise))
    assert.deepEqual([failure.class, failure.reason], [ErrorClass.PERMANENT, 'BAD_RESPONSE'])
  }
})

test('a rule inside a file is kept before the file is looked for', () => {
  const check = responseCheck(SegmentNucleiService.method.segmentNuclei, openFiles([], 1))
  const labels = { uri: '', sizeBytes: -1, sha256: '', mediaType: '' }
  const response = create(SegmentNucleiResponseSchema, { labels })
  const failure = check(toBinary(SegmentNucleiResponseSchema, response))
  assert.ok(failure && !(failure instanceof Promise))
  assert.equal(failure.reason, 'BAD_RESPONSE')
})

test('no more files are read at once than allowed', async (t) => {
  const { root, artifact } = await store(t)
  const files = openFiles([root], 2)
  const problems = await Promise.all(Array.from({ length: 20 }, () => files.problemOf(artifact)))
  assert.deepEqual(new Set(problems), new Set([undefined]))
})
