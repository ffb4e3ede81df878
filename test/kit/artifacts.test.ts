import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { execFileSync } from 'node:child_process'
import {
  closeSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { once } from 'node:events'
import { join } from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { create } from '@bufbuild/protobuf'
import { status } from '@grpc/grpc-js'
import { ArtifactSchema, type Artifact } from '#proto/wellspring/lab/v1/artifact_pb.ts'
import {
  SegmentNucleiRequestSchema,
  SegmentNucleiService,
  type SegmentNucleiRequest,
} from '#proto/wellspring/steps/nuclei/v1/segment_nuclei_pb.ts'
import { openRoots } from '../../services/kit/artifacts.ts'
import { startSegment, text } from './segment.ts'
import { begin, contextOf, refusal, scratch } from './support.ts'

const { segmentNuclei } = SegmentNucleiService.method
const signal = new AbortController().signal

function artifactAt(path: string, bytes: string = text): Artifact {
  const sha256 = createHash('sha256').update(bytes).digest('hex')
  const uri = pathToFileURL(path).href
  return create(ArtifactSchema, { uri, sizeBytes: bytes.length, sha256, mediaType: 'image/tiff' })
}

/** What a refused artifact is told to be. */
async function told(open: Promise<string>): Promise<string> {
  return await open.then(
    () => assert.fail('it was opened'),
    (error: Error) => `${error.name} ${error.message}`,
  )
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
  for (const other of ['pixel', 'PIXELS'])
    await assert.rejects(roots.open(artifactAt(path, other), signal), /differs from what was/)
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

test('what differs is told to differ, never how: neither size nor digest nor content', async (t) => {
  const root = scratch(t)
  const path = join(root, 'secret')
  const secret = 'root:x:0:0'
  writeFileSync(path, secret)
  const roots = await openRoots([root])
  const texts = new Set<string>()
  // The right size and another, the right digest and another.
  for (const bytes of ['0123456789', 'x', secret.repeat(2)])
    texts.add(await told(roots.open(artifactAt(path, bytes), signal)))
  texts.add(await told(roots.open({ ...artifactAt(path, secret), sizeBytes: 9 }, signal)))
  assert.equal(texts.size, 1)
  const [text = ''] = texts
  const sha256 = createHash('sha256').update(secret).digest('hex')
  assert.ok(!text.includes(sha256) && !text.includes(secret) && !/\b10\b/.test(text), text)
})

test('a link tells nothing of what lies behind it outside the roots', async (t) => {
  const [root, outside] = [scratch(t), scratch(t)]
  writeFileSync(join(outside, 'there'), text)
  mkdirSync(join(outside, 'closed'), { mode: 0o000 })
  const links: Readonly<Record<string, string>> = {
    file: 'there',
    missing: 'not-there',
    deep: 'not-there/at/all',
    below: 'there/below',
    closed: 'closed/x',
  }
  for (const [name, target] of Object.entries(links))
    symlinkSync(join(outside, target), join(root, name))
  symlinkSync(outside, join(root, 'folder'))
  symlinkSync(join(root, 'folder', 'not-there'), join(root, 'twice'))
  const roots = await openRoots([root])
  const names = [...Object.keys(links), 'twice', 'folder/there', 'folder/not-there', 'folder/a/b']
  for (const name of names)
    assert.equal(
      await told(roots.open(artifactAt(join(root, name)), signal)),
      `StepError ${pathToFileURL(join(root, name)).href} is under none of the roots of this service`,
    )
})

test('a link within the roots is followed, and missing when it dangles', async (t) => {
  const root = scratch(t)
  writeFileSync(join(root, 'image'), text)
  symlinkSync('image', join(root, 'link'))
  symlinkSync('later', join(root, 'dangling'))
  const roots = await openRoots([root])
  assert.equal(await roots.open(artifactAt(join(root, 'link')), signal), join(root, 'image'))
  assert.match(await told(roots.open(artifactAt(join(root, 'dangling')), signal)), /^NotReady/)
})

test('what is no regular file is refused at once, however it would wait', async (t) => {
  const root = scratch(t)
  execFileSync('mkfifo', [join(root, 'pipe')])
  mkdirSync(join(root, 'folder'))
  const server = createServer()
  server.listen(join(root, 'socket'))
  await once(server, 'listening')
  t.after(() => server.close())
  symlinkSync('/dev/zero', join(root, 'zeros'))
  const roots = await openRoots([root, '/dev'])
  for (const name of ['pipe', 'folder', 'socket', 'zeros'])
    assert.match(await told(roots.open(artifactAt(join(root, name)), signal)), /no regular file/)
})

test('a name that no file can have is INVALID_REQUEST, for that call alone', async (t) => {
  const root = scratch(t)
  symlinkSync('b', join(root, 'a'))
  symlinkSync('a', join(root, 'b'))
  const roots = await openRoots([root])
  const base = pathToFileURL(root).href
  const uris: readonly (readonly [string, RegExp])[] = [
    [`${base}/%00`, /zero byte/],
    [`${base}/x%00.tiff`, /zero byte/],
    [`${base}/a`, /links lead in a circle/],
    [`${base}/a/x`, /links lead in a circle/],
    [`${base}/${'x'.repeat(300)}`, /longer than a path/],
    [`${base}/${'deep/'.repeat(1_000)}x`, /longer than a path/],
    [`${base}/%2F..%2Fx`, /no file: URI/],
    ['file://elsewhere/x', /no file: URI/],
    ['http://127.0.0.1/x', /no file: URI/],
    [`file:///${'x'.repeat(5_000)}`, /longer than a path/],
    [`file:///none/${'x/'.repeat(900)}`, /under none of the roots/],
  ]
  for (const [uri, why] of uris) {
    const artifact = create(ArtifactSchema, { ...artifactAt(root), uri })
    assert.match(await told(roots.open(artifact, signal)), why)
  }
  const store = scratch(t)
  const { client } = await startSegment(t, store, async ({ nucleiImage }, call) => {
    if (nucleiImage) await call.openArtifact(nucleiImage)
  })
  const image = artifactAt(join(store, 'x'))
  for (const uri of [`${image.uri}%00`, `${image.uri}/${'y'.repeat(300)}`]) {
    const refused = await refusal(
      begin(client, segmentNuclei, requestFor({ ...image, uri })).answer,
    )
    assert.equal(refused.info?.reason, 'INVALID_REQUEST')
    // Not PERMANENT: five of those in a row pause the step, and it is not at fault.
    assert.equal(refused.info?.metadata['class'], 'POISON')
  }
})

test('an exception takes what lies below it out of the roots, and a root below it is one', async (t) => {
  const root = scratch(t)
  for (const folder of ['.ssh', '.state/store']) mkdirSync(join(root, folder), { recursive: true })
  for (const file of ['a', '.ssh/b', '.state/c', '.state/store/d'])
    writeFileSync(join(root, file), text)
  const except = [join(root, '.ssh'), join(root, '.state')]
  const roots = await openRoots([root, join(root, '.state/store')], except)
  for (const file of ['a', '.state/store/d'])
    assert.equal(await roots.open(artifactAt(join(root, file)), signal), join(root, file))
  for (const file of ['.ssh/b', '.ssh/none', '.state/c'])
    assert.match(await told(roots.open(artifactAt(join(root, file)), signal)), /none of the roots/)
  const unhidden = await openRoots([root, join(root, '.state/store')], ['.*'])
  for (const file of ['a', '.state/store/d'])
    assert.equal(await unhidden.open(artifactAt(join(root, file)), signal), join(root, file))
  for (const file of ['.ssh/b', '.ssh/none', '.state/c', 'x/.y/z', '.profile'])
    assert.match(
      await told(unhidden.open(artifactAt(join(root, file)), signal)),
      /none of the roots/,
    )
})

test('a file of eight terabytes costs its call until the signal, and no more', async (t) => {
  const root = scratch(t)
  const path = join(root, 'sparse')
  closeSync(openSync(path, 'w'))
  try {
    truncateSync(path, 8 * 1024 ** 4)
  } catch {
    truncateSync(path, 64 * 1024 ** 3) // where the file system allows no more
  }
  const roots = await openRoots([root])
  assert.match(await told(roots.open(artifactAt(path), signal)), /differs/)
  const artifact = { ...artifactAt(path), sizeBytes: statSync(path).size }
  const reason = new Error('over')
  const ending = new AbortController()
  setTimeout(() => ending.abort(reason), 50)
  await assert.rejects(roots.open(artifact, ending.signal), reason)
})

test('a folder that is exchanged for a link while a file is opened leads nowhere', async (t) => {
  const [root, outside] = [scratch(t), scratch(t)]
  for (const folder of [join(root, 'real'), outside]) {
    mkdirSync(folder, { recursive: true })
    writeFileSync(join(folder, 'x'), folder)
  }
  symlinkSync(outside, join(root, 'link'))
  const roots = await openRoots([root])
  const foreign = artifactAt(join(root, 'now', 'x'), outside)
  let isOver = false
  const exchange = (async () => {
    while (!isOver) {
      for (const name of ['real', 'link']) {
        renameSync(join(root, name), join(root, 'now'))
        await new Promise((resolve) => setImmediate(resolve))
        renameSync(join(root, 'now'), join(root, name))
      }
    }
  })()
  for (let n = 0; n < 300; n += 1) await told(roots.open(foreign, signal))
  isOver = true
  await exchange
  rmSync(join(root, 'link'))
})
