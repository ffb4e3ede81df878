import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Code, ConnectError, createClient, type Client } from '@connectrpc/connect'
import { createConnectTransport } from '@connectrpc/connect-node'
import { create } from '@bufbuild/protobuf'
import { ControlService, ServiceStatusSchema } from '#proto/wellspring/control/v1/control_pb.ts'
import { RunState } from '#proto/wellspring/journal/v1/state_pb.ts'
import type { Model } from '../../coordinator/control/model.ts'
import type { Listening } from '../../coordinator/listen.ts'
import { serveControl } from '../../coordinator/control/server.ts'
import { partitionKey } from '@wellspring/lab/entity.ts'
import { taskOf } from '@wellspring/kafka/partition.ts'
import { traceId } from '../../coordinator/core/keys.ts'
import { emptyTask, type Task } from '../../coordinator/core/state.ts'
import { exampleTask, imageAt, noon, pipeline, run } from './plate.ts'

type Control = Client<typeof ControlService>
type Test = { after(run: () => Promise<void>): void }

const plates = ['E1/P1/a1', 'E1/P2/a1', 'E1/P3/a1', 'E1/P4/a1', 'E2/Q7/a1']
const services = [create(ServiceStatusSchema, { service: 'echo', state: 'CHECKED', limit: 4 })]

test('a coordinator says who it is and what it runs', async (t) => {
  const { first } = await pair(t)
  const { instance, pipeline: label, tasks, services: seen } = await first.getCoordinator({})
  assert.deepEqual([instance, label, tasks], ['c0', 'echo-1', [0]])
  assert.deepEqual(seen, services)
})

test('both coordinators list the plates of both, in order, in pages', async (t) => {
  const { first, second } = await pair(t)
  for (const control of [first, second]) {
    const all = await control.listPlates({})
    assert.deepEqual(
      all.plates.map(({ entity }) => entity),
      plates,
    )
    assert.equal(all.nextPageToken, '')
    assert.equal(all.plates[0]?.arrived, 3)
    const paged: string[] = []
    let pageToken = ''
    do {
      const page = await control.listPlates({ pageSize: 2, pageToken })
      assert.ok(page.plates.length <= 2)
      paged.push(...page.plates.map(({ entity }) => entity))
      pageToken = page.nextPageToken
    } while (pageToken !== '')
    assert.deepEqual(paged, plates)
  }
})

test('a plate is answered by whoever owns it, whoever is asked, by its key or by a part of it', async (t) => {
  const { first, second } = await pair(t)
  for (const control of [first, second])
    for (const name of ['E2/Q7/a1', 'Q7', 'E2'])
      assert.equal((await control.getPlate({ plate: name })).status?.entity, 'E2/Q7/a1')
  const view = await first.getPlate({ plate: 'P1' })
  assert.deepEqual(
    view.wells.map(({ well }) => well),
    ['B07'],
  )
  assert.match(
    await refusal(first.getPlate({ plate: 'E1' })),
    /InvalidArgument.*may be any of E1\/P1\/a1/,
  )
  assert.match(
    await refusal(first.getPlate({ plate: 'E1/P22/a1' })),
    /NotFound "?nothing here is called "E1\/P22\/a1": did you mean E1\/P/,
  )
})

test('an entity is explained by key from either coordinator', async (t) => {
  const { first, second } = await pair(t)
  for (const control of [first, second])
    for (const plate of plates) {
      const key = `${plate}/B07/t0/s2/z0/DNA`
      const why = await control.explain({ about: key })
      assert.deepEqual([why.entity, why.state], [key, 'BACKOFF'])
    }
})

test('an entity is found by file name, URI, trace id and parts of its key, on either coordinator', async (t) => {
  const { first, second } = await pair(t)
  const image = 'E2/Q7/a1/C03/t0/s1/z0/DNA'
  const readings = [
    'only-once.tif',
    'folder/only-once.tif',
    'file:///data/Q7/folder/only-once.tif',
    traceId('test', image, 1),
    traceId('test', image, 2),
    'C03/t0/s1/z0/DNA',
    'Q7/a1/C03/t0/s1/z0/DNA',
  ]
  for (const control of [first, second])
    for (const about of readings)
      assert.equal((await control.explain({ about })).entity, image, about)
  assert.equal((await first.explain({ about: 'c3' })).entity, 'E2/Q7/a1/C03/t0')
  const site = 'E1/P3/a1/B07/t0/s1'
  assert.equal((await second.explain({ about: traceId('test', site, 1) })).entity, site)
})

test('a name that fits several is answered with the candidates, at most 20', async (t) => {
  const { first } = await pair(t)
  const wells = await first.explain({ about: 'B07' })
  assert.equal(wells.entity, '')
  assert.deepEqual(
    wells.candidates,
    plates.map((plate) => `${plate}/B07/t0`),
  )
  assert.equal((await first.explain({ about: 's2' })).candidates.length, 6)
  assert.equal((await first.explain({ about: 'z0' })).candidates.length, 20)
})

test('a whole segment goes before a part of one, across coordinators', async (t) => {
  const { first } = await pair(t, ['E1/P1/a1', 'E1/P11/a1', 'E1/P12/a1', 'E1/P13/a1'])
  assert.equal((await first.explain({ about: 'P1' })).entity, 'E1/P1/a1')
  assert.equal((await first.getPlate({ plate: 'P1' })).status?.entity, 'E1/P1/a1')
})

