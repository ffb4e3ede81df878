import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { DescMethodUnary } from '@bufbuild/protobuf'
import * as options from '#proto/wellspring/contract/v1/options_pb.ts'
import { Level } from '#proto/wellspring/contract/v1/options_pb.ts'
import { ChannelKind } from '#proto/wellspring/lab/v1/identity_pb.ts'
import { EchoService } from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import { ExtractFeaturesService } from '#proto/wellspring/steps/features/v1/extract_features_pb.ts'
import { ImageQualityService } from '#proto/wellspring/steps/imagequality/v1/image_quality_pb.ts'
import { SegmentNucleiService } from '#proto/wellspring/steps/nuclei/v1/segment_nuclei_pb.ts'
import { PlateQualityService } from '#proto/wellspring/steps/platequality/v1/plate_quality_pb.ts'
import { loadPipeline } from '../../coordinator/core/pipeline/check.ts'
import type { PipelineSpec, Source, StepSpec } from '../../coordinator/core/pipeline/pipeline.ts'

const { assessImage } = ImageQualityService.method
const { echoImage, echoSite, echoWell } = EchoService.method
const { segmentNuclei } = SegmentNucleiService.method
const { extractFeatures } = ExtractFeaturesService.method
const { assessPlate } = PlateQualityService.method

const artifact: Source = { kind: 'image', field: 'artifact' }
const channel: Source = { kind: 'identity', field: 'channel' }
const nuclei: Source = { kind: 'channel-image', channelKind: ChannelKind.NUCLEI }
const output = (step: string, field: string): Source => ({ kind: 'output', step, field })
const each = (
  fields: Record<string, Source>,
  at: 'members' | 'reference-z' = 'members',
): Source => ({
  kind: 'each',
  at,
  fields,
})
const one = (
  name: string,
  method: DescMethodUnary,
  inputs: Record<string, Source> = {},
): StepSpec => ({
  name,
  method,
  inputs,
})
const spec = (...steps: StepSpec[]): PipelineSpec => ({
  name: 'test',
  version: 1,
  steps,
  bands: { name: 'none', version: 1, rules: [] },
})
const assess = one('assess', assessImage, {
  image: artifact,
  channelKind: { kind: 'image', field: 'channelKind' },
})
const echo = one('echo', echoImage, { image: artifact })
const segment = one('segment', segmentNuclei, { nucleiImage: nuclei })

test('a pipeline that is right gets policies, indices, needs and levels', () => {
  const images = each({ channel, image: artifact }, 'reference-z')
  const loaded = loadPipeline(
    spec(
      assess,
      segment,
      one('extract', extractFeatures, { labels: output('segment', 'labels'), images }),
    ),
  )
  assert.equal(loaded.label, 'test-1')
  assert.deepEqual(
    loaded.steps.map(({ name, index, needs }) => [name, index, needs]),
    [
      ['assess', 0, []],
      ['segment', 1, []],
      ['extract', 2, ['segment']],
    ],
  )
  assert.deepEqual(
    loaded.at(Level.SITE).map(({ name }) => name),
    ['segment', 'extract'],
  )
  assert.deepEqual(loaded.at(Level.PLATE), [])
  assert.deepEqual(loaded.steps[0]?.policy, {
    level: Level.IMAGE,
    purity: options.Purity.PURE,
    attemptTimeoutMs: 20_000,
    totalTimeoutMs: 120_000,
    attemptsMax: 12,
    backoffInitialMs: 500,
    backoffMaxMs: 15_000,
    backoffMultiplier: 2,
    inFlightMaxPerReplica: 4,
    onPoison: options.PoisonAction.HOLE,
  })
})

