// One task's trouble is that task's: it stays down and says why, whoever owns it; its process and the others go on.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fromBinary } from '@bufbuild/protobuf'
import { CHECKPOINT_KEY, OWNER_KEY } from '../../coordinator/task/batch.ts'
import type { Down } from '../../coordinator/task/taking-over.ts'
import { Level } from '#proto/wellspring/contract/v1/options_pb.ts'
import {
  CheckpointSchema,
  OwnerSchema,
  PlateStateSchema,
} from '#proto/wellspring/journal/v1/state_pb.ts'
import { imageRecords, planOf } from '../e2e/stage.ts'
import {
  IMAGES,
  acceptLoss,
  audited,
  committedKeys,
  deadLetters,
  names,
  pipeline,
  plateState,
  stage,
  type Stage,
} from './down-stage.ts'
import { openWorld, type World } from './world.ts'

/** Both processes stand still, task 0 and the others get images, and those of task 0 are deleted up to `low`. */
async function deletedWhileStopped({ world, announce, until }: Stage, low: number): Promise<void> {
  announce(0, 0, 2)
  await until(
    () => world.broker.committed('results.v1').length >= 2,
    'the first images are taken in',
  )
  for (const process of world.processes) world.stop(process, 5_000)
  world.after(100, () => {
    for (const task of [0, 1, 2]) announce(task, task === 0 ? 2 : 0, IMAGES)
    world.broker.deleteBelow('images.v1', 0, low)
  })
}

test('input that was deleted unread keeps its task down by name and number; the others finish', async () => {
  const on = await stage()
  const { world, downOf, closed, until } = on
  await deletedWhileStopped(on, 6)
  await until(() => downOf(0) !== undefined, 'task 0 is down')
  const trouble = downOf(0)?.trouble
  assert.equal(trouble?.reason, 'INPUT_LOST')
  assert.match(
    trouble.message,
    /^4 records of images\.v1\/0 were deleted before they were read: 2 to 6$/,
  )
  assert.match(trouble.hint, /npx wellspring tasks --accept-loss images\.v1\/0 --reason/)
  const noticedMs = trouble.lost[0]?.noticedMs
  await until(() => closed().size === 2, 'the plates of the others close')

  // Whoever owns it: noticed once, and no process ends.
  for (let move = 0; move < 6; move += 1) world.after(move * 7_000, () => world.rebalance())
  await until(() => world.nowMs() > 150_000, 'a long time')
  await until(() => downOf(0) !== undefined, 'it is down wherever it is')
  assert.equal(downOf(0)?.trouble.lost[0]?.noticedMs, noticedMs)
  const [owner] = world.processes
  assert.ok(owner)
  world.crash(owner)
  world.after(10, () => world.rebalance())
  await until(() => downOf(0) !== undefined, 'it is down with the last one left')
  assert.equal(downOf(0)?.trouble.lost[0]?.noticedMs, noticedMs)
  assert.deepEqual([world.complaints, closed().size], [[], 2])
})

