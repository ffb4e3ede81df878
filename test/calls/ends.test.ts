// Calls over which a process ends, and calls that want their service for themselves.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { ErrorClass } from '#proto/wellspring/contract/v1/errors_pb.ts'
import { EchoService } from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import { openGrpcCaller, type GrpcCaller } from '../../coordinator/calls/grpc.ts'
import type { Outcome } from '../../coordinator/calls/port.ts'
import { openEchoServer, type EchoServer } from './echo-server.ts'
import { echoPipeline, echoRequest, outcomeOf, type Wanted } from './requests.ts'

function callerTo(t: TestContext, addresses: readonly string[]): GrpcCaller {
  const caller = openGrpcCaller({
    services: new Map([[EchoService.typeName, addresses]]),
    roots: [],
    clock: { nowMs: Date.now },
    logger: () => {},
  })
  t.after(() => caller.close())
  return caller
}

/** An echo server as a process, that may end. */
async function spawned(t: TestContext, address = '127.0.0.1:0'): Promise<string> {
  const port = address.split(':')[1] ?? '0'
  const child = spawn(process.execPath, [`${import.meta.dirname}/echo-server.ts`, port], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.after(() => child.kill('SIGKILL'))
  const [line] = (await once(child.stdout, 'data')) as [Buffer]
  return line.toString().trim()
}

function all(caller: GrpcCaller, wanted: readonly Wanted[]): Promise<Outcome[]> {
  return Promise.all(wanted.map((one) => outcomeOf(caller, echoRequest(one))))
}

function endOf(outcome: Outcome | undefined): string | undefined {
  assert.ok(outcome?.kind === 'failed')
  return outcome.programEnded
}

test('a wrapper that ends over a call: who was in hand is told, with whom, and that it is no outage', async (t) => {
  const address = await spawned(t)
  const caller = callerTo(t, [address])
  await caller.check(echoPipeline)
  const outcomes = await all(caller, [
    { key: 1, act: 'hang' },
    { key: 2, act: 'hang', once: true },
    { key: 3, act: 'die' },
  ])
  for (const outcome of outcomes) {
    assert.ok(outcome.kind === 'failed')
    assert.equal(outcome.programEnded, 'among-others')
    assert.match(outcome.failure.message, /^its wrapper's process ended with it in hand \(/)
    assert.doesNotMatch(outcome.failure.hint, /look whether the service is running/)
  }
  await spawned(t, address)
  const [alone] = await all(caller, [{ key: 3, act: 'die', attempt: 2, alone: true }])
  assert.equal(endOf(alone), 'alone')
  assert.ok(alone?.kind === 'failed' && alone.failure.class === ErrorClass.RETRYABLE)
})

test('a connection that is cut while the process lives on is nobody’s end', async (t) => {
  const server = await openEchoServer()
  t.after(() => server.close())
  const [, port = ''] = server.address.split(':')
  const sockets = new Set<Socket>()
  const between = createServer((socket) => {
    const on = connect(Number(port), '127.0.0.1')
    for (const one of [socket, on]) {
      sockets.add(one)
      one.on('error', () => {})
    }
    socket.pipe(on).pipe(socket)
  }).listen(0, '127.0.0.1')
  await once(between, 'listening')
  t.after(() => between.close())
  const caller = callerTo(t, [`127.0.0.1:${(between.address() as AddressInfo).port}`])
  await caller.check(echoPipeline)
  const outcome = outcomeOf(caller, echoRequest({ key: 1, act: 'hang', alone: true }))
  await sleep(100)
  for (const socket of sockets) socket.destroy()
  const told = await outcome
  assert.ok(told.kind === 'failed')
  assert.deepEqual([told.failure.reason, told.programEnded], ['UNAVAILABLE', undefined])
})

test('a call that wants its service for itself waits for the others, and they for it', async (t) => {
  const server = await openEchoServer()
  t.after(() => server.close())
  const caller = callerTo(t, [server.address])
  await caller.check(echoPipeline)
  const order: number[] = []
  const told = (key: number, act: string, alone = false): Promise<unknown> =>
    outcomeOf(caller, echoRequest({ key, act, alone })).then(({ kind }) => {
      assert.equal(kind, 'done')
      order.push(key)
    })
  const before = [1, 2, 3].map((key) => told(key, 'late:150'))
  await sleep(30)
  const alone = [told(10, 'late:100', true), told(11, 'late:20', true)]
  const later = [4, 5, 6].map((key) => told(key, 'answer'))
  assert.equal(caller.status()[0]?.queued, 5)
  await Promise.all([...before, ...alone, ...later])
  assert.deepEqual(server.besides, [1, 1])
  // The others have their turn between two of them.
  assert.deepEqual(order.slice(3), [10, 4, 5, 6, 11])
})

test('with another replica the others go on there meanwhile', async (t) => {
  const servers: EchoServer[] = [await openEchoServer(), await openEchoServer()]
  t.after(() => Promise.all(servers.map((server) => server.close())))
  const caller = callerTo(
    t,
    servers.map(({ address }) => address),
  )
  await caller.check(echoPipeline)
  const alone = outcomeOf(caller, echoRequest({ key: 1, act: 'late:1000', alone: true }))
  const others = await all(
    caller,
    Array.from({ length: 40 }, (_, index) => ({ key: 100 + index, act: 'late:10' })),
  )
  assert.ok(others.every(({ kind }) => kind === 'done'))
  assert.equal(caller.status()[0]?.limit, 256)
  assert.equal((await alone).kind, 'done')
  assert.deepEqual(
    servers.map(({ executions }) => executions.size).toSorted((a, b) => a - b),
    [1, 40],
  )
  assert.equal(caller.status()[0]?.limit, 512)
})

test('a program that ends over everything is not held against what it ended over', async (t) => {
  const server = await openEchoServer()
  t.after(() => server.close())
  const caller = callerTo(t, [server.address])
  await caller.check(echoPipeline)
  const told: (string | undefined)[] = []
  for (let key = 0; key < 22; key += 1)
    told.push(endOf((await all(caller, [{ key, act: 'ends' }]))[0]))
  assert.deepEqual(new Set(told.slice(0, 20)), new Set(['alone']))
  assert.deepEqual(told.slice(20), ['among-others', 'among-others'])
  await all(caller, [{ key: 100 }])
  assert.equal(endOf((await all(caller, [{ key: 101, act: 'ends' }]))[0]), 'alone')
})
