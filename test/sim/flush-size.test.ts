// A flush is bounded by what it writes, also when one command changes a whole plate.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create, toBinary } from '@bufbuild/protobuf'
import { CommandSchema } from '#proto/wellspring/record/v1/input_pb.ts'
import { loadPipeline } from '../../coordinator/core/pipeline/check.ts'
import { imageRecords, planOf, planRecord } from '../e2e/stage.ts'
import { pipeline as levels } from '../pipelines/echo-levels.ts'
import { openWorld, type World } from './world.ts'

/** Records per flush in a world, and what one event may add: a well with its sites, and its plate. */
const FLUSH_RECORDS_MAX = 12
const EVENT_RECORDS = 6

test('a plate-wide redrive never collects more than a flush holds', async () => {
  const world = openWorld({
    seed: 1,
    tasks: 1,
    pipeline: loadPipeline(levels),
    script: () => ({ kind: 'fail', reason: 'BAD_DATA' }),
  })
  world.start()
  world.after(1, () => world.rebalance())
  const plan = planOf('P', { wells: 60, sites: 4, channels: 1 })
  world.after(10, () => world.broker.produce('commands.v1', 0, 'E/P', planRecord(plan).value))
  for (const { key, value } of imageRecords(plan))
    world.after(2_000, () => world.broker.produce('images.v1', 0, key, value))
  const action = { case: 'redrive' as const, value: { entity: 'E/P/a1', step: '' } }
  const redrive = toBinary(CommandSchema, create(CommandSchema, { action }))
  world.after(40_000, () => world.broker.produce('commands.v1', 0, 'E/P', redrive))
  const letters = (): number => world.broker.committed('dead-letters.v1').length
  assert.ok(await world.run(200_000, () => letters() === 2 * 240))
  assert.ok(largest(world) <= FLUSH_RECORDS_MAX + EVENT_RECORDS, `${largest(world)}`)
})

test('a plan that comes after all images of its plate never collects more than a flush holds', async () => {
  const world = openWorld({
    seed: 1,
    tasks: 1,
    pipeline: loadPipeline(levels),
    script: () => undefined,
  })
  world.start()
  world.after(1, () => world.rebalance())
  const plan = planOf('P', { wells: 60, sites: 4, channels: 1 })
  for (const { key, value } of imageRecords(plan))
    world.after(10, () => world.broker.produce('images.v1', 0, key, value))
  world.after(40_000, () => {
    assert.equal(world.broker.committed('results.v1').length, 240, 'every image has its result')
    world.broker.produce('commands.v1', 0, 'E/P', planRecord(plan).value)
  })
  world.after(40_100, () => world.processes.forEach((one) => world.crash(one)))
  world.after(41_000, () => void world.start())
  world.after(42_000, () => world.rebalance())
  assert.ok(await world.run(200_000, () => world.broker.committed('plate-events.v1').length === 1))
  assert.deepEqual(world.complaints, [])
  assert.ok(largest(world) <= FLUSH_RECORDS_MAX + EVENT_RECORDS, `${largest(world)}`)
})

/** Most records of state in one flush. */
function largest(world: World): number {
  const sizes = world.broker
    .flushes()
    .map((flush) => flush.filter(({ topic }) => topic === 'state.v1').length)
  return Math.max(...sizes)
}
