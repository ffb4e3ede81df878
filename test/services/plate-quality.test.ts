import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { WellRole } from '#proto/wellspring/lab/v1/plan_pb.ts'
import { PlateQualityService } from '#proto/wellspring/steps/platequality/v1/plate_quality_pb.ts'
import {
  robustSsmd,
  robustZPrime,
  ssmd,
  variation,
  zPrime,
} from '../../services/plate-quality/statistics.ts'
import { startWrapper, type Wrapper } from './wrappers.ts'

const positive = [10, 12, 11, 9, 13]
const negative = [100, 104, 96, 110, 95]

function close(value: number | undefined, expected: number): void {
  assert.ok(value !== undefined && Math.abs(value - expected) < 1e-12, `${value}, not ${expected}`)
}

describe('statistics', () => {
  // By hand: means 11 and 101; squares of deviations 10 and 152, so variances 2.5 and 38 (n − 1).
  // Medians 11 and 100; absolute deviations 0 1 1 2 2 and 0 4 4 5 10, so MADs 1 and 4.
  test('Z′ (Zhang 1999): 1 − 3 (√2.5 + √38) / 90', () => {
    close(zPrime(positive, negative), 1 - (3 * (Math.sqrt(2.5) + Math.sqrt(38))) / 90)
  })
  test('robust Z′: 1 − 3 · 1.4826 · (1 + 4) / 89', () => {
    close(robustZPrime(positive, negative), 1 - (3 * 1.4826 * 5) / 89)
  })
  test('SSMD (Zhang 2007): −90 / √40.5, with its sign', () => {
    close(ssmd(positive, negative), -90 / Math.sqrt(40.5))
    close(ssmd(negative, positive), 90 / Math.sqrt(40.5))
  })
  test('robust SSMD: −89 / (1.4826 √17)', () => {
    close(robustSsmd(positive, negative), -89 / (1.4826 * Math.sqrt(17)))
  })
  test('coefficient of variation: √38 / 101', () => {
    close(variation(negative), Math.sqrt(38) / 101)
  })

  test('no variance is no number, least of all a Z′ of 1', () => {
    const flat = [0.1, 0.1, 0.1]
    const other = [0.7, 0.7, 0.7]
    for (const statistic of [zPrime, robustZPrime, ssmd, robustSsmd]) {
      assert.equal(statistic(flat, other), undefined, statistic.name)
      assert.equal(statistic([1], negative), undefined, statistic.name)
      assert.equal(statistic([], []), undefined, statistic.name)
    }
    assert.equal(robustZPrime([1, 1, 1, 9], [5, 5, 5, 5]), undefined)
    assert.equal(zPrime(negative, negative), undefined)
    assert.equal(variation(flat), undefined)
    assert.equal(variation([-1, 1]), undefined)
  })
})

describe('the service', () => {
  let wrapper: Wrapper
  before(async () => {
    wrapper = await startWrapper('plate-quality')
  })
  after(() => wrapper.stop())

  const well = (name: string, role: WellRole, count: number, sitesMissing = 0) => {
    return { well: name, role, nucleiPerSite: count, nucleiCount: count * 2, sitesMissing }
  }
  const plate = (wells: ReturnType<typeof well>[], wellsExpected: number, holes: string[] = []) =>
    wrapper.call(PlateQualityService.method.assessPlate, (context) => ({
      context,
      wells,
      wellsExpected,
      holes,
    }))

  test('controls are judged, samples only counted, holes reported', async () => {
    const answer = await plate(
      [
        ...positive.map((count, i) => well(`A0${i + 1}`, WellRole.POSITIVE_CONTROL, count)),
        ...negative.map((count, i) => well(`B0${i + 1}`, WellRole.NEGATIVE_CONTROL, count, 1)),
        well('C01', WellRole.SAMPLE, 0),
        well('C02', WellRole.UNSPECIFIED, 50),
      ],
      14,
      ['E1/P1/a1/C03', 'E1/P1/a1/C04'],
    )
    close(answer.zPrime, 1 - (3 * (Math.sqrt(2.5) + Math.sqrt(38))) / 90)
    close(answer.negativeControlCv, Math.sqrt(38) / 101)
    assert.deepEqual([answer.positiveControls, answer.negativeControls], [5, 5])
    assert.deepEqual([answer.wellsUsed, answer.wellsMissing, answer.sitesMissing], [12, 2, 5])
    assert.equal(answer.nucleiCount, 2 * (55 + 505 + 50))
    assert.deepEqual(answer.wellsWithoutNuclei, ['C01'])
  })

  test('a plate without controls, or without wells, has no statistics and no error', async () => {
    for (const wells of [[], [well('C02', WellRole.SAMPLE, 50)]]) {
      const answer = await plate(wells, 3)
      assert.equal(answer.zPrime, undefined)
      assert.equal(answer.positiveControlCv, undefined)
      assert.equal(answer.wellsMissing, 3 - wells.length)
    }
  })
})
