import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import fs, { mkdirSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { create, toBinary } from '@bufbuild/protobuf'
import { ErrorClass } from '#proto/wellspring/contract/v1/errors_pb.ts'
import { ArtifactSchema, type Artifact } from '#proto/wellspring/lab/v1/artifact_pb.ts'
import { EchoImageResponseSchema, EchoService } from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import {
  SegmentNucleiResponseSchema,
  SegmentNucleiService,
} from '#proto/wellspring/steps/nuclei/v1/segment_nuclei_pb.ts'
import { fileLimits, openFiles } from '../../coordinator/calls/output-files.ts'
import { responseCheck } from '../../coordinator/calls/verify.ts'

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
  const check = responseCheck(SegmentNucleiService.method.segmentNuclei, openFiles([root]))
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
    [{ uri: `${artifact.uri}x` }, /does not exist/],
    [{ sizeBytes: 200_001 }, /differs in size or SHA-256/],
    [{ sha256: 'a'.repeat(64) }, /differs in size or SHA-256/],
    [{ uri: 'file:///etc/nowhere' }, /below none of the roots/],
    [{ uri: `${artifact.uri}%00` }, /zero byte/],
    [{ uri: elsewhere.artifact.uri }, /below none of the roots/],
    [{ uri: pathToFileURL(join(root, 'link', 'labels.png')).href }, /below none of the roots/],
    [{ uri: 'https://example.org/labels.png' }, /no file: URI/],
  ]
  for (const [change, message] of wrong) {
    // One after another, so that a failure names its case.
    const [reason, text] = (await reasonFor(root, { ...artifact, ...change })) ?? []
    assert.equal(reason, 'OUTPUT_MISSING')
    assert.match(text ?? '', message)
    assert.ok(
      !text?.includes('200000') && !text?.includes(artifact.sha256),
      'what is there is told',
    )
  }
})

test('an output without files is checked at once', () => {
  const check = responseCheck(EchoService.method.echoImage, openFiles([]))
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
  const check = responseCheck(SegmentNucleiService.method.segmentNuclei, openFiles([]))
  const labels = { uri: '', sizeBytes: -1, sha256: '', mediaType: '' }
  const response = create(SegmentNucleiResponseSchema, { labels })
  const failure = check(toBinary(SegmentNucleiResponseSchema, response))
  assert.ok(failure && !(failure instanceof Promise))
  assert.equal(failure.reason, 'BAD_RESPONSE')
})

/** What a pipe or a device has in it, if one takes its size for it. */
const ofNothing = createHash('sha256').digest('hex')

/** A file of so many zeros, of which the disk has none. */
function sparse(path: string, bytes: number): Artifact {
  writeFileSync(path, '')
  truncateSync(path, bytes)
  return artifactOf(path, bytes, 'a'.repeat(64))
}

function artifactOf(path: string, sizeBytes: number, sha256: string): Artifact {
  const uri = pathToFileURL(path).href
  return create(ArtifactSchema, { uri, sizeBytes, sha256, mediaType: 'image/png' })
}

test('pipes, sockets, devices, folders and links cost their own calls, at once', async (t) => {
  const { root, artifact } = await store(t)
  execFileSync('mkfifo', [join(root, 'pipe')])
  mkdirSync(join(root, 'folder'))
  const server = createServer()
  server.listen(join(root, 'socket'))
  await once(server, 'listening')
  t.after(() => server.close())
  for (const [name, target] of [
    ['zeros', '/dev/zero'],
    ['terminal', '/dev/tty'],
    ['hosts', '/etc/hosts'],
    ['circle', 'circle'],
  ] as const)
    symlinkSync(target, join(root, name))
  const files = openFiles([root])
  const names = ['pipe', 'socket', 'folder', 'zeros', 'terminal', 'hosts', 'circle']
  // More of each than there are readers and threads.
  const lies = Array.from({ length: 8 }, () => names).flat()
  const from = performance.now()
  const found = await Promise.all([
    ...lies.map((name) => files.problemOf([artifactOf(join(root, name), 0, ofNothing)])),
    files.problemOf([artifact]),
  ])
  assert.equal(found.pop(), undefined)
  for (const problem of found) assert.ok(problem)
  assert.ok(performance.now() - from < 5_000)
  const inDevices = openFiles(['/dev'])
  for (const name of ['zero', 'tty', 'fd'])
    assert.ok(await inDevices.problemOf([artifactOf(`/dev/${name}`, 0, ofNothing)]))
})

test('files beyond the limit are not read, alone or together', async (t) => {
  const { root, artifact } = await store(t)
  const large = sparse(join(root, 'large'), 8 * 1024 ** 4)
  const [reason, message] = (await reasonFor(root, large)) ?? []
  assert.equal(reason, 'BAD_RESPONSE')
  assert.match(message ?? '', /more than \d+ bytes \(WELLSPRING_ARTIFACT_BYTES_MAX\)/)
  const files = openFiles([root], { ...fileLimits, artifactBytesMax: 300_000 })
  assert.equal(await files.problemOf([artifact]), undefined)
  assert.equal((await files.problemOf([artifact, artifact]))?.isLasting, true)
})

test('a large file holds up no small one, and not itself beyond its time', async (t) => {
  const { root, artifact } = await store(t)
  const large = sparse(join(root, 'large'), 1024 ** 4)
  const limits = { ...fileLimits, artifactBytesMax: Infinity, checkMs: 500, readersMax: 1 }
  const files = openFiles([root], limits)
  const ended: string[] = []
  const [first, second, small] = await Promise.all([
    files.problemOf([large]).finally(() => ended.push('large')),
    files.problemOf([large]).finally(() => ended.push('large')),
    files.problemOf([artifact]).finally(() => ended.push('small')),
  ])
  assert.equal(small, undefined)
  for (const one of [first, second]) assert.match(one?.message ?? '', /not be read within 0.5 s/)
  assert.deepEqual(ended, ['small', 'large', 'large'])
  assert.equal(await files.problemOf([artifact]), undefined, 'its reader is free again')
})

test('a file system that does not answer is waited for by no more than its readers', async (t) => {
  const { root, artifact } = await store(t)
  const { open: realOpen } = fs.promises
  let opened = 0
  const answer = Promise.withResolvers<void>()
  const replace = (open: typeof realOpen): void => {
    Object.assign(fs.promises, { open })
    syncBuiltinESMExports()
  }
  replace(async (...args) => {
    opened += 1
    await answer.promise
    return await realOpen(...args)
  })
  t.after(() => replace(realOpen))
  const files = openFiles([root], { ...fileLimits, readersMax: 2, checkMs: 50 })
  const looks = Array.from({ length: 20 }, () => files.problemOf([artifact]))
  for (const look of await Promise.all(looks)) assert.match(look?.message ?? '', /does their file/)
  assert.equal(opened, 2)
  const other = openFiles([root], { ...fileLimits, readersMax: 2, checkMs: 50 })
  assert.match((await other.problemOf([artifact]))?.message ?? '', /does their file system answer/)
  answer.resolve()
  replace(realOpen)
  const isFree = async (): Promise<boolean> => {
    while ((await files.problemOf([artifact])) !== undefined) await sleep(5)
    return true
  }
  assert.ok(await Promise.race([isFree(), sleep(5_000, false, { ref: false })]), 'still stuck')
})

test('a response that is set aside for its size is not taken apart', () => {
  const check = responseCheck(EchoService.method.echoImage, openFiles([]))
  assert.equal(check(Buffer.alloc(49_153, 255)), undefined)
})
