import assert from 'node:assert/strict'
import { once } from 'node:events'
import { copyFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { ChannelKind } from '#proto/wellspring/lab/v1/identity_pb.ts'
import { Verdict } from '#proto/wellspring/record/v1/output_pb.ts'
import { ExtractFeaturesService } from '#proto/wellspring/steps/features/v1/extract_features_pb.ts'
import {
  AssessImageResponseSchema,
  ImageQualityService,
} from '#proto/wellspring/steps/imagequality/v1/image_quality_pb.ts'
import { SegmentNucleiService } from '#proto/wellspring/steps/nuclei/v1/segment_nuclei_pb.ts'
import { create } from '@bufbuild/protobuf'
import { judge } from '../../coordinator/core/pipeline/bands.ts'
import { screeningBands } from '../../coordinator/pipelines/screening-bands.ts'
import { diceOf } from '../../dev/dice.ts'
import { SIZE_PX, drawField, placeNuclei } from '../../dev/field.ts'
import { readKinds, refusedKinds } from '../formats/kinds.ts'
import { tiffFile } from '../formats/tiff-file.ts'
import { refusal } from '../kit/support.ts'
import { startProgram, type Program } from './legacy/programs.ts'
import { csvRows, inData, needsData } from './legacy/shared-data.ts'
import { artifactOf, pathOf, startWrapper, type Wrapper } from './wrappers.ts'

const { assessImage } = ImageQualityService.method
const { segmentNuclei } = SegmentNucleiService.method
const { extractFeatures } = ExtractFeaturesService.method
const signedZero = 32_768

let programs: readonly Program[] = []
let quality: Wrapper
let nuclei: Wrapper
let features: Wrapper
before(async () => {
  const [imageqc, cellfeat] = await Promise.all([
    startProgram('legacy/imageqc-http/main.ts', { PORT: '0' }),
    startProgram('legacy/cellfeat-jobs/main.ts', { PORT: '0', LAG_MS: '20' }),
  ])
  programs = [imageqc, cellfeat]
  ;[quality, nuclei, features] = await Promise.all([
    startWrapper('image-quality', { WELLSPRING_IMAGEQC_URL: imageqc.url }),
    startWrapper('segment-nuclei'),
    startWrapper('extract-features', { WELLSPRING_CELLFEAT_URL: cellfeat.url }),
  ])
})
after(() => Promise.all([quality, nuclei, features, ...programs].map((one) => one.stop())))

function put(wrapper: Wrapper, name: string, file: Buffer): string {
  const path = join(wrapper.folder, name)
  writeFileSync(path, file)
  return path
}

const assess = (path: string, pixelOffset = 0, wrapper = quality) =>
  wrapper.call(assessImage, (context) => ({
    context,
    image: artifactOf(path),
    channelKind: ChannelKind.NUCLEI,
    pixelOffset,
  }))
const segment = (path: string, pixelOffset = 0) =>
  nuclei.call(segmentNuclei, (context) => ({
    context,
    nucleiImage: artifactOf(path),
    pixelOffset,
  }))
const extract = (labels: string, path: string, pixelOffset = 0) =>
  features.call(extractFeatures, (context) => ({
    context,
    labels: artifactOf(labels, 'image/png'),
    images: [{ channel: 'DNA', image: artifactOf(path), pixelOffset }],
  }))

test('image-quality refuses every unsupported kind by its name', async () => {
  for (const { name, file, why } of refusedKinds) {
    const { info, details } = await refusal(assess(put(quality, 'image', file)))
    assert.deepEqual(
      [info?.reason, info?.metadata['class']],
      ['UNSUPPORTED_KIND', 'POISON'],
      `${name}: ${details}`,
    )
    assert.match(details, why, name)
    assert.match(details, /what is read: one full page of one grey channel/)
    assert.match(info?.metadata['hint'] ?? '', /export it as one file a plane/)
    assert.doesNotMatch(`${details} ${info?.metadata['hint']}`, /damage|corrupt/i)
  }
})

test('segment-nuclei and extract-features refuse them too, and start no program for it', async () => {
  for (const { name, file, why } of refusedKinds.filter((_, i) => i % 9 === 0)) {
    const refused = [
      await refusal(segment(put(nuclei, 'image', file))),
      await refusal(extract(put(features, 'labels', file), put(features, 'image', file))),
    ]
    for (const { info, details } of refused) {
      assert.equal(info?.reason, 'UNSUPPORTED_KIND', `${name}: ${details}`)
      assert.match(details, why)
    }
  }
})

test('a sample of the kinds that are read has its mean, to the last digit', async () => {
  for (const { name, file, values } of readKinds.filter((_, i) => i % 12 === 0)) {
    const { intensity } = await assess(put(quality, 'image', file))
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length
    assert.ok(
      Math.abs((intensity?.mean ?? Number.NaN) - mean) < 1e-6,
      `${name}: ${intensity?.mean}`,
    )
    assert.equal(intensity?.maximum, Math.max(...values), name)
  }
})

test('a size that no memory should be set aside for is LIMIT_EXCEEDED, a circle is damage', async () => {
  const large = tiffFile([
    { width: 8, height: 8, fields: [256, 257].map((tag) => ({ tag, type: 4, values: [100_000] })) },
  ])
  const circle = tiffFile([{ width: 8, height: 8 }], { loopTo: 0 })
  const expected = [
    [large, 'LIMIT_EXCEEDED', 'LIMIT_EXCEEDED'],
    [circle, 'CORRUPT', 'BAD_INPUT'],
  ] as const
  for (const [file, first, second] of expected) {
    const of = async (call: Promise<unknown>) => (await refusal(call)).info?.reason
    assert.equal(await of(assess(put(quality, 'image', file))), first)
    assert.equal(await of(segment(put(nuclei, 'image', file))), second)
    const labels = put(features, 'labels', file)
    assert.equal(await of(extract(labels, put(features, 'image', file))), second)
  }
})

describe('a field of signed pixels stored as unsigned ones', () => {
  const plain = drawField(
    placeNuclei(60, diceOf('nuclei')),
    { stain: 'DNA', blurPx: 0 },
    diceOf('noise'),
  )
  const size = { width: SIZE_PX, height: SIZE_PX }
  const plainFile = tiffFile([{ ...size, samples: plain }])
  const offsetFile = tiffFile([{ ...size, samples: plain.map((value) => value + signedZero) }])

  test('has the numbers of the same field without, in every step', async () => {
    const [a, b] = [
      await assess(put(quality, 'plain', plainFile)),
      await assess(put(quality, 'offset', offsetFile), signedZero),
    ]
    assert.deepEqual(b, a)
    assert.equal(a.offset, undefined)
    const [c, d] = [
      await segment(put(nuclei, 'plain', plainFile)),
      await segment(put(nuclei, 'offset', offsetFile), signedZero),
    ]
    assert.ok(Math.abs(c.nucleiCount - 60) <= 3, `${c.nucleiCount}`)
    assert.deepEqual(
      [d.nucleiCount, d.threshold, d.medianAreaPx],
      [c.nucleiCount, c.threshold, c.medianAreaPx],
    )
    assert.equal(d.labels?.sha256, c.labels?.sha256)
    assert.deepEqual(csvRows(pathOf(d.table)), csvRows(pathOf(c.table)))
    const labels = join(features.folder, 'labels.png')
    copyFileSync(pathOf(c.labels), labels)
    const [e, f] = [
      await extract(labels, put(features, 'plain', plainFile)),
      await extract(labels, put(features, 'offset', offsetFile), signedZero),
    ]
    assert.equal(e.objectCount, c.nucleiCount)
    assert.deepEqual(f.imageFeatures, e.imageFeatures)
  })

  const verdictOf = (answer: Awaited<ReturnType<typeof assess>>) => {
    const output = create(AssessImageResponseSchema, answer)
    return judge(screeningBands, 'image-quality', output, ChannelKind.NUCLEI)
  }

  test('is flagged where nobody states the offset', async () => {
    const answer = await assess(put(quality, 'offset', offsetFile))
    assert.equal(answer.offset?.suspected, true)
    const judged = verdictOf(answer)
    assert.equal(judged?.verdict, Verdict.FAIL)
    assert.ok(
      judged.findings.some((one) => one.rule === 'offset-stated' && one.verdict === Verdict.FAIL),
    )
  })

  test('an offset that does not hold is told by what lies below it', async () => {
    const answer = await assess(put(quality, 'plain', plainFile), signedZero)
    assert.deepEqual([answer.offset?.below, answer.offset?.suspected], [1, false])
    assert.equal(verdictOf(answer)?.verdict, Verdict.FAIL)
  })

  test('saturated, flat and 8-bit images are not suspected', async () => {
    const of = async (samples: number[], bits: number) => {
      const file = tiffFile([{ width: 64, height: 64, bits, samples }])
      return (await assess(put(quality, 'image', file))).offset?.suspected ?? false
    }
    const pixels = (level: (i: number) => number) =>
      Array.from({ length: 4_096 }, (_, i) => level(i))
    assert.equal(
      await of(
        pixels((i) => 33_000 + (i % 50)),
        16,
      ),
      true,
    )
    assert.equal(
      await of(
        pixels((i) => (i === 0 ? 0 : 33_000 + (i % 50))),
        16,
      ),
      true,
    )
    assert.equal(
      await of(
        pixels(() => 65_535),
        16,
      ),
      false,
    )
    assert.equal(
      await of(
        pixels((i) => (i < 1_000 ? 60_000 : 65_535)),
        16,
      ),
      false,
    )
    assert.equal(
      await of(
        pixels(() => 40_000),
        16,
      ),
      false,
    )
    assert.equal(
      await of(
        pixels((i) => 200 + (i % 50)),
        8,
      ),
      false,
    )
    assert.equal(
      await of(
        pixels((i) => (i % 20 === 0 ? 100 : 40_000 + i)),
        16,
      ),
      false,
    )
  })
})

describe('with a program that measures whatever it is given', () => {
  const good = ['mean', 'median', 'std', 'mad', 'min', 'max', 'var_over_mean', 'at_ceiling']
  const more = ['percent_maximal', 'laplacian_ratio', 'power_slope', 'width', 'height']
  const body = Object.fromEntries([...good, ...more].map((name) => [name, 1]))
  let asked = 0
  const old = createServer((_, response) => {
    asked += 1
    response.end(JSON.stringify({ ...body, flag: 'OK', version: 'old' }))
  })
  let wrapper: Wrapper
  before(async () => {
    old.listen(0, '127.0.0.1').unref()
    await once(old, 'listening')
    const { port } = old.address() as AddressInfo
    const url = `http://127.0.0.1:${port}`
    wrapper = await startWrapper('image-quality', { WELLSPRING_IMAGEQC_URL: url })
  })
  after(async () => {
    old.closeAllConnections()
    old.close()
    await wrapper.stop()
  })

  test('it is not asked about kinds that are not read', async () => {
    for (const { name, file } of refusedKinds.filter((_, i) => i % 5 === 0)) {
      const { info } = await refusal(assess(put(wrapper, 'image', file), 0, wrapper))
      assert.equal(info?.reason, 'UNSUPPORTED_KIND', name)
    }
    assert.equal(asked, 0)
  })

  test('it is not believed when it does not say that it subtracted the offset', async () => {
    const path = put(wrapper, 'image', tiffFile([{ width: 8, height: 8 }]))
    assert.equal((await assess(path, 0, wrapper)).metricSet, 'old')
    const { info, details } = await refusal(assess(path, signedZero, wrapper))
    assert.equal(info?.reason, 'BAD_ANSWER')
    assert.match(details, /did not subtract the pixel offset 32768/)
  })
})

test(
  'of real files the one full page is measured, and more than one are refused',
  needsData,
  async () => {
    const read = { 'plain.tif': 96, 'pyramid-subifd.tif': 96, 'thumb-first.tif': 96 }
    for (const [name, widthPx] of Object.entries(read)) {
      const answer = await assess(inData('cases/04-multipage', name))
      assert.equal(answer.widthPx, widthPx, name)
    }
    const full = await assess(inData('cases/04-multipage/plain.tif'))
    const withThumbnail = await assess(inData('cases/04-multipage/thumb-first.tif'))
    assert.deepEqual(withThumbnail.intensity, full.intensity)
    for (const path of [
      'cases/04-multipage/zstack.tif',
      'cases/04-multipage/channels.ome.tif',
      'cases/04-multipage/imagej-one-ifd.tif',
      'cases/03-loaddata-frame/images/C01.tif',
    ]) {
      const { info, details } = await refusal(assess(inData(path)))
      assert.equal(info?.reason, 'UNSUPPORTED_KIND', path)
      assert.match(details, /more than one full page/, path)
    }
  },
)
