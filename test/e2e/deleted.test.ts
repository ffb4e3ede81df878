// Input that Kafka deleted before it was read, and state that cannot be read, on a real broker with two coordinators:
// one task waits and says so, both processes live on, the other tasks deliver.
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { taskOf } from '@wellspring/kafka/partition.ts'
import { createKafka } from '@wellspring/kafka/connection.ts'
import { openReader } from '@wellspring/kafka/fetch.ts'
import type { Running } from '../../dev/child.ts'
import { wellspring, type Ran } from '../cli/process.ts'
import { imageRecords, openStage, planOf, planRecord, type Stage } from './stage.ts'

const TASKS = 3
const WELLS = 6
const DAYS_MS = 86_400_000

/** One plate for each task. */
const plans = Array.from({ length: TASKS }, (_, task) => {
  for (let at = 0; ; at += 1)
    if (taskOf(`E/P${at}`, TASKS) === task)
      return planOf(`P${at}`, { wells: WELLS, sites: 1, channels: 1 })
})
const keyOf = (task: number): string => `E/${plans[task]?.plate}/a1`

type TaskJson = {
  /** Zero is left out, as in all of proto3 JSON. */
  readonly task?: number
  readonly state: string
  readonly owner: string
  readonly reason?: string
  readonly message?: string
  readonly inputs?: readonly { readonly topic: string; readonly retentionLeftMs?: number }[]
}

type Two = {
  readonly stage: Stage
  readonly coordinators: readonly Running[]
  /** As told by one of them. */
  readonly cli: (which: number, ...args: string[]) => Promise<Ran>
  readonly tasks: (which: number) => Promise<readonly TaskJson[]>
  readonly until: (what: () => Promise<boolean>, why: string) => Promise<void>
  /** Resolves when results for so many images of a task are there. */
  readonly images: (task: number, count: number) => Promise<void>
  readonly living: () => boolean
}

async function twoCoordinators(stage: Stage): Promise<Two> {
  const coordinators = [await stage.coordinator('c1'), await stage.coordinator('c2')]
  let ended = 0
  for (const { exited } of coordinators) void exited.then(() => (ended += 1))
  const cli = (which: number, ...args: string[]): Promise<Ran> =>
    wellspring(args, {
      KAFKA_BROKERS: stage.brokers.join(','),
      WELLSPRING_TOPIC_PREFIX: stage.topicPrefix,
      WELLSPRING_APPLICATION: stage.topicPrefix.slice(0, -1),
      WELLSPRING_CONTROL: coordinators[which]?.address ?? '',
      WELLSPRING_PIPELINE: join(import.meta.dirname, '../pipelines/echo-levels.ts'),
    })
  const until: Two['until'] = async (what, why) => {
    const endMs = performance.now() + 90_000
    while (!(await what())) {
      assert.ok(performance.now() < endMs, `never: ${why}`)
      await sleep(300)
    }
  }
  return {
    stage,
    coordinators,
    cli,
    until,
    living: () => ended === 0,
    async tasks(which) {
      const ran = await cli(which, 'tasks', '-o', 'jsonl')
      assert.equal(ran.code, 0, ran.stderr)
      return ran.stdout
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as TaskJson)
    },
    images: (task, count) =>
      until(async () => {
        const done = new Set<string>()
        for await (const { key } of stage.client.readAll('results.v1'))
          if (key?.toString().startsWith(`${keyOf(task)}/`) && /\/z0\/w1\//.test(String(key)))
            done.add(String(key).split('/').slice(0, 7).join('/'))
        return done.size >= count
      }, `${count} images of task ${task}`),
  }
}

async function announce(stage: Stage, task: number, from: number, to: number): Promise<void> {
  const plan = plans[task]
  assert.ok(plan)
  await stage.client.produce(imageRecords(plan).slice(from, to))
}