test('a loss is let go by a command that names exactly what is lost; it is counted, told and marked', async () => {
  const on = await stage()
  const { world, downOf, closed, until } = on
  await deletedWhileStopped(on, 6)
  await until(() => downOf(0) !== undefined, 'task 0 is down')
  acceptLoss(world, 0, { topic: 'images.v1', from: 2, to: 5 })
  await until(() => /lost now/.test(downOf(0)?.trouble.message ?? ''), 'the wrong range is refused')
  assert.match(
    downOf(0)?.trouble.message ?? '',
    /ada accepted images\.v1\/0 2 to 5, but 2 to 6 is lost now$/,
  )
  // What is lost grows meanwhile: the word counts for what it names only.
  world.broker.deleteBelow('images.v1', 0, 7)
  acceptLoss(world, 0, { topic: 'images.v1', from: 2, to: 6 })
  await until(() => downOf(0)?.trouble.lost[0]?.to === 7, 'the loss of now')
  assert.match(
    downOf(0)?.trouble.message ?? '',
    /accepted images\.v1\/0 2 to 6, but 2 to 7 is lost now/,
  )
  acceptLoss(world, 0, { topic: 'images.v1', from: 2, to: 7 })
  await until(() => closed().size === 3, 'its plate closes too')
  assert.equal(downOf(0), undefined)

  const told = deadLetters(world).filter(({ loss }) => loss)
  assert.equal(told.length, 1)
  const { loss, failure } = told[0] ?? {}
  assert.deepEqual(
    [loss?.topic, loss?.partition, loss?.from, loss?.to, loss?.records, loss?.acceptedBy],
    ['images.v1', 0, 2, 7, 5, 'ada'],
  )
  assert.match(
    failure?.message ?? '',
    /5 records of images\.v1\/0 .*accepted by ada: the share was full/,
  )
  const refused = deadLetters(world).flatMap(({ loss: one, failure: why }) =>
    one ? [] : (why?.reason ?? ''),
  )
  assert.deepEqual(
    refused,
    ['NO_SUCH_LOSS', 'NO_SUCH_LOSS'],
    'read in their turn; the third was done by then',
  )
  assert.deepEqual(
    [plateState(world, 0).inputLoss?.records, plateState(world, 1).inputLoss],
    [5, undefined],
  )
  const last = committedKeys(world, CHECKPOINT_KEY)
    .filter(({ partition }) => partition === 0)
    .at(-1)
  const { losses, journalVersion } = fromBinary(CheckpointSchema, last?.value ?? Buffer.alloc(0))
  assert.deepEqual(
    losses.map(({ from, to, acceptedBy, unmarkedFrom }) => [from, to, acceptedBy, unmarkedFrom]),
    [[2, 7, 'ada', '']],
  )
  assert.ok(journalVersion >= 4, 'a version that would forget it does not take over')
  const report = audited(world)
  assert.deepEqual(
    report.losses.map(({ task, records }) => [task, records]),
    [[0, 5]],
  )
  assert.deepEqual([report.missing, report.duplicate, report.refusedInputs], [0, 0, 2])
  assert.deepEqual(world.complaints, [])
})

test('the first owner says where it began: what is deleted before the first checkpoint is a loss, not a beginning', async () => {
  const world = openWorld({ seed: 4, tasks: 1, pipeline, script: () => undefined })
  const { broker } = world
  const plan = planOf('P', { wells: IMAGES, sites: 1, channels: 1 })
  for (const { key, value } of imageRecords(plan)) broker.produce('images.v1', 0, key, value)
  broker.deleteBelow('images.v1', 0, 2)
  const first = world.start()
  world.after(1, () => world.rebalance())
  const crash = (): void => {
    if (committedKeys(world, OWNER_KEY).length > 0) world.crash(first)
    else world.after(1, crash)
  }
  crash()
  await world.run(1_000, () => false)
  assert.equal(committedKeys(world, OWNER_KEY).length, 1)
  assert.equal(committedKeys(world, CHECKPOINT_KEY).length, 0)
  broker.deleteBelow('images.v1', 0, 5)
  const second = world.start()
  world.after(1, () => world.rebalance())
  const down = (): Down | undefined => second.host.engine(0)?.trouble().down()
  assert.ok(await world.run(60_000, () => down() !== undefined))
  assert.match(down()?.trouble.message ?? '', /^3 records of images\.v1\/0 .*: 2 to 5$/)
  const owners = committedKeys(world, OWNER_KEY).flatMap(({ value }) =>
    value ? [fromBinary(OwnerSchema, value)] : [],
  )
  assert.deepEqual(
    owners.map(({ start }) => start.map(({ topic, next }) => `${topic} ${next}`)),
    owners.map(() => ['images.v1 2', 'commands.v1 0']),
  )
  // A third one knows it too.
  world.crash(second)
  const third = world.start()
  world.after(1, () => world.rebalance())
  const again = (): Down | undefined => third.host.engine(0)?.trouble().down()
  assert.ok(await world.run(60_000, () => again() !== undefined))
  assert.equal(again()?.trouble.lost[0]?.noticedMs, down()?.trouble.lost[0]?.noticedMs)
  acceptLoss(world, 0, { topic: 'images.v1', from: 2, to: 5 })
  assert.ok(await world.run(90_000, () => third.host.engine(0)?.phase === 'running'))
  await world.run(world.nowMs() + 5_000, () => false)
  assert.equal(
    plateState0(world, 'E/P/a1').inputLoss?.records,
    3,
    'a plate of which records were waiting may lack what came before them',
  )
})