test('what is not there is NOT_FOUND, with the nearest names', async (t) => {
  const { first, second } = await pair(t)
  for (const control of [first, second]) {
    assert.match(
      await refusal(control.explain({ about: 'no-such-thing.tif' })),
      /^NotFound .*plates lists/,
    )
    assert.match(
      await refusal(control.explain({ about: 'E2/Q8/a1' })),
      /^NotFound .*mean E2\/Q7\/a1/,
    )
    assert.match(await refusal(control.explain({ about: 'f'.repeat(32) })), /^NotFound/)
  }
  const well = await refusal(first.explain({ about: 'E2/Q7/a1/C04/t0' }))
  const same = await refusal(second.explain({ about: 'E2/Q7/a1/C04/t0' }))
  assert.ok(
    [well, same].some((text) => text.includes('did you mean E2/Q7/a1/C03/t0')),
    well,
  )
  assert.match(await refusal(first.explain({ about: ' ' })), /^InvalidArgument about is empty/)
})

test('owners that point at each other do not pass a question round in circles', async (t) => {
  const addresses: string[] = []
  const everywhere = (to: number) => () =>
    new Map([0, 1].map((task) => [task, addresses[to] ?? '']))
  for (const [index, other] of [1, 0].entries()) {
    const server = await serving(t, modelOf(`c${index}`, new Map()), everywhere(other))
    addresses.push(server.address)
  }
  const control = clientOf(addresses[0] ?? '')
  assert.match(
    await refusal(control.explain({ about: 'E1/P1/a1' })),
    /^Unavailable .*does not answer.*task/,
  )
})

test('an answer is never silently without a task: nobody owns it, or its owner is away', async (t) => {
  const { servers, first } = await pair(t)
  const alone = await serving(t, modelOf('alone', new Map()), () => new Map())
  assert.match(
    await refusal(clientOf(alone.address).listPlates({})),
    /^Unavailable no coordinator runs tasks 0, 1 for now/,
  )
  const away = servers[1]?.address ?? ''
  await servers[1]?.close()
  assert.ok(
    (await refusal(first.listPlates({}))).startsWith(`Unavailable the coordinator at ${away}`),
  )
})

/** Two coordinators, each with one of two tasks and the plates that belong there. */
async function pair(t: Test, keys = plates) {
  const tasks = [emptyTask('test', pipeline), emptyTask('test', pipeline)]
  for (const key of keys) {
    const task = tasks[taskOf(partitionKey(key), 2)]
    assert.ok(task)
    exampleTask(key, key === 'E2/Q7/a1' ? { wells: [{ well: 'B07' }, { well: 'C03' }] } : {}, task)
  }
  const counts = tasks.map((task) => [...task.plates.keys()].length)
  assert.ok(
    counts.every((count) => count > 0),
    'both coordinators have plates',
  )
  if (keys === plates) addOnlyOnce(tasks[taskOf('E2/Q7', 2)])
  const servers: Listening[] = []
  for (const [index, task] of tasks.entries()) {
    const owners = () => new Map([[1 - index, servers[1 - index]?.address ?? '']])
    servers.push(await serving(t, modelOf(`c${index}`, new Map([[index, task]])), owners))
  }
  const [first, second] = servers.map(({ address }) => clientOf(address))
  assert.ok(first && second)
  return { first, second, servers }
}

/** An image with a name of its own, redriven once. */
function addOnlyOnce(task: Task | undefined): void {
  const well = 'E2/Q7/a1/C03/t0'
  const runs = [run(0, 0, RunState.DONE, { generation: 2 })]
  const image = imageAt('DNA', 0, runs)
  if (image.artifact) image.artifact.uri = 'file:///data/Q7/folder/only-once.tif'
  task?.wells.open(well).seen.push(1)
  task?.sites.open(`${well}/s1`).images.push(image)
}

function modelOf(instance: string, owned: ReadonlyMap<number, Task>): Model {
  return {
    instance,
    pipeline,
    application: 'test',
    topicPrefix: 'test.',
    tasks: 2,
    owned: () => owned,
    assigned: () => [],
    inputs: () => Promise.resolve([]),
    services: () => services,
    nowMs: () => noon + 18_000,
  }
}

async function serving(
  t: Test,
  model: Model,
  owners: () => ReadonlyMap<number, string>,
): Promise<Listening> {
  const logger = (level: string, message: string): void => assert.fail(`${level}: ${message}`)
  const server = await serveControl({ listen: '127.0.0.1:0', model, owners, logger })
  let isOpen = true
  const close = async (): Promise<void> => {
    if (isOpen) await server.close()
    isOpen = false
  }
  t.after(close)
  return { address: server.address, close }
}

function clientOf(baseUrl: string): Control {
  return createClient(ControlService, createConnectTransport({ baseUrl, httpVersion: '1.1' }))
}

/** "<code> <message>" of a call that must fail. */
async function refusal(call: Promise<unknown>): Promise<string> {
  const error = await call.then(
    () => assert.fail('the call should have been refused'),
    (cause: unknown) => ConnectError.from(cause),
  )
  return `${Code[error.code]} ${error.rawMessage}`
}
