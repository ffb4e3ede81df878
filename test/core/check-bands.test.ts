import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ChannelKind } from '#proto/wellspring/lab/v1/identity_pb.ts'
import { Verdict } from '#proto/wellspring/record/v1/output_pb.ts'
import { ImageQualityService } from '#proto/wellspring/steps/imagequality/v1/image_quality_pb.ts'
import { SegmentNucleiService } from '#proto/wellspring/steps/nuclei/v1/segment_nuclei_pb.ts'
import type { BandRule } from '../../coordinator/core/pipeline/bands.ts'
import { loadPipeline } from '../../coordinator/core/pipeline/check.ts'
import {
  channelImage,
  image,
  step,
  type PipelineSpec,
} from '../../coordinator/core/pipeline/pipeline.ts'

const steps = [
  step('assess', ImageQualityService.method.assessImage, {
    image: image.artifact,
    channelKind: image.channelKind,
  }),
  step('segment', SegmentNucleiService.method.segmentNuclei, {
    nucleiImage: channelImage(ChannelKind.NUCLEI),
  }),
]
const rule: BandRule = {
  id: 'sharp',
  step: 'assess',
  metric: 'focus.laplacianRatio',
  bands: [{ from: 0.0005, to: Infinity, verdict: Verdict.PASS }],
  otherwise: Verdict.FAIL,
}
const slope = { ...rule, metric: 'focus.powerLogLogSlope' }
const band = (from: number, to: number): BandRule['bands'][number] => ({
  from,
  to,
  verdict: Verdict.PASS,
})
const withRules = (...rules: BandRule[]): PipelineSpec => ({
  name: 'test',
  version: 1,
  steps,
  bands: { name: 'bands', version: 1, rules },
})

test('bands judge numbers and bools, with two sides on a slope', () => {
  loadPipeline(withRules(rule, { ...rule, id: 'empty', metric: 'empty', bands: [band(0, 1)] }))
  loadPipeline(withRules({ ...slope, bands: [band(-4, -2), band(-2, -1)] }))
})

const brokenRules: readonly [string, BandRule, RegExp][] = [
  ['a long id', { ...rule, id: 'x'.repeat(65) }, /its id has at most 64 characters/],
  ['no such step', { ...rule, step: 'asses' }, /no step "asses"; there are assess, segment/],
  [
    'no such metric',
    { ...rule, metric: 'focus.ratio' },
    /Focus has no field "ratio"; it has laplacianRatio/,
  ],
  ['a path through a number', { ...rule, metric: 'widthPx.x' }, /"widthPx" holds no fields/],
  ['a metric that is a message', { ...rule, metric: 'focus' }, /neither a number nor a bool/],
  ['a metric that is text', { ...rule, metric: 'metricSet' }, /neither a number nor a bool/],
  ['no bands', { ...rule, bands: [] }, /has no bands/],
  [
    'overlapping bands',
    { ...rule, bands: [band(0, 2), band(1, 3)] },
    /band 1 \.\. 3 begins before band 0 \.\. 2 ends/,
  ],
  ['bands out of order', { ...rule, bands: [band(2, 3), band(0, 1)] }, /begins before/],
  ['an empty band', { ...rule, bands: [band(1, 1)] }, /band 1 \.\. 1 is empty/],
  ['a band that is not a number', { ...rule, bands: [band(Number.NaN, 1)] }, /is empty/],
  ['one-sided slope, above', { ...slope, bands: [band(-2, Infinity)] }, /one-sided/],
  ['one-sided slope, below', { ...slope, bands: [band(-Infinity, -2)] }, /one-sided/],
  [
    'slope passed outside its bands',
    { ...slope, bands: [band(-4, -1)], otherwise: Verdict.PASS },
    /otherwise passes/,
  ],
  [
    'channel kinds above the image',
    { ...rule, step: 'segment', metric: 'threshold', channelKinds: [ChannelKind.NUCLEI] },
    /channelKinds select images/,
  ],
  ['no verdict', { ...rule, otherwise: Verdict.UNSPECIFIED }, /otherwise is UNSPECIFIED/],
]

for (const [name, bad, message] of brokenRules)
  test(`refused bands: ${name}`, () =>
    assert.throws(() => loadPipeline(withRules(bad)), { message }))

test('refused bands: two rules with one id', () =>
  assert.throws(() => loadPipeline(withRules(rule, rule)), { message: /a rule with this id/ }))
