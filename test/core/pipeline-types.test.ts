// The compiler is the test: every @ts-expect-error below fails `tsc` if the binding beneath it compiles.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EchoService } from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import { ExtractFeaturesService } from '#proto/wellspring/steps/features/v1/extract_features_pb.ts'
import { ImageQualityService } from '#proto/wellspring/steps/imagequality/v1/image_quality_pb.ts'
import { SegmentNucleiService } from '#proto/wellspring/steps/nuclei/v1/segment_nuclei_pb.ts'
import { PlateQualityService } from '#proto/wellspring/steps/platequality/v1/plate_quality_pb.ts'
import {
  close,
  constant,
  each,
  identity,
  image,
  out,
  plan,
  step,
  type StepSpec,
} from '../../coordinator/core/pipeline/pipeline.ts'

const { assessImage } = ImageQualityService.method
const { echoImage, echoSite, echoPlate } = EchoService.method
const { segmentNuclei } = SegmentNucleiService.method
const { extractFeatures } = ExtractFeaturesService.method
const channelTwice = { channel: identity.channel, image: identity.channel }
const { assessPlate } = PlateQualityService.method

const quality = step('quality', assessImage, {
  image: image.artifact,
  channelKind: image.channelKind,
  detectorCeiling: image.detectorCeiling,
})
const segment = step('segment', segmentNuclei, { nucleiImage: image.artifact })
const echo = step('echo', echoImage, { image: image.artifact, previous: constant('first') })

test('right bindings compile, and say what they bind', () => {
  const site = step('site', echoSite, {
    members: each({ name: identity.channel, digest: out(echo, 'digest') }),
  })
  assert.deepEqual(site.inputs['members'], {
    kind: 'each',
    at: 'members',
    fields: {
      name: { kind: 'identity', field: 'channel' },
      digest: { kind: 'output', step: 'echo', field: 'digest' },
    },
  })
  const plate = step('plate', assessPlate, {
    wells: each({ well: identity.well, role: plan.wellRole }),
    wellsExpected: close.expected,
    holes: close.holes,
  })
  assert.equal(Object.keys(plate.inputs).length, 3)
})

// Never run: only compiled.
export function wrongBindings(): StepSpec[] {
  return [
    // @ts-expect-error the request has no field "imag"
    step('a', assessImage, { imag: image.artifact }),
    // @ts-expect-error the response has no field "nucleiCnt"
    step('b', echoImage, { previous: out(segment, 'nucleiCnt') }),
    // @ts-expect-error a number is no string
    step('c', echoImage, { previous: out(segment, 'nucleiCount') }),
    // @ts-expect-error a string is no artifact
    step('d', segmentNuclei, { nucleiImage: out(echo, 'digest') }),
    // @ts-expect-error an artifact is no channel kind
    step('e', assessImage, { channelKind: image.artifact }),
    // @ts-expect-error a number is no channel kind
    step('f', assessImage, { channelKind: image.detectorCeiling }),
    // @ts-expect-error a member has no field "nam"
    step('g', echoSite, { members: each({ nam: identity.channel, digest: out(echo, 'digest') }) }),
    // @ts-expect-error a member's digest is text
    step('h', echoSite, { members: each({ digest: identity.site }) }),
    // @ts-expect-error one value where the request wants a list
    step('i', echoSite, { members: out(echo, 'digest') }),
    // @ts-expect-error a list where the request wants one value
    step('j', segmentNuclei, { nucleiImage: each({ image: image.artifact }) }),
    // @ts-expect-error a channel image is made of a channel and an artifact
    step('k', extractFeatures, { images: each(channelTwice) }),
    // @ts-expect-error a source spelt by hand carries no type
    step('l', segmentNuclei, { nucleiImage: { kind: 'image', field: 'artifact' } }),
    // @ts-expect-error a source spelt by hand carries no type inside each() either
    step('m', echoSite, { members: each({ name: { kind: 'identity', field: 'channel' } }) }),
    // @ts-expect-error holes are texts, not numbers
    step('n', echoPlate, { holes: close.expected }),
    // @ts-expect-error the engine fills the context
    step('o', echoImage, { context: constant('x') }),
    // @ts-expect-error a number is no text
    step('p', echoImage, { previous: constant(3) }),
    // @ts-expect-error a message field of the response is no number
    step('q', assessImage, { detectorCeiling: out(quality, 'focus') }),
    // @ts-expect-error there is no wellrole
    step('r', assessPlate, { wells: each({ role: plan.wellrole }) }),
  ]
}