const broken: readonly [string, PipelineSpec, RegExp][] = [
  [
    'unknown request field',
    spec(one('a', echoImage, { imag: artifact })),
    /step "a": wellspring\.steps\.echo\.v1\.EchoImageRequest has no field "imag" to bind; it has image, previous/,
  ],
  [
    'the context is not bound by pipelines',
    spec(one('a', echoImage, { context: artifact })),
    /has no field "context" to bind/,
  ],
  [
    'unknown output field',
    spec(segment, one('a', echoSite, { members: output('segment', 'nucleiCnt') })),
    /SegmentNucleiResponse has no field "nucleiCnt"; it has nucleiCount, labels, table/,
  ],
  [
    'type mismatch',
    spec(echo, one('a', echoImage, { image: output('echo', 'digest') })),
    /step "a": image: wants message wellspring\.lab\.v1\.Artifact, is given string/,
  ],
  [
    'a number with a fraction is no integer',
    spec({
      ...assess,
      inputs: { ...assess.inputs, detectorCeiling: { kind: 'constant', value: 0.5 } },
    }),
    /detectorCeiling: wants integer, is given number/,
  ],
  [
    'an enum is no integer',
    spec({
      ...assess,
      inputs: { ...assess.inputs, detectorCeiling: { kind: 'image', field: 'channelKind' } },
    }),
    /detectorCeiling: wants integer, is given enum wellspring\.lab\.v1\.ChannelKind/,
  ],
  [
    'semantic kinds differ',
    spec(
      segment,
      one('a', extractFeatures, {
        labels: output('segment', 'table'),
        images: each({ channel, image: artifact }, 'reference-z'),
      }),
    ),
    /step "a": labels: wants kind "labels\.nuclei", is given kind "table\.nuclei"/,
  ],
  [
    'a required field is not bound',
    spec(one('a', assessImage, { image: artifact })),
    /required field wellspring\.steps\.imagequality\.v1\.AssessImageRequest\.channelKind is not bound/,
  ],
  [
    'a required field of a member is not bound',
    spec(
      segment,
      one('a', extractFeatures, { labels: output('segment', 'labels'), images: each({ channel }) }),
    ),
    /images: required field .*ChannelImage\.image is not bound/,
  ],
  [
    'unknown field of a member',
    spec(one('a', echoSite, { members: each({ nam: channel }) })),
    /members: .*EchoMember has no field "nam" to bind; it has name, digest/,
  ],
  [
    'an image source in a well step',
    spec(one('a', echoWell, { members: each({ name: channel }) })),
    /members: name: identity\.channel has no meaning inside each\(\) of a well step at site level/,
  ],
  [
    'an image source in a site step',
    spec(one('a', segmentNuclei, { nucleiImage: artifact })),
    /nucleiImage: image\.artifact has no meaning in a step at site level/,
  ],
  [
    'a channel image in an image step',
    spec(one('a', echoImage, { image: nuclei })),
    /channel-image has no meaning in a step at image level/,
  ],
  [
    'each() in an image step',
    spec({ ...echo, inputs: { image: each({}) } }),
    /image: each\(\) gives a list of messages, the field is message/,
  ],
  [
    'each() at the reference z of wells',
    spec(one('a', echoWell, { members: each({}, 'reference-z') })),
    /only a site step can use it/,
  ],
  [
    'each() over the wrong level',
    spec(echo, one('a', echoWell, { members: each({ digest: output('echo', 'digest') }) })),
    /step "echo" works at image level, each\(\) here is over members at site level/,
  ],
  [
    'out() of a step at another level',
    spec(echo, one('a', echoSite, { members: output('echo', 'digest') })),
    /step "echo" works at image level, this step works at site level/,
  ],
  [
    'out() of a later step',
    spec(one('a', echoImage, { previous: output('b', 'digest') }), one('b', echoImage)),
    /out\(\): step "b" does not come before it; steps before it: none/,
  ],
  [
    'out() of itself',
    spec(one('a', echoImage, { previous: output('a', 'digest') })),
    /step "a" does not come before it/,
  ],
  [
    'out() of a step that is not there',
    spec(echo, one('a', echoImage, { previous: output('eco', 'digest') })),
    /step "eco" does not exist; steps before it: echo/,
  ],
  [
    'two steps with one name',
    spec(echo, echo),
    /step "echo": a step with this name comes before it/,
  ],
  [
    'a name with a capital',
    spec({ ...echo, name: 'Echo' }),
    /step "Echo": its name does not match/,
  ],
  [
    'a name that is long',
    spec({ ...echo, name: 'a'.repeat(65) }),
    /its name does not match \/\^\[a-z\]\[a-z0-9-\]\{0,63\}/,
  ],
  [
    'more steps than an entity has room for',
    spec(...Array.from({ length: 17 }, (_, at) => ({ ...echo, name: `echo-${at}` }))),
    /it has 17 steps at image level; 16 fit into an entity's state/,
  ],
  ['a name with a slash', spec({ ...echo, name: 'a/b' }), /step "a\/b": its name does not match/],
  ['a reserved name', spec({ ...echo, name: 'close' }), /step "close": its name is reserved/],
  ['no steps', spec(), /it has no steps/],
  ['a version below 1', { ...spec(echo), version: 0 }, /its version 0 is no whole number from 1/],
  ['a name of a pipeline', { ...spec(echo), name: 'Test 1' }, /its name "Test 1" does not match/],
]

for (const [name, pipeline, message] of broken)
  test(`refused: ${name}`, () => assert.throws(() => loadPipeline(pipeline), { message }))

test('one error lists every mistake', () => {
  const pipeline = spec({ ...assess, name: 'Q', inputs: { imag: artifact } })
  assert.throws(() => loadPipeline(pipeline), {
    message: /^pipeline "test" version 1 cannot run:\n(- .*\n){3}- .*channelKind is not bound$/,
  })
})

test('a plate step with its census is right', () => {
  loadPipeline(
    spec(
      assess,
      one('plate', assessPlate, {
        wells: each({ well: { kind: 'identity', field: 'well' } }),
        wellsExpected: { kind: 'close', field: 'expected' },
        holes: { kind: 'close', field: 'holes' },
      }),
    ),
  )
})