async function deleteBelow(stage: Stage, task: number, offset: number): Promise<void> {
  const admin = createKafka({ brokers: stage.brokers }).admin()
  await admin.connect()
  const topic = `${stage.topicPrefix}images.v1`
  await admin.fetchTopicOffsets(topic)
  await admin.deleteTopicRecords({ topic, partitions: [{ partition: task, offset: `${offset}` }] })
  await admin.disconnect()
}

/** As a back-fill does: the time stamp is that of the acquisition. */
async function backFill(stage: Stage, task: number, days: number): Promise<void> {
  const plan = plans[task]
  assert.ok(plan)
  const producer = createKafka({ brokers: stage.brokers }).producer()
  await producer.connect()
  const messages = imageRecords(plan)
    .slice(0, 2)
    .map(({ key, value, headers }) => ({
      key,
      value: value && Buffer.from(value),
      headers: { ...headers },
      partition: task,
      timestamp: String(Date.now() - days * DAYS_MS),
    }))
  await producer.send({ topic: `${stage.topicPrefix}images.v1`, messages })
  await producer.disconnect()
}

test('images deleted unread: one task waits by name and number, the others finish, a person lets it go', async () => {
  const stage = await openStage({ pipeline: 'echo-levels.ts', tasks: TASKS })
  try {
    const two = await twoCoordinators(stage)
    const { coordinators, cli, tasks, until, images, living } = two
    await stage.client.produce(plans.map(planRecord))

    // Stamped 45 days ago, kept by when it came.
    await backFill(stage, 0, 45)
    await images(0, 2)
    const reader = openReader(createKafka({ brokers: stage.brokers }), stage.topicPrefix)
    const stampMs = await reader.timeAt('images.v1', 0, 0)
    await reader.close()
    assert.ok(Math.abs(Date.now() - (stampMs ?? 0)) < DAYS_MS, `kept by ${stampMs}`)

    // Both stand still for longer than their session; what comes for task 0 is deleted meanwhile.
    for (const { pid } of coordinators) process.kill(pid, 'SIGSTOP')
    // Not into a fetch that is under way.
    await sleep(1_500)
    await announce(stage, 0, 2, WELLS)
    for (const task of [1, 2]) await announce(stage, task, 0, WELLS)
    await deleteBelow(stage, 0, 5)
    await sleep(7_000)
    for (const { pid } of coordinators) process.kill(pid, 'SIGCONT')

    await until(
      async () => (await tasks(0)).some(({ state }) => state === 'DOWN'),
      'task 0 is down',
    )
    for (const which of [0, 1]) {
      const [down, ...others] = await tasks(which)
      assert.deepEqual([down?.task, down?.state, down?.reason], [undefined, 'DOWN', 'INPUT_LOST'])
      assert.match(down?.message ?? '', /^3 records of images\.v1\/0 .*: 2 to 5$/)
      assert.deepEqual(
        others.map(({ state }) => state),
        ['RUNNING', 'RUNNING'],
      )
    }
    for (const task of [1, 2]) await images(task, WELLS)
    const owner = (await tasks(0))[0]?.owner
    await sleep(6_000)
    assert.ok(living(), 'no coordinator ends over it')
    assert.equal((await tasks(1))[0]?.owner, owner, 'and none takes it from the other')

    // Said wherever somebody looks.
    const listed = await cli(1, 'plates')
    assert.equal(listed.code, 0)
    assert.match(listed.stdout, new RegExp(`${keyOf(0)} .*task down: INPUT_LOST`))
    assert.match(listed.stderr, /task 0 {2}INPUT_LOST: 3 records.*\n.*--accept-loss images\.v1\/0/)
    const why = await cli(1, 'why', `${keyOf(0)}/A04/t0`)
    assert.equal(why.code, 0, why.stderr)
    assert.match(why.stdout, /note +nothing goes on here: task 0 is down \(INPUT_LOST\)/)
    const audit = await cli(0, 'verify')
    assert.equal(audit.code, 10)
    assert.match(audit.stderr, /task 0 is down: INPUT_LOST/)

    const unsaid = await cli(0, 'tasks', '--accept-loss', 'images.v1/0')
    assert.deepEqual([unsaid.code, /--reason/.test(unsaid.stderr)], [2, true])
    const nothing = await cli(0, 'tasks', '--accept-loss', 'images.v1/1', '--reason', 'x')
    assert.equal(nothing.code, 3, nothing.stderr)
    const accepted = await cli(
      1,
      'tasks',
      '--accept-loss',
      'images.v1/0',
      '--reason',
      'the scanner is gone',
      '--author',
      'ada',
    )
    assert.equal(accepted.code, 0, accepted.stderr)
    assert.match(accepted.stdout, /accepted 3 records of images\.v1\/0, 2 to 5/)
    await until(async () => (await tasks(0))[0]?.state === 'RUNNING', 'task 0 runs')
    await images(0, 3)
    await stage.untilDone(90_000)

    // Its owner dies: the next one finds no loss, and remembers this one.
    const index = (await tasks(0))[0]?.owner === 'c1' ? 0 : 1
    await coordinators[index]?.stop()
    const rest = 1 - index
    await until(
      async () => (await tasks(rest)).every(({ state }) => state === 'RUNNING'),
      'all run',
    )
    const text = (await cli(rest, 'tasks')).stdout
    assert.match(
      text,
      /task 0 {2}lost 3 records of images\.v1\/0, 2 to 5; accepted by ada .*: the scanner is gone/,
    )
    assert.match((await cli(rest, 'plates')).stdout, new RegExp(`${keyOf(0)} .*may lack input`))
    assert.match((await cli(rest, 'plate', keyOf(0))).stdout, /may lack input: 3 records .* by ada/)
    const after = await cli(rest, 'verify', '-o', 'json')
    assert.equal(after.code, 10)
    assert.match(after.stderr, /may be lost: 3 records of task 0/)
    const { missing, duplicate, refusedInputs, losses } = JSON.parse(after.stdout) as {
      [name: string]: unknown
      losses: readonly { readonly task: number; readonly records: number }[]
    }
    assert.deepEqual([missing, duplicate, refusedInputs], [0, 0, 0])
    assert.deepEqual(
      losses.map(({ task, records }) => [task, records]),
      [[0, 3]],
    )
  } finally {
    await stage.close()
  }
})

