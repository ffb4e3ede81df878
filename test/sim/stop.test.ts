// A flush that cannot be written stops the plate that it was for, and nothing else. A broker that takes little makes what
// no plate can make of a real one: a record of state that is too large for it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { CommandSchema, type Command } from '#proto/wellspring/record/v1/input_pb.ts'
import {
  ClosedBy,
  DeadLetterSchema,
  EntityStatusSchema,
  PlateEventSchema,
  type DeadLetter,
  type EntityStatus,
} from '#proto/wellspring/record/v1/output_pb.ts'
import { loadPipeline } from '../../coordinator/core/pipeline/check.ts'
import { explain } from '../../coordinator/core/view/explain.ts'
import { emptyTask, loadState, type Task } from '../../coordinator/core/state.ts'
import { imageRecords, planOf, planRecord } from '../e2e/stage.ts'
import { pipeline as levels } from '../pipelines/echo-levels.ts'
import { broken } from './checks.ts'
import { openWorld, type World } from './world.ts'

const pipeline = loadPipeline(levels)
/** A site of two images fits into it, one of eight does not. */
const SMALL_BYTES = 3_000
const LARGE_BYTES = 256 * 1024
const FAT = 'E/fat/a1'
const fat = planOf('fat', { wells: 1, sites: 2, channels: 8 })
const fatImages = imageRecords(fat)
const lean = planOf('lean', { wells: 6, sites: 2, channels: 1 })

type Story = World & { raise(): void; executions: Map<string, number> }

function begin(seed: number): Story {
  const executions = new Map<string, number>()
  let recordBytesMax = SMALL_BYTES
  const world = openWorld({
    seed,
    tasks: 1,
    pipeline,
    script: ({ idempotencyKey, entity }) => {
      executions.set(idempotencyKey, (executions.get(idempotencyKey) ?? 0) + 1)
      // Under way when it stops.
      return entity.startsWith(FAT) ? { kind: 'late', delayMs: 700 } : undefined
    },
    recordBytesMax: () => recordBytesMax,
  })
  world.start()
  world.after(1, () => world.rebalance())
  for (const plan of [fat, lean])
    world.after(10, () => world.broker.produce('commands.v1', 0, 'E/P', planRecord(plan).value))
  fatImages.forEach(({ value }, at) =>
    world.after(1_000 + at * 100, () => world.broker.produce('images.v1', 0, 'E/P', value)),
  )
  imageRecords(lean).forEach(({ value }, at) =>
    world.after(1_000 + at * 200, () => world.broker.produce('images.v1', 0, 'E/P', value)),
  )
  return Object.assign(world, { executions, raise: () => void (recordBytesMax = LARGE_BYTES) })
}

const letters = (world: World): DeadLetter[] =>
  world.broker
    .committed('dead-letters.v1')
    .flatMap(({ value }) => (value ? [fromBinary(DeadLetterSchema, value)] : []))

const events = (world: World) =>
  world.broker
    .committed('plate-events.v1')
    .flatMap(({ value }) => (value ? [fromBinary(PlateEventSchema, value)] : []))

const isClosed = (world: World, plate: string): boolean =>
  events(world).some(({ entity }) => entity === plate)

function stateOf(world: World): Task {
  const state = emptyTask('sim', pipeline)
  for (const { key, value } of world.broker.committed('state.v1')) {
    const name = key?.toString() ?? ''
    if (!name.startsWith('#')) loadState(state, name, value)
  }
  return state
}

function statusOf(world: World, entity: string): EntityStatus | undefined {
  const last = world.broker.committed('status.v1').findLast(({ key }) => key?.toString() === entity)
  return last?.value ? fromBinary(EntityStatusSchema, last.value) : undefined
}

function command(world: World, action: Command['action']): void {
  const value = toBinary(CommandSchema, create(CommandSchema, { action }))
  world.broker.produce('commands.v1', 0, 'E/fat', value)
}

function announceAgain(world: World): void {
  world.after(2_000, () => {
    for (const { value } of fatImages) world.broker.produce('images.v1', 0, 'E/P', value)
  })
}

const redrive = (entity: string): Command['action'] => ({
  case: 'redrive',
  value: { $typeName: 'wellspring.record.v1.Redrive', entity, step: '' },
})

/** T1 to T4, and nothing hangs or is there twice. What a stopped plate lacks is no complaint. */
function complaintsOf(world: Story): string[] {
  const { broker, executions } = world
  const judged = {
    broker,
    pipeline,
    executions,
    announced: new Map(),
    isRetiring: false,
    outageEndedMs: undefined,
  }
  return [...world.complaints, ...broken(judged)].filter((one) => !one.startsWith('T5'))
}

