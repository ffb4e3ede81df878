import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { measure, type Metrics } from '../../../services/legacy/imageqc-http/metrics.ts'
import { plan } from '../../../services/legacy/imageqc-http/slope.ts'
import { readPixels } from '../../../services/legacy/pixels.ts'
import { csvRows, inData, needsData } from './shared-data.ts'
import { synthetic } from './synthetic.ts'

// Made with numpy 2.4.6 and scipy: mean, median, std; gaussian_filter(σ 1.5, reflect) and laplace(nearest);
// centrosome's rps() on the centred square and lstsq of the logs.
const expected = [
  {
    image: [150, 130, false] as const,
    mean: 249.75851282051283,
    median: 250,
    std: 28.875975141151507,
    mad: 25,
    varianceToMean: 3.3385125933690194,
    percentMaximal: 1.0307692307692307,
    laplacianRatio: 0.011820454520239526,
    powerLogLogSlope: 1.022740916760643,
  },
  {
    image: [150, 130, true] as const,
    mean: 1042.835435897436,
    median: 268,
    std: 1323.0974170176044,
    mad: 36,
    varianceToMean: 1678.6797942018043,
    percentMaximal: 0.23076923076923078,
    laplacianRatio: 0.008027880905540073,
    powerLogLogSlope: -1.6746335224096454,
  },
  {
    image: [300, 260, true] as const,
    mean: 940.8406153846154,
    median: 264,
    std: 1263.9146249796977,
    mad: 33,
    varianceToMean: 1697.9285897266675,
    percentMaximal: 0.2448717948717949,
    laplacianRatio: 0.008379908521962348,
    powerLogLogSlope: -0.4575180093156224,
  },
]

test('every metric agrees with numpy, scipy and centrosome', () => {
  for (const { image, ...metrics } of expected) {
    const measured = measure(synthetic(image[0], image[1], image[2]), 0)
    for (const name of Object.keys(metrics) as (keyof typeof metrics)[]) {
      const difference = Math.abs(measured[name] - metrics[name])
      assert.ok(difference <= 1e-5 * Math.abs(metrics[name]), `${name}: ${measured[name]}`)
    }
  }
})

test('the Fourier transform agrees with the sum that defines it', () => {
  const length = 16
  const signal = Float64Array.from({ length }, (_, i) => Math.sin(i * i) + i / 7)
  const re = signal.slice()
  const im = new Float64Array(length)
  plan(length)(re, im)
  for (let k = 0; k < length; k++) {
    const angle = (n: number) => (-2 * Math.PI * k * n) / length
    const sumOf = (wave: (x: number) => number) =>
      signal.reduce((sum, value, n) => sum + value * wave(angle(n)), 0)
    assert.ok(Math.abs((re[k] ?? NaN) - sumOf(Math.cos)) < 1e-9)
    assert.ok(Math.abs((im[k] ?? NaN) - sumOf(Math.sin)) < 1e-9)
  }
})

test('the ceiling is the detector’s when given, else the pixel type’s', () => {
  const image = synthetic(64, 64, true)
  const clipped = image.values.reduce((count, value) => count + (value >= 3250 ? 1 : 0), 0)
  assert.equal(measure(image, 3250).atCeiling, clipped / image.values.length)
  assert.equal(measure(image, 0).atCeiling, 0)
  const values = Uint16Array.from([255, 3, 255, 3])
  assert.equal(measure({ values, widthPx: 2, heightPx: 2, bitsPerPixel: 8 }, 0).atCeiling, 0.5)
})

test('a flat image and one of a single pixel give finite numbers', () => {
  for (const size of [1, 7, 64]) {
    const image = { widthPx: size, heightPx: size, bitsPerPixel: 16 } as const
    for (const level of [0, 9]) {
      const metrics = measure({ ...image, values: new Uint16Array(size * size).fill(level) }, 0)
      assert.deepEqual(
        Object.values(metrics).filter((value) => !Number.isFinite(value)),
        [],
      )
      const { std, varianceToMean, laplacianRatio, powerLogLogSlope } = metrics
      assert.deepEqual([std, varianceToMean, laplacianRatio, powerLogLogSlope], [0, 0, 0, 0])
    }
  }
})

describe('real images', needsData, () => {
  const of = async (...path: string[]): Promise<Metrics> =>
    measure(await readPixels(inData(...path)), 0)

  test('BBBC006: the smoothed Laplacian at 0.0005 tells focus from defocus', async () => {
    for (const row of csvRows(inData('focus-bbbc006/manifest.csv'))) {
      const quality = row['expected_quality'] ?? ''
      if (!['in_focus', 'out_of_focus'].includes(quality)) continue
      const { laplacianRatio } = await of('focus-bbbc006', row['path'] ?? '')
      assert.equal(
        laplacianRatio > 0.0005,
        quality === 'in_focus',
        `${row['path']}: ${laplacianRatio}`,
      )
    }
  })

  test('BBBC039 and CV8000: variance to mean below 1 in empty fields, and in no other', async () => {
    for (const row of csvRows(inData('bbbc039-u2os-nuclei/expected_counts.csv'))) {
      const { varianceToMean } = await of('bbbc039-u2os-nuclei', row['image'] ?? '')
      assert.equal(varianceToMean < 1, row['nuclei_ground_truth'] === '0', row['image'])
    }
    const [black] = csvRows(inData('cv8000-black-plate/manifest.csv'))
    assert.equal((await of('cv8000-black-plate', black?.['path'] ?? '')).varianceToMean, 0)
  })
})
