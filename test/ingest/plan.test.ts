import assert from 'node:assert/strict'
import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { PlatePlan } from '#proto/wellspring/lab/v1/plan_pb.ts'
import { planOf } from '../../ingest/plan.ts'
import { resolveSurvey } from '../../ingest/resolve.ts'
import { survey } from '../../ingest/survey.ts'
import { realSet } from './data.ts'

const bbbc039 = realSet('bbbc039-u2os-nuclei')
const imagexpress = realSet('imagexpress-9987-3434')
const nf1 = realSet('nf1-cell-painting')

async function plansOf(path: string): Promise<PlatePlan[]> {
  const resolved = await resolveSurvey(await survey(path), { experiment: 'E' })
  return resolved.plates.map((plate) => planOf(plate))
}

/** Well → its sites, as the plan means it. */
const sitesOf = (plan: PlatePlan | undefined): Record<string, number[]> =>
  Object.fromEntries(
    plan?.wells.map(({ well, sites }) => [well, sites.length > 0 ? sites : plan.sites]) ?? [],
  )

test(
  'imagexpress: the plan is what the HTD declares, Cy5 without files included',
  imagexpress.needs,
  async () => {
    const [plan] = await plansOf(imagexpress.path)
    assert.deepEqual(sitesOf(plan), { B02: [1, 2], B03: [1, 2] })
    assert.deepEqual(plan?.zPlanes, [0, 1, 2])
    assert.equal(plan?.referenceZ, 0)
    assert.deepEqual(
      plan?.channels.map((channel) => channel.name),
      ['w1', 'w2', 'w3', 'w4'],
    )
    assert.deepEqual(plan?.timePoints, [0])
  },
)

test('bbbc039: sparse plates plan exactly the fields that are there', bbbc039.needs, async () => {
  const plans = await plansOf(join(bbbc039.path, 'images'))
  const plan = plans.find((candidate) => candidate.plate === 'BR00021347')
  assert.deepEqual(sitesOf(plan), { F12: [5], K12: [1], O10: [8] })
})

test('nf1: one site in each well, another one in each', nf1.needs, async () => {
  const [plan] = await plansOf(join(nf1.path, 'manifest.csv'))
  assert.deepEqual(sitesOf(plan), { B07: [3], D06: [2], D07: [1], F07: [2], H12: [1] })
  assert.deepEqual(
    plan?.channels.map((channel) => channel.name),
    ['DAPI', 'GFP', 'RFP'],
  )
})

test('wells with all sites name none; a missing channel row stays planned; AA comes after Z', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'wellspring-plan-'))
  const rows = ['Z01,1,w1', 'Z01,2,w1', 'AA01,1,w1', 'AA01,1,w2', 'A02,1,w1', 'A02,2,w1']
  const text = rows.map((row, index) => `${index}.tif,P,${row}\n`).join('')
  await writeFile(join(folder, 'm.csv'), `path,plate,well,site,channel\n${text}`)
  const [plan] = await plansOf(join(folder, 'm.csv'))
  assert.deepEqual(
    plan?.wells.map(({ well, sites }) => [well, sites]),
    [
      ['A02', []],
      ['Z01', []],
      ['AA01', [1]],
    ],
  )
  assert.deepEqual(
    plan?.channels.map((channel) => channel.name),
    ['w1', 'w2'],
  )
})
