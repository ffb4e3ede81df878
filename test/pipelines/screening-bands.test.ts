import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create, type MessageInitShape } from '@bufbuild/protobuf'
import { ChannelKind } from '#proto/wellspring/lab/v1/identity_pb.ts'
import { Verdict } from '#proto/wellspring/record/v1/output_pb.ts'
import { AssessImageResponseSchema } from '#proto/wellspring/steps/imagequality/v1/image_quality_pb.ts'
import { AssessPlateResponseSchema } from '#proto/wellspring/steps/platequality/v1/plate_quality_pb.ts'
import { judge } from '../../coordinator/core/pipeline/bands.ts'
import { screeningBands } from '../../coordinator/pipelines/screening-bands.ts'

const { NUCLEI, FLUORESCENCE, BRIGHTFIELD } = ChannelKind
const { PASS, WARN, FAIL, NOT_EVALUATED } = Verdict

type Metrics = { ratio: number; slope: number; atCeiling: number; maximal: number; empty: boolean }
const good: Metrics = { ratio: 0.003, slope: -3.4, atCeiling: 0, maximal: 0.0003, empty: false }

// Figures of real images, see the comment in screening-bands.ts.
const images: readonly [string, ChannelKind, Partial<Metrics>, Verdict][] = [
  ['a focused U2OS field', NUCLEI, {}, PASS],
  ['the flattest good slope', FLUORESCENCE, { slope: -1.25 }, PASS],
  ['the steepest good slope', FLUORESCENCE, { slope: -4.36 }, PASS],
  ['a defocused field', NUCLEI, { ratio: 0.00017, slope: -2.5 }, FAIL],
  ['the same value in transmitted light', BRIGHTFIELD, { ratio: 0.00017 }, PASS],
  ['an empty field', NUCLEI, { ratio: 0.0054, slope: -0.9, empty: true }, WARN],
  ['noise', FLUORESCENCE, { slope: 1.04 }, WARN],
  ['a slope beyond all images', NUCLEI, { slope: -6 }, WARN],
  ['bright nuclei of a good plate', FLUORESCENCE, { atCeiling: 0.0044, maximal: 0.44 }, PASS],
  ['nearly saturated', NUCLEI, { atCeiling: 0.007, maximal: 0.7 }, WARN],
  ['saturated', NUCLEI, { atCeiling: 0.016, maximal: 1.6 }, FAIL],
  ['clipped below the stated ceiling', NUCLEI, { maximal: 3 }, WARN],
  ['black', NUCLEI, { ratio: 0, slope: 0, maximal: 100, empty: true }, FAIL],
]

for (const [name, kind, metrics, verdict] of images)
  test(`${name} is ${verdict === PASS ? 'good' : verdict === WARN ? 'worth a look' : 'not usable'}`, () => {
    const { ratio, slope, atCeiling, maximal, empty } = { ...good, ...metrics }
    const output = create(AssessImageResponseSchema, {
      focus: { laplacianRatio: ratio, powerLogLogSlope: slope },
      saturation: { atCeiling, percentMaximal: maximal },
      empty,
    })
    assert.equal(judge(screeningBands, 'image-quality', output, kind)?.verdict, verdict)
  })

const plates: readonly [string, MessageInitShape<typeof AssessPlateResponseSchema>, Verdict][] = [
  ['an excellent plate', { robustZPrime: 0.6 }, PASS],
  ['a plate that can be screened', { robustZPrime: 0.2 }, WARN],
  ['a plate whose controls overlap', { robustZPrime: -0.1 }, FAIL],
  ['an excellent plate with a hole', { robustZPrime: 0.6, wellsMissing: 1 }, WARN],
  ['a plate without controls', {}, PASS],
]

for (const [name, response, verdict] of plates)
  test(`${name}: verdict ${verdict}`, () => {
    const output = create(AssessPlateResponseSchema, response)
    assert.equal(judge(screeningBands, 'plate-quality', output, undefined)?.verdict, verdict)
  })

test('features are not judged', () => {
  const output = create(AssessPlateResponseSchema)
  assert.equal(judge(screeningBands, 'extract-features', output, undefined), undefined)
  assert.equal(judge(screeningBands, 'image-quality', output, NUCLEI)?.verdict, NOT_EVALUATED)
})
