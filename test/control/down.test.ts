// A task that is down is told by every coordinator, wherever something of it is asked for, and hides nothing of the others.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Code, ConnectError, createClient, type Client } from '@connectrpc/connect'
import { createConnectTransport } from '@connectrpc/connect-node'
import { ControlService } from '#proto/wellspring/control/v1/control_pb.ts'
import type { Model, TaskLook } from '../../coordinator/control/model.ts'
import { serveControl } from '../../coordinator/control/server.ts'
import { partitionKey } from '@wellspring/lab/entity.ts'
import { taskOf } from '@wellspring/kafka/partition.ts'
import { emptyTask, type Task } from '../../coordinator/core/state.ts'
import type { Trouble } from '../../coordinator/task/trouble.ts'
import { exampleTask, noon, pipeline } from './plate.ts'

type Test = { after(run: () => Promise<void>): void }

const plates = ['E1/P1/a1', 'E1/P2/a1', 'E1/P3/a1', 'E2/Q7/a1']
const [hidden, seen] = ['E1/P1', 'E1/P2', 'E1/P3', 'E2/Q7'].reduce<[string, string]>(
  ([of0, of1], key) => (taskOf(key, 2) === 0 ? [`${key}/a1`, of1] : [of0, `${key}/a1`]),
  ['', ''],
)

const unreadable: Trouble = {
  reason: 'STATE_UNREADABLE',
  message: 'state.v1 cannot be read: a record',
  hint: 'start the version that wrote it',
  lost: [],
}

const lost = (state: Task): Trouble => ({
  reason: 'INPUT_LOST',
  message: '4 records of images.v1/0 were deleted before they were read: 4 to 8',
  hint: 'npx wellspring tasks --accept-loss images.v1/0 --reason "..."',
  lost: [{ topic: 'images.v1', task: 0, from: 4, to: 8, noticedMs: noon }],
  read: { state, next: { 'images.v1': 4, 'commands.v1': 1 }, end: 7 },
})

/** Two coordinators; the first has task 0, which is down, the second runs task 1. */
async function pair(t: Test, troubleOf: (task: Task) => Trouble, isReadable: boolean) {
  const tasks = [emptyTask('test', pipeline), emptyTask('test', pipeline)]
  for (const key of plates) exampleTask(key, {}, tasks[taskOf(partitionKey(key), 2)])
  const [down, runs] = tasks
  assert.ok(down && runs && hidden !== '' && seen !== '')
  const looks: TaskLook[][] = [
    [
      {
        task: 0,
        isRunning: false,
        sinceMs: noon + 9_000,
        lastError: '',
        down: {
          trouble: troubleOf(down),
          sinceMs: noon + 5_000,
          tries: 3,
          nextTryMs: noon + 20_000,
        },
        state: isReadable ? down : undefined,
      },
    ],
    [{ task: 1, isRunning: true, sinceMs: noon, lastError: '', down: undefined, state: runs }],
  ]
  const addresses: string[] = []
  const clients: Client<typeof ControlService>[] = []
  for (const [index, assigned] of looks.entries()) {
    const server = await serveControl({
      listen: '127.0.0.1:0',
      model: modelOf(`c${index}`, assigned),
      owners: () => new Map(addresses.map((address, task) => [task, address])),
      logger: (level, message) => assert.fail(`${level}: ${message}`),
    })
    t.after(() => server.close())
    addresses.push(server.address)
    const transport = createConnectTransport({ baseUrl: server.address, httpVersion: '1.1' })
    clients.push(createClient(ControlService, transport))
  }
  return clients
}

function modelOf(instance: string, assigned: readonly TaskLook[]): Model {
  const owned = assigned.flatMap(({ isRunning, task, state }) =>
    isRunning && state ? [[task, state] as const] : [],
  )
  return {
    instance,
    application: 'test',
    topicPrefix: 'test.',
    pipeline,
    tasks: 2,
    owned: () => new Map(owned),
    assigned: () => assigned,
    inputs: (task) =>
      Promise.resolve([
        {
          topic: 'images.v1',
          next: task === 0 ? 4 : 10,
          low: 8,
          high: 10,
          oldestUnreadMs: noon,
          leftMs: 1_500,
          keptMs: 60_000,
          misfits: [],
        },
      ]),
    services: () => [],
    nowMs: () => noon + 18_000,
  }
}