function plateState0(world: World, key: string) {
  const found = committedKeys(world, key).at(-1)
  assert.ok(found?.value)
  return fromBinary(PlateStateSchema, found.value)
}

test('a topic that was made anew is no empty one: its task waits for a word, then reads it from its start', async () => {
  const on = await stage()
  const { world, announce, downOf, closed, until } = on
  announce(0, 0, 4)
  await until(() => world.broker.committed('results.v1').length >= 4, 'images are taken in')
  world.broker.makeAnew('images.v1', 0)
  announce(0, 4, 6)
  announce(1, 0, IMAGES)
  await until(() => downOf(0) !== undefined, 'task 0 is down')
  const trouble = downOf(0)?.trouble
  assert.equal(trouble?.reason, 'INPUT_RESET')
  assert.match(trouble.message, /images\.v1\/0 was made anew or cut off: it has nothing at 4/)
  await until(() => closed().size >= 1, 'the plate of another task closes')
  acceptLoss(world, 0, { topic: 'images.v1', from: 4, to: 0 })
  await until(() => plateState(world, 0).arrived === 6, 'what the new topic holds is taken in')
  assert.equal(deadLetters(world).find(({ loss }) => loss)?.loss?.reason, 'INPUT_RESET')
  assert.deepEqual(world.complaints, [])
})

test('commands that were deleted unread are a loss of their own, found behind it', async () => {
  const on = await stage()
  const { world, downOf, until } = on
  for (const process of world.processes) world.stop(process, 3_000)
  for (let count = 0; count < 3; count += 1)
    world.broker.produce('commands.v1', 0, 'E/P', Buffer.from('deleted unread'))
  world.broker.deleteBelow('commands.v1', 0, 4)
  await until(() => downOf(0) !== undefined, 'task 0 is down')
  assert.match(downOf(0)?.trouble.message ?? '', /^3 records of commands\.v1\/0 .*: 1 to 4$/)
  acceptLoss(world, 0, { topic: 'commands.v1', from: 1, to: 4 })
  await until(() => downOf(0) === undefined, 'task 0 runs')
  await until(() => deadLetters(world).some(({ loss }) => loss?.records === 3), 'it is told')
  assert.equal(plateState(world, 0).inputLoss?.records, 3)
})

test('a record of state that cannot be read keeps its task down until it is written anew', async () => {
  const on = await stage()
  const { world, announce, downOf, closed, until } = on
  const key = `E/${names[0]}/a1/A01/t0/s1`
  world.broker.spoil(0, key, Buffer.from('this is no site'))
  world.after(10, () => world.rebalance())
  const [first] = world.processes
  assert.ok(first)
  world.crash(first)
  for (const task of [0, 1, 2]) announce(task, 1, IMAGES)
  await until(() => downOf(0) !== undefined, 'task 0 is down')
  const trouble = downOf(0)?.trouble
  assert.equal(trouble?.reason, 'STATE_UNREADABLE')
  assert.ok(trouble.message.includes(key), trouble.message)
  await until(() => closed().size === 2, 'the plates of the others close')
  const tries = downOf(0)?.tries ?? 0
  const owners = (): number => committedKeys(world, OWNER_KEY).length
  const before = owners()
  await until(() => world.nowMs() > 120_000, 'a minute and more')
  assert.ok((downOf(0)?.tries ?? 0) - tries < 8, 'pauses grow')
  assert.ok(owners() - before < 8, 'and its tries leave little')
  world.broker.spoil(0, key, null)
  await until(() => downOf(0) === undefined, 'it runs once the record is gone')
  await until(() => closed().size === 3, 'its plate closes')
  assert.deepEqual(world.complaints, [])
})

