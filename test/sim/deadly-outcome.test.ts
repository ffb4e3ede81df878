// An outcome that kills whoever takes it in: the records that wait beside it are not to blame.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { loadPipeline } from '../../coordinator/core/pipeline/check.ts'
import { imageRecords, planOf, planRecord } from '../e2e/stage.ts'
import { pipeline as levels } from '../pipelines/echo-levels.ts'
import { openWorld } from './world.ts'

const IMAGES = 6

for (const seed of [1, 2, 3, 4, 5])
  test(`an outcome that kills its process again and again sets no record aside: seed ${seed}`, () =>
    outcomeKills(seed))

async function outcomeKills(seed: number): Promise<void> {
  let deaths = 0
  let isDeadly = true
  const pipeline = loadPipeline(levels)
  const { bands } = pipeline
  // Asked for every result, as it is judged.
  const deadly = {
    ...bands,
    get rules() {
      const [process] = world.processes
      if (isDeadly && process) {
        deaths += 1
        world.crash(process)
        world.after(1_000, () => void world.start())
        world.after(1_100, () => world.rebalance())
      }
      return bands.rules
    },
  }
  const world = openWorld({
    seed,
    tasks: 1,
    pipeline: { ...pipeline, bands: deadly },
    script: () => undefined,
  })
  world.start()
  world.after(1, () => world.rebalance())
  const plan = planOf('P', { wells: IMAGES, sites: 1, channels: 1 })
  world.after(10, () => world.broker.produce('commands.v1', 0, 'E/P', planRecord(plan).value))
  for (const [at, { key, value }] of imageRecords(plan).entries())
    world.after(1_000 + at, () => world.broker.produce('images.v1', 0, key, value))
  await world.run(60_000, () => false)
  assert.ok(deaths > 10, `${deaths} deaths`)
  isDeadly = false
  const events = (): number => world.broker.committed('plate-events.v1').length
  assert.ok(await world.run(120_000, () => events() === 1))
  assert.deepEqual(world.broker.committed('dead-letters.v1'), [])
  assert.deepEqual(world.complaints, [])
}