async function refusal(call: Promise<unknown>): Promise<string> {
  const error = await call.then(
    () => assert.fail('the call should have been refused'),
    (cause: unknown) => ConnectError.from(cause),
  )
  return `${Code[error.code]} ${error.rawMessage}`
}

test('every coordinator lists all tasks: owner, reason, way out, loss, unread input', async (t) => {
  for (const control of await pair(t, lost, true)) {
    const { tasks, application, topicPrefix } = await control.listTasks({})
    assert.deepEqual([application, topicPrefix], ['test', 'test.'])
    assert.deepEqual(
      tasks.map(({ task, state, owner, reason, tries }) => [task, state, owner, reason, tries]),
      [
        [0, 'DOWN', 'c0', 'INPUT_LOST', 3],
        [1, 'RUNNING', 'c1', '', 0],
      ],
    )
    const [down] = tasks
    assert.match(down?.hint ?? '', /--accept-loss images\.v1\/0/)
    assert.deepEqual(
      down?.lost.map(({ topic, from, to, records }) => [topic, from, to, records]),
      [['images.v1', 4, 8, 4]],
    )
    assert.equal(Number(down.since?.seconds) * 1_000, noon, 'since the loss was noticed')
    const [images] = down.inputs
    assert.deepEqual(
      [images?.next, images?.low, images?.high, images?.retentionLeftMs],
      [4, 8, 10, 1_500],
    )
  }
})

test('a coordinator that does not answer, and a task that is nobody s, are listed as such', async (t) => {
  const model: Model = { ...modelOf('alone', []), tasks: 2 }
  const server = await serveControl({
    listen: '127.0.0.1:0',
    model,
    owners: () => new Map([[0, '127.0.0.1:9']]),
    logger: () => {},
  })
  t.after(() => server.close())
  const transport = createConnectTransport({ baseUrl: server.address, httpVersion: '1.1' })
  const { tasks } = await createClient(ControlService, transport).listTasks({})
  assert.deepEqual(
    tasks.map(({ state }) => state),
    ['UNKNOWN', 'MOVING'],
  )
  assert.match(tasks[0]?.message ?? '', /127\.0\.0\.1:9 does not answer/)
})

test('plates of a task that lost input stand as they were, marked; the others are as ever', async (t) => {
  for (const control of await pair(t, lost, true)) {
    const { plates: all, down } = await control.listPlates({})
    assert.deepEqual(
      all.map(({ entity }) => entity),
      plates,
    )
    for (const { entity, taskDown } of all)
      assert.equal(taskDown, taskOf(partitionKey(entity), 2) === 0 ? 'INPUT_LOST' : '')
    assert.deepEqual(
      down.map(({ task, reason }) => [task, reason]),
      [[0, 'INPUT_LOST']],
    )
    const { status } = await control.getPlate({ plate: hidden })
    assert.equal(status?.taskDown, 'INPUT_LOST')
    const image = `${hidden}/B07/t0/s2/z0/DNA`
    const why = await control.explain({ about: image })
    assert.deepEqual([why.entity, why.state], [image, 'BACKOFF'])
    assert.match(
      why.notes[0] ?? '',
      /^nothing goes on here: task 0 is down \(INPUT_LOST\): 4 records/,
    )
    assert.match(why.next, /--accept-loss/)
  }
})

test('what a task holds that cannot be read is never said not to be there', async (t) => {
  for (const control of await pair(t, () => unreadable, false)) {
    const { plates: all, down } = await control.listPlates({})
    assert.ok(all.length > 0 && all.every(({ entity }) => taskOf(partitionKey(entity), 2) === 1))
    assert.equal(down[0]?.reason, 'STATE_UNREADABLE')
    const why = await control.explain({ about: `${hidden}/B07/t0` })
    assert.deepEqual([why.entity, why.state], [`${hidden}/B07/t0`, 'UNKNOWN'])
    assert.match(why.next, /start the version that wrote it/)
    const saidDown = /^FailedPrecondition .*task 0 is down \(STATE_UNREADABLE\).*start the version/
    assert.match(await refusal(control.explain({ about: 'no-such.tif' })), saidDown)
    assert.match(await refusal(control.getPlate({ plate: hidden })), saidDown)
    assert.match(await refusal(control.getPlate({ plate: 'nobody-knows' })), saidDown)
    assert.equal((await control.getPlate({ plate: seen })).status?.entity, seen)
    assert.equal((await control.explain({ about: `${seen}/B07/t0` })).entity, `${seen}/B07/t0`)
  }
})
