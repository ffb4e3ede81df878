import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { fromBinary } from '@bufbuild/protobuf'
import { ImageAcquiredSchema, type ImageAcquired } from '#proto/wellspring/record/v1/input_pb.ts'
import { entityKey } from '@wellspring/lab/entity.ts'
import { isHit, planDemo, type Fault, type Shot } from '../../dev/demo.ts'
import { acquire, drawShot } from '../../dev/microscope.ts'
import type { Announcement } from '../../ingest/announce.ts'
import { measure } from '../../services/legacy/imageqc-http/metrics.ts'
import { segmentNuclei } from '../../services/legacy/nucseg/segment.ts'
import { readPixels, type Pixels } from '../../services/legacy/pixels.ts'

const demo = planDemo('seed', 'exp', 'image-quality')
let dir = ''
before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'wellspring-microscope-'))
})
after(() => rm(dir, { recursive: true, force: true }))

const fault = (kind: Fault['kind']): Fault => {
  const found = demo.faults.find((one) => one.kind === kind)
  assert.ok(found, kind)
  return found
}

async function pixelsOf(shot: Shot): Promise<Pixels> {
  const path = join(dir, 'shot.tif')
  await writeFile(path, drawShot(shot, demo.seed))
  return readPixels(path)
}

test('the same seed plans and draws the same, another seed does not', () => {
  assert.deepEqual(planDemo('seed', 'exp', 'image-quality'), demo)
  const [shot] = demo.shots
  const [other] = planDemo('other', 'exp', 'image-quality').shots
  assert.ok(shot && other)
  assert.ok(drawShot(shot, demo.seed).equals(drawShot(shot, demo.seed)))
  assert.ok(!drawShot(other, 'other').equals(drawShot(shot, demo.seed)))
})

test('two plates of 24 wells, 192 images, every fault in a place of its own', () => {
  assert.equal(demo.plans.length, 2)
  assert.equal(demo.shots.length, 192)
  assert.equal(new Set(demo.shots.map(({ entity }) => entity)).size, 192)
  assert.equal(demo.faults.length, 7)
  const wells = demo.faults.slice(0, 5).map(({ target }) => target.split('/').slice(0, 5).join('/'))
  assert.equal(new Set(wells).size, 5)
  assert.equal(demo.shots.filter(({ blurPx }) => blurPx > 0).length, 16)
})

test('a fault hits what lies below its target and nothing else', () => {
  const column = fault('defocused-column')
  assert.ok(isHit(column, 'exp/P2/a1/B03/t0/s1/z0/DNA'))
  assert.ok(!isHit(column, 'exp/P2/a1/B04/t0/s1/z0/DNA'))
  assert.ok(!isHit(column, 'exp/P1/a1/B03/t0/s1/z0/DNA'))
  const site = fault('missing-site')
  assert.ok(isHit(site, `${site.target}/z0/DNA`))
  assert.ok(!isHit(site, `${site.target}0/z0/DNA`))
})

test('segmentation finds the planned nuclei within 5 %, in and out of focus', async () => {
  const some = demo.shots.filter(({ stain, nuclei, blurPx }, i) =>
    stain === 'DNA' && nuclei.length > 0 ? i % 10 === 0 || (blurPx > 0 && i % 4 === 0) : false,
  )
  let [found, truth] = [0, 0]
  for (const shot of some) {
    const field = segmentNuclei(await pixelsOf(shot))
    found += field.kind === 'nuclei' ? field.nuclei.length : 0
    truth += demo.truth.get(shot.entity.split('/').slice(0, 6).join('/')) ?? Number.NaN
  }
  assert.ok(truth > 200, `only ${truth} nuclei looked at`)
  assert.ok(Math.abs(found - truth) / truth <= 0.05, `found ${found} of ${truth}`)
})

test('quality numbers tell sharp, defocused and empty fields apart', async () => {
  for (const stain of ['DNA', 'RNA']) {
    const of = demo.shots.filter((shot) => shot.stain === stain)
    const numbers = async (shot: Shot | undefined) => {
      assert.ok(shot)
      return measure(await pixelsOf(shot), 4_095)
    }
    const sharp = await numbers(of.find(({ nuclei, blurPx }) => nuclei.length > 0 && blurPx === 0))
    assert.ok(sharp.varianceToMean > 1 && sharp.laplacianRatio > 0.0005, JSON.stringify(sharp))
    assert.ok(sharp.powerLogLogSlope < -1.2 && sharp.powerLogLogSlope > -4.5, JSON.stringify(sharp))
    assert.ok(sharp.atCeiling < 0.001, JSON.stringify(sharp))
    const blurred = await numbers(of.find(({ blurPx }) => blurPx > 0))
    assert.ok(
      blurred.varianceToMean > 1 && blurred.laplacianRatio < 0.0005,
      JSON.stringify(blurred),
    )
    const empty = await numbers(of.find(({ nuclei }) => nuclei.length === 0))
    assert.ok(empty.varianceToMean < 1, JSON.stringify(empty))
  }
})

test('the instrument announces what it should, and commits its faults', async () => {
  const announced: Announcement[] = []
  const onDisk = new Map<string, string>()
  // A fault of one image each, and one image as it should be.
  const some = demo.shots.filter(({ faults }, i) => faults.some(isOfImages) || i === 0)
  assert.equal(some.length, 6)
  await acquire(
    { ...demo, shots: some },
    {
      announcer: {
        announce: async (records) => {
          announced.push(...records)
          const last = records.at(-1)
          if (last?.topic !== 'images.v1') return
          const image = fromBinary(ImageAcquiredSchema, last.value)
          onDisk.set(keyOf(image), await digestOf(image))
        },
      },
      dir,
      application: 'test',
      paceMs: 0,
      copied: async () => {},
      signal: AbortSignal.timeout(60_000),
    },
  )
  const images = announced
    .filter(({ topic }) => topic === 'images.v1')
    .map(({ value }) => fromBinary(ImageAcquiredSchema, value))
  assert.equal(announced.length - images.length, 2, 'two plans')
  assert.equal(images.length, some.length - 2 + 1, 'two never come, one comes twice')
  const of = (kind: Fault['kind']): readonly ImageAcquired[] =>
    images.filter((image) => isHit(fault(kind), keyOf(image)))
  assert.equal(of('missing-site').length, 0)
  assert.equal(of('duplicate').length, 2)
  const [truncated] = of('truncated')
  assert.ok(truncated?.artifact)
  assert.equal(await digestOf(truncated), truncated.artifact.sha256)
  assert.ok(truncated.artifact.sizeBytes < 300_000)
  const [copied] = of('half-copied')
  assert.ok(copied?.artifact)
  assert.notEqual(onDisk.get(keyOf(copied)), copied.artifact.sha256, 'not whole when announced')
  assert.equal(await digestOf(copied), copied.artifact.sha256, 'whole in the end')
})

function isOfImages(kind: Fault['kind']): boolean {
  return ['missing-site', 'duplicate', 'truncated', 'half-copied'].includes(kind)
}

function keyOf({ identity }: ImageAcquired): string {
  assert.ok(identity)
  return entityKey(identity)
}

async function digestOf({ artifact }: ImageAcquired): Promise<string> {
  const bytes = await readFile(fileURLToPath(artifact?.uri ?? ''))
  return createHash('sha256').update(bytes).digest('hex')
}