test('state of one task that cannot be read: two coordinators live on with the other tasks, until it is mended', async () => {
  const stage = await openStage({ pipeline: 'echo-levels.ts', tasks: TASKS })
  try {
    const key = `${keyOf(0)}/A01/t0/s1`
    const spoil = (value: Uint8Array | null): Promise<void> =>
      stage.client.produce([{ topic: 'state.v1', partition: 0, key, value, headers: {} }])
    await spoil(Buffer.from('this is no site'))
    const { tasks, until, images, cli, living } = await twoCoordinators(stage)
    await stage.client.produce(plans.map(planRecord))
    for (const task of [0, 1, 2]) await announce(stage, task, 0, WELLS)
    for (const task of [1, 2]) await images(task, WELLS)
    await until(
      async () => (await tasks(0)).some(({ state }) => state === 'DOWN'),
      'task 0 is down',
    )
    await sleep(8_000)
    assert.ok(living(), 'no coordinator ends over it')
    for (const which of [0, 1]) {
      const [down] = await tasks(which)
      assert.deepEqual([down?.state, down?.reason], ['DOWN', 'STATE_UNREADABLE'])
      assert.ok(down?.message?.includes(key), down?.message)
      const why = await cli(which, 'why', keyOf(0))
      assert.equal(why.code, 0, why.stderr)
      assert.match(why.stdout, /UNKNOWN.*\n(.*\n)*.*task 0 is down \(STATE_UNREADABLE\)/)
      assert.doesNotMatch(why.stdout + why.stderr, /nothing here is called/)
    }
    await spoil(null)
    await until(async () => (await tasks(0))[0]?.state === 'RUNNING', 'task 0 runs')
    await images(0, WELLS)
    await stage.untilDone(90_000)
    assert.ok(living())
  } finally {
    await stage.close()
  }
})
