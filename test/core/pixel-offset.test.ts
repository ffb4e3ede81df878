// The pixel offset of an image reaches every step that reads pixels.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create, toBinary } from '@bufbuild/protobuf'
import {
  ImageStateSchema,
  SiteStateSchema,
  RunState,
  StepRunSchema,
} from '#proto/wellspring/journal/v1/state_pb.ts'
import { ChannelKind } from '#proto/wellspring/lab/v1/identity_pb.ts'
import { PlatePlanSchema } from '#proto/wellspring/lab/v1/plan_pb.ts'
import { CommandSchema, ImageAcquiredSchema } from '#proto/wellspring/record/v1/input_pb.ts'
import type { ExtractFeaturesRequest } from '#proto/wellspring/steps/features/v1/extract_features_pb.ts'
import type { AssessImageRequest } from '#proto/wellspring/steps/imagequality/v1/image_quality_pb.ts'
import {
  SegmentNucleiResponseSchema,
  type SegmentNucleiRequest,
} from '#proto/wellspring/steps/nuclei/v1/segment_nuclei_pb.ts'
import { bindRequest } from '../../coordinator/core/bind.ts'
import { loadPipeline } from '../../coordinator/core/pipeline/check.ts'
import { placeOf } from '../../coordinator/core/context.ts'
import { decide } from '../../coordinator/core/decide.ts'
import { hex } from '../../coordinator/core/keys.ts'
import { parseEntity } from '@wellspring/lab/entity.ts'
import { emptyTask } from '../../coordinator/core/state.ts'
import { pipeline } from '../../coordinator/pipelines/screening.ts'

const plateKey = 'E/P/a1'
const siteKey = `${plateKey}/B07/t0/s1`
const channels = [
  { name: 'DNA', kind: ChannelKind.NUCLEI },
  { name: 'ER', kind: ChannelKind.FLUORESCENCE },
]

/** Requests of the three steps that read pixels, at one site, with these offsets in plan and images. */
function requestsWith(planned: readonly number[], announced: readonly number[]) {
  const loaded = loadPipeline(pipeline)
  const task = emptyTask('test', loaded)
  const plan = create(PlatePlanSchema, {
    experiment: 'E',
    plate: 'P',
    acquisition: 'a1',
    wells: [{ well: 'B07' }],
    sites: [1],
    timePoints: [0],
    zPlanes: [0],
    channels: channels.map((channel, i) => ({ ...channel, pixelOffset: planned[i] ?? 0 })),
  })
  task.plans.touch(plateKey, plan)
  task.plates.open(plateKey)
  task.wells.open(`${plateKey}/B07/t0`)
  const done = (step: number, output = new Uint8Array()) =>
    create(StepRunSchema, { step, state: RunState.DONE, revision: 1, output })
  const labels = create(SegmentNucleiResponseSchema, { labels: { uri: 'file:///l' } })
  const site = create(SiteStateSchema, {
    images: channels.map((channel, i) =>
      create(ImageStateSchema, {
        z: 0,
        channel: { ...channel, pixelOffset: announced[i] ?? 0 },
        artifact: { uri: `file:///${channel.name}`, sizeBytes: 1, sha256: 'ab'.repeat(32) },
        runs: [done(0)],
      }),
    ),
    runs: [done(1, toBinary(SegmentNucleiResponseSchema, labels))],
  })
  task.sites.touch(siteKey, site)
  const bound = (index: number, key: string) => {
    const [step, place] = [loaded.steps[index], placeOf(task, key)]
    assert.ok(step && place)
    const request = bindRequest(task, step, place)
    assert.equal(request.kind, 'request')
    if (request.kind !== 'request') throw new Error('unreachable')
    const message = request.message({ idempotencyKey: 'k', attempt: 1, generation: 0 })
    return { message, digest: hex(request.digest) }
  }
  const quality = channels.map(({ name }) => bound(0, `${siteKey}/z0/${name}`))
  const [nuclei, features] = [bound(1, siteKey), bound(2, siteKey)]
  const { images } = features.message as ExtractFeaturesRequest
  return {
    quality: quality.map(({ message }) => (message as AssessImageRequest).pixelOffset),
    nuclei: (nuclei.message as SegmentNucleiRequest).pixelOffset,
    features: images.map(({ channel, pixelOffset }) => [channel, pixelOffset]),
    digests: [...quality, nuclei, features].map(({ digest }) => digest),
  }
}

test('what an image states goes to image quality, segmentation and features', () => {
  const { quality, nuclei, features } = requestsWith([0, 0], [32_768, 0])
  assert.deepEqual(quality, [32_768, 0])
  assert.equal(nuclei, 32_768)
  assert.deepEqual(features, [
    ['DNA', 32_768],
    ['ER', 0],
  ])
})

test('what the plan states of a channel holds where its images state nothing', () => {
  const { quality, nuclei, features } = requestsWith([32_768, 7], [100, 0])
  assert.deepEqual(quality, [100, 7])
  assert.equal(nuclei, 100)
  assert.deepEqual(features, [
    ['DNA', 100],
    ['ER', 7],
  ])
})

test('an announced image and its plan keep their offsets in state', () => {
  const task = emptyTask('test', loadPipeline(pipeline))
  const at = { partition: 0, offset: 1, key: 'E/P' }
  const bytes = new Uint8Array()
  const channel = { ...channels[0], pixelOffset: 7 }
  const plan = create(PlatePlanSchema, {
    experiment: 'E',
    plate: 'P',
    acquisition: 'a1',
    wells: [{ well: 'B07' }],
    sites: [1],
    timePoints: [0],
    zPlanes: [0],
    channels: [channel],
    completeness: { quorumAfter: {}, deadline: { seconds: 60n } },
  })
  const command = create(CommandSchema, { action: { case: 'plan', value: plan } })
  const planned = { ...at, topic: 'commands.v1' }
  decide(task, { kind: 'command', command, at: planned, bytes }, 1_000, () => 0.5)
  const image = create(ImageAcquiredSchema, {
    identity: parseEntity(`${siteKey}/z0/DNA`),
    channel,
    artifact: { uri: 'file:///a', sizeBytes: 1, sha256: 'ab'.repeat(32) },
  })
  const announced = { ...at, topic: 'images.v1' }
  decide(task, { kind: 'image', image, traceparent: '', at: announced, bytes }, 1_000, () => 0.5)
  assert.equal(task.sites.get(siteKey)?.images[0]?.channel?.pixelOffset, 7)
  assert.equal(task.shape(plateKey)?.plan.channels[0]?.pixelOffset, 7)
})

test('an offset makes another input; none makes the input that it was before there were any', () => {
  const none = requestsWith([0, 0], [0, 0])
  const some = requestsWith([32_768, 0], [0, 0])
  assert.notEqual(some.digests[0], none.digests[0])
  assert.equal(some.digests[1], none.digests[1])
  assert.notEqual(some.digests[2], none.digests[2])
  // As computed by the version that knew no offsets: what is under way at an upgrade keeps its key.
  assert.deepEqual(
    none.digests.map((digest) => digest.slice(0, 12)),
    ['fbeeb2533ab8', 'e4a39c211f1d', 'a54d06f4143d', '910db25ba52d'],
  )
})