test('what throws when a task is taken up is its trouble: growing pauses, and the others go on', async () => {
  let throws = 0
  let isBroken = false
  const broken: typeof pipeline = {
    ...pipeline,
    at(level) {
      const isRestoring = new Error().stack?.includes('core/restore.ts')
      if (!isBroken || level !== Level.IMAGE || !isRestoring) return pipeline.at(level)
      throws += 1
      throw new TypeError('no such step')
    },
  }
  const on = await stage({ pipeline: broken })
  const { world, announce, downOf, closed, until } = on
  announce(0, 0, 4)
  await until(() => world.broker.committed('results.v1').length >= 4, 'images are taken in')
  isBroken = true
  const [owner] = world.processes.filter(({ host }) => host.engine(0))
  assert.ok(owner)
  world.crash(owner)
  world.after(10, () => world.rebalance())
  for (const task of [0, 1, 2]) announce(task, task === 0 ? 4 : 0, IMAGES)
  await until(() => closed().size === 2, 'the plates of the others close')
  assert.equal(downOf(0)?.trouble.reason, 'INTERNAL_ERROR')
  assert.match(downOf(0)?.trouble.message ?? '', /TypeError: no such step/)
  await until(() => world.nowMs() > 180_000, 'three minutes')
  assert.ok(throws > 3 && throws < 16, `${throws} times in three minutes`)
  isBroken = false
  await until(() => closed().size === 3, 'all plates close')
  assert.deepEqual([deadLetters(world), world.complaints], [[], []])
  assert.equal(audited(world).missing, 0)
})

test('what was read may be deleted at any time', async () => {
  const on = await stage()
  const { world, announce, downOf, closed, until } = on
  for (const task of [0, 1, 2]) announce(task, 0, 4)
  await until(() => world.broker.committed('results.v1').length >= 12, 'half is done')
  for (const task of [0, 1, 2]) world.broker.deleteBelow('images.v1', task, 4)
  world.after(10, () => world.rebalance())
  for (const task of [0, 1, 2]) announce(task, 4, IMAGES)
  await until(() => closed().size === 3, 'all plates close')
  for (const task of [0, 1, 2]) assert.equal(downOf(task), undefined)
  assert.equal(audited(world).losses.length, 0)
})

test('a stale owner that is down claims nothing from who runs the task', async () => {
  let isBroken = false
  const broken: typeof pipeline = {
    ...pipeline,
    at(level) {
      if (isBroken && new Error().stack?.includes('core/restore.ts')) throw new TypeError('broken')
      return pipeline.at(level)
    },
  }
  const { world, announce, downOf, closed, until } = await stage({ pipeline: broken })
  const [stale, other] = world.processes
  assert.ok(stale && other)
  const deal = (deaf: readonly string[], mine: number[], others: number[]): void =>
    world.broker.rebalance(
      new Map([
        [stale.name, mine],
        [other.name, others],
      ]),
      new Set(deaf),
    )
  isBroken = true
  deal([], [], [1, 2])
  deal([], [0], [1, 2])
  await until(() => downOf(0) !== undefined, 'task 0 is down')
  isBroken = false
  deal([stale.name], [], [0, 1, 2])
  await until(() => other.host.engine(0)?.phase === 'running', 'the other one runs it')
  const claims = (): number =>
    committedKeys(world, OWNER_KEY).filter(({ partition }) => partition === 0).length
  const before = claims()
  for (const task of [0, 1, 2]) announce(task, 0, IMAGES)
  await until(() => closed().size === 3, 'all plates close')
  await world.run(world.nowMs() + 150_000, () => false)
  assert.equal(claims(), before)
  assert.equal(other.host.engine(0)?.phase, 'running')
})