for (const seed of [1, 2, 3, 4]) {
  test(`a plate whose state cannot be written stops alone, over a crash too: seed ${seed}`, async () => {
    const world = begin(seed)
    world.after(2_500, () => world.processes.forEach((one) => world.crash(one)))
    world.after(2_600, () => void world.start())
    world.after(2_700, () => world.rebalance())
    assert.ok(await world.run(60_000, () => isClosed(world, 'E/lean/a1')))
    await world.run(70_000, () => false)
    const [closed, ...others] = events(world)
    assert.deepEqual([closed?.entity, closed?.imagesDone, others], ['E/lean/a1', 12, []])
    assert.deepEqual(complaintsOf(world), [])

    const all = letters(world)
    const [own, ...more] = all.filter(({ origin }) => origin === undefined)
    assert.deepEqual([own?.entity, own?.failure?.reason, more], [FAT, 'PLATE_STOPPED', []])
    assert.match(
      own?.failure?.message ?? '',
      /^STATE_TOO_LARGE: record "E\/fat\/a1\/A01\/t0\/s1" of state.v1 has \d+ bytes; at most 3000 are written$/,
    )
    assert.equal(own?.failure?.hint, `when the cause is gone: npx wellspring redrive ${FAT}`)
    const aside = all.filter(({ origin }) => origin !== undefined)
    assert.ok(aside.length > 0)
    for (const { failure, originValue } of aside) {
      assert.equal(failure?.reason, 'PLATE_STOPPED')
      assert.ok(fatImages.some(({ value }) => value && Buffer.compare(value, originValue) === 0))
    }
    const state = stateOf(world)
    const plate = state.plates.get(FAT)
    assert.equal((plate?.arrived ?? 0) + aside.length, fatImages.length, 'taken in, or set aside')
    assert.equal(plate?.stopped?.reason, 'STATE_TOO_LARGE')
    assert.equal(statusOf(world, FAT)?.stopped?.reason, 'STATE_TOO_LARGE')
    const about = explain(state, `${FAT}/A01/t0/s2`, world.nowMs())
    assert.equal(about?.state, 'STOPPED')
    assert.match(about?.next ?? '', /E\/fat\/a1 is stopped; .* redrive E\/fat\/a1 goes on with it/)
    assert.match(about?.notes.join() ?? '', /plate E\/fat\/a1 is stopped since .*at most 3000/)
  })

  test(`a stopped plate goes on by a person's word, with what it has: seed ${seed}`, async () => {
    const world = begin(seed)
    await world.run(30_000, () => false)
    const aside = letters(world).filter(({ origin }) => origin !== undefined).length
    assert.ok(aside > 0)
    command(world, redrive(`${FAT}/A01/t0/s1`))
    await world.run(31_000, () => false)
    assert.equal(letters(world).at(-1)?.failure?.reason, 'PLATE_STOPPED', 'a part of it does not')
    // As long as the cause is there, it stops again.
    const before = statusOf(world, FAT)?.stopped?.at
    command(world, redrive(FAT))
    announceAgain(world)
    await world.run(40_000, () => false)
    const again = statusOf(world, FAT)?.stopped
    assert.equal(again?.reason, 'STATE_TOO_LARGE')
    assert.notDeepEqual(again.at, before)
    assert.deepEqual(world.processes[0]?.host.engine(0)?.trouble().down(), undefined)
    const own = letters(world).filter(({ origin }) => origin === undefined)
    assert.equal(own.length, 2, 'it has stopped twice, however often that was tried')
    world.raise()
    command(world, redrive(FAT))
    announceAgain(world)
    // It may have closed without what was set aside; that makes the next revision.
    const last = () => events(world).findLast(({ entity }) => entity === FAT)
    assert.ok(await world.run(90_000, () => last()?.imagesDone === fatImages.length))
    assert.equal(last()?.closedBy, ClosedBy.ALL)
    assert.deepEqual(complaintsOf(world), [])
    await world.run(100_000, () => false)
    assert.equal(statusOf(world, FAT)?.stopped, undefined)
  })
}

test('a stopped plate is given up by a close: it is forgotten, and its summary says why', async () => {
  const world = begin(5)
  await world.run(30_000, () => false)
  command(world, {
    case: 'close',
    value: { $typeName: 'wellspring.record.v1.ClosePlate', entity: FAT },
  })
  await world.run(60_000, () => false)
  const state = stateOf(world)
  const below = [...state.sites.keys(), ...state.wells.keys(), ...state.plans.keys()]
  assert.deepEqual(
    below.filter((key) => key.startsWith(FAT)),
    [],
  )
  const plate = state.plates.get(FAT)
  assert.ok(plate?.retired && plate.retired.nextWell === undefined)
  assert.equal(plate.stopped?.reason, 'STATE_TOO_LARGE')
  assert.ok(isClosed(world, 'E/lean/a1'))
  assert.deepEqual(complaintsOf(world), [])
})
