import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { WellProfileService } from '#proto/wellspring/steps/wellprofile/v1/well_profile_pb.ts'
import { columnsDiffer, median, mediansOf } from '../../services/well-profile/profile.ts'
import { refusal } from '../kit/support.ts'
import { artifactOf, startWrapper, type Wrapper } from './wrappers.ts'

const columns = ['ImageNumber', 'ObjectNumber', 'AreaShape_Area', 'AreaShape_FormFactor']

describe('profile', () => {
  // pycytominer's aggregate takes the median over all objects of the well. Site by site it would be 10 here.
  test('the median is over all objects, not over sites', () => {
    const sites = [['1', '2', '3'], ['10'], ['50', '60', '70', '80']]
    const tables = sites.map((areas) => ({
      columns,
      rows: areas.map((area) => ['1', '1', area, '0.5']),
    }))
    assert.deepEqual(mediansOf(tables), [
      { name: 'AreaShape_Area', value: 30 },
      { name: 'AreaShape_FormFactor', value: 0.5 },
    ])
  })

  test('cells without a number do not count, nor does a column of them', () => {
    const rows = [
      ['1', '1', '4', 'nan'],
      ['1', '2', '', 'nan'],
      ['1', '3', 'inf', 'nan'],
    ]
    assert.deepEqual(mediansOf([{ columns, rows }]), [{ name: 'AreaShape_Area', value: 4 }])
    assert.deepEqual(mediansOf([{ columns, rows: [] }]), [])
    assert.deepEqual(mediansOf([]), [])
  })

  test('medians of odd and even numbers of values', () => {
    assert.deepEqual([median([3, 1, 2]), median([10, 9, 2, 1]), median([])], [2, 5.5, undefined])
  })

  test('different columns are named', () => {
    const table = (names: string[]) => ({ columns: names, rows: [] })
    assert.equal(columnsDiffer([table(columns), table(columns)]), undefined)
    const difference = columnsDiffer([table(columns), table([...columns.slice(0, 3), 'New'])])
    assert.equal(difference, 'table 2 lacks AreaShape_FormFactor; has besides: New')
  })

  test('a site that lost a channel lacks its columns and nothing else', () => {
    const channel = (name: string) => [
      `Intensity_MeanIntensity_${name}`,
      `Intensity_MaxIntensity_${name}`,
    ]
    const both = [...columns, ...channel('DNA'), ...channel('RNA_2')]
    const one = [...columns, ...channel('DNA')]
    const table = (names: string[], row: string[] = []) => ({ columns: names, rows: [row] })
    assert.equal(columnsDiffer([table(both), table(one)]), undefined)
    assert.equal(columnsDiffer([table(one), table(both)]), undefined)
    assert.equal(
      columnsDiffer([table(both), table(one.slice(0, -1))]),
      'table 2 lacks Intensity_MaxIntensity of channel DNA; has besides: none',
    )
    assert.equal(
      columnsDiffer([table(one), table(both.slice(0, -1))]),
      'table 2 lacks Intensity_MaxIntensity of channel RNA_2; has besides: none',
    )
    assert.match(
      columnsDiffer([table(both), table([...columns.slice(1), ...channel('DNA')])]) ?? '',
      /ImageNumber/,
    )
    const medians = mediansOf([
      table(one, ['1', '1', '4', '1', '7', '8']),
      table(both, ['1', '1', '6', '1', '9', '10', '11', '12']),
    ])
    assert.deepEqual(
      medians
        .map(({ name, value }) => [name, value])
        .filter(([name]) => String(name).includes('MeanIntensity')),
      [
        ['Intensity_MeanIntensity_DNA', 8],
        ['Intensity_MeanIntensity_RNA_2', 11],
      ],
    )
  })
})

describe('the service', () => {
  let wrapper: Wrapper
  before(async () => {
    wrapper = await startWrapper('well-profile')
  })
  after(() => wrapper.stop())

  const site = (number: number, rows: string[], header = columns) => {
    const path = join(wrapper.folder, `site-${number}.csv`)
    writeFileSync(path, [header.join(','), ...rows, ''].join('\n'))
    return { site: number, nucleiCount: rows.length, objects: artifactOf(path, 'text/csv') }
  }
  const profile = (sites: ReturnType<typeof site>[], sitesExpected: number) =>
    wrapper.call(WellProfileService.method.profileWell, (context) => ({
      context,
      sites,
      sitesExpected,
    }))

  test('a well of three sites, one of them empty, one missing', async () => {
    const answer = await profile(
      [site(1, ['1,1,10,0.5', '1,2,20,0.7']), site(2, ['1,1,40,0.9']), site(4, [])],
      4,
    )
    assert.deepEqual([answer.nucleiCount, answer.nucleiPerSite, answer.objectCount], [3, 1, 3])
    assert.deepEqual([answer.sitesUsed, answer.sitesMissing], [[1, 2, 4], 1])
    const medians = answer.medians.map(({ name, value }) => [name, value])
    assert.deepEqual(medians, [
      ['AreaShape_Area', 20],
      ['AreaShape_FormFactor', 0.7],
    ])
  })

  test('a well without sites is a result', async () => {
    const answer = await profile([], 4)
    assert.deepEqual([answer.nucleiPerSite, answer.medians, answer.sitesMissing], [0, [], 4])
  })

  test('sites measured by different versions are COLUMNS_DIFFER', async () => {
    const { info, details } = await refusal(
      profile([site(1, []), site(2, [], columns.slice(0, 3))], 2),
    )
    assert.equal(info?.reason, 'COLUMNS_DIFFER')
    assert.match(details, /lacks AreaShape_FormFactor/)
  })

  test('a table changed after it was announced is ARTIFACT_NOT_READY', async () => {
    const announced = site(1, ['1,1,10,0.5'])
    writeFileSync(join(wrapper.folder, 'site-1.csv'), 'other')
    assert.equal((await refusal(profile([announced], 1))).info?.reason, 'ARTIFACT_NOT_READY')
  })
})
