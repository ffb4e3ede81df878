import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { ErrorClass } from '#proto/wellspring/contract/v1/errors_pb.ts'
import { EchoService } from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import { openGrpcCaller, type CallLimits, type GrpcCaller } from '../../coordinator/calls/grpc.ts'
import type { Outcome } from '../../coordinator/calls/port.ts'
import { openEchoServer, type EchoServer, type EchoServerOptions } from './echo-server.ts'
import { portSuite } from './port.suite.ts'
import { echoPipeline, echoRequest, outcomeOf, type Wanted } from './requests.ts'

const heldOutcomeMs = 300

portSuite('gRPC', async () => {
  const server = await openEchoServer()
  const { caller } = callerTo([server.address], { heldOutcomeMs })
  return {
    caller,
    heldOutcomeMs,
    executions: (key) => server.executions.get(key) ?? 0,
    async close() {
      await caller.close()
      await server.close()
    },
  }
})

type Logged = { level: string; message: string }

function callerTo(
  addresses: readonly string[] | string,
  limits: Partial<CallLimits> = {},
): { caller: GrpcCaller; logged: Logged[] } {
  const logged: Logged[] = []
  const caller = openGrpcCaller({
    services: new Map([[EchoService.typeName, addresses]]),
    roots: [],
    clock: { nowMs: Date.now },
    logger: (level, message) => logged.push({ level, message }),
    limits,
  })
  return { caller, logged }
}

async function opened(
  t: TestContext,
  limits: Partial<CallLimits> = {},
  options: EchoServerOptions = {},
): Promise<{ server: EchoServer; caller: GrpcCaller; logged: Logged[] }> {
  const server = await openEchoServer(options)
  const { caller, logged } = callerTo([server.address], limits)
  t.after(async () => {
    await caller.close()
    await server.close()
  })
  return { server, caller, logged }
}

function all(caller: GrpcCaller, wanted: readonly Wanted[]): Promise<Outcome[]> {
  return Promise.all(wanted.map((one) => outcomeOf(caller, echoRequest(one))))
}

function failureOf(outcome: Outcome): { class: ErrorClass; reason: string } {
  assert.ok(outcome.kind === 'failed')
  return { class: outcome.failure.class, reason: outcome.failure.reason }
}

test('every call carries its own traceparent, exactly one', async (t) => {
  const { server, caller } = await opened(t)
  await all(caller, [{ key: 1 }, { key: 2 }])
  assert.deepEqual(server.traceparents.toSorted(), [
    echoRequest({ key: 1 }).traceparent,
    echoRequest({ key: 2 }).traceparent,
  ])
})

test('a response that breaks its contract is PERMANENT', async (t) => {
  const { caller } = await opened(t)
  const outcome = await outcomeOf(caller, echoRequest({ key: 1, act: 'bad' }))
  assert.deepEqual(failureOf(outcome), { class: ErrorClass.PERMANENT, reason: 'BAD_RESPONSE' })
  assert.ok(outcome.kind === 'failed')
  assert.match(outcome.failure.message, /digest/)
  assert.match(outcome.failure.replica, /^127\.0\.0\.1:/)
})

test('of a call answered twice neither answer is taken: nobody knows what it did', async (t) => {
  const { caller } = await opened(t)
  const twice = echoRequest({ key: 1, act: 'twice', timeoutMs: 300 })
  const told: Outcome[] = []
  caller.call(twice, (outcome) => told.push(outcome))
  const next = await outcomeOf(caller, echoRequest({ key: 2, act: 'late:600' }))
  assert.equal(next.kind, 'done')
  assert.deepEqual(told.map(failureOf), [
    { class: ErrorClass.AMBIGUOUS, reason: 'DEADLINE_EXCEEDED' },
  ])
})

test('the limit of the contract holds, and a free slot is used at once', async (t) => {
  const { server, caller } = await opened(t)
  const wanted = Array.from({ length: 600 }, (_, key) => ({ key, act: 'late:20' }))
  const outcomes = await all(caller, wanted)
  assert.ok(outcomes.every(({ kind }) => kind === 'done'))
  assert.equal(server.most(), 256)
  assert.equal(caller.status()[0]?.limit, 256)
})

test('an overloaded service is asked for less, until it answers again', async (t) => {
  const { server, caller } = await opened(t, {}, { slots: 8 })
  const wanted = Array.from({ length: 40 }, (_, key) => ({ key, act: 'late:30' }))
  const outcomes = await all(caller, wanted)
  const busy = outcomes.filter((outcome) => outcome.kind === 'failed')
  assert.equal(busy.length, 32)
  assert.deepEqual(
    new Set(busy.map((outcome) => failureOf(outcome).class)),
    new Set([ErrorClass.OVERLOADED]),
  )
  const lowered = caller.status()[0]?.limit ?? 0
  assert.ok(lowered <= 140, `limit ${lowered} after one halving of 256`)
  await all(
    caller,
    Array.from({ length: 8 }, (_, key) => ({ key: 100 + key })),
  )
  assert.equal(server.executions.size, 16)
})

test('the full queue refuses as OVERLOADED, later than call()', async (t) => {
  const { caller } = await opened(t, { queueLengthMax: 0 })
  const outcome = await outcomeOf(caller, echoRequest({ key: 1 }))
  assert.deepEqual(failureOf(outcome), { class: ErrorClass.OVERLOADED, reason: 'QUEUE_FULL' })
})

test('many PERMANENT in a row pause the service; a probe that is answered ends the pause', async (t) => {
  const { server, caller, logged } = await opened(t, { probeEveryMs: 150 })
  const never = Array.from({ length: 5 }, (_, key) => ({ key, act: 'fail:NEVER' }))
  const parked = await all(caller, never)
  assert.ok(parked.every((outcome) => failureOf(outcome).class === ErrorClass.PERMANENT))
  assert.equal(caller.status()[0]?.state, 'PAUSED')
  let told: Outcome | undefined
  const bad = echoRequest({ key: 10, act: 'fail:NEVER' })
  caller.call(bad, (outcome) => (told = outcome))
  const good = outcomeOf(caller, echoRequest({ key: 11, plate: 'P2' }))
  assert.equal(server.executions.size, 5)
  assert.equal((await good).kind, 'done')
  // The bad one was the first probe: taken back, then told after the pause.
  assert.equal(caller.status()[0]?.state, 'CHECKED')
  while (told === undefined) await sleep(5)
  assert.equal(failureOf(told).reason, 'NEVER')
  assert.equal(server.executions.get(bad.idempotencyKey), 2)
  assert.deepEqual(
    logged.map(({ message }) => message.replace(/^\S+ /, '').split(':')[0]),
    ['is paused', 'goes on'],
  )
})

test('check() names a service without address', async () => {
  const caller = openGrpcCaller({
    services: new Map(),
    roots: [],
    clock: { nowMs: Date.now },
    logger: () => {},
  })
  await assert.rejects(caller.check(echoPipeline), { message: /EchoService has no address/ })
})

test('a service that is down at start is warned about, and called when it is up', async (t) => {
  const first = await openEchoServer()
  const port = Number(first.address.split(':')[1])
  await first.close()
  const { caller, logged } = callerTo([first.address])
  t.after(() => caller.close())
  await caller.check(echoPipeline)
  assert.equal(logged[0]?.level, 'warn')
  assert.match(logged[0]?.message ?? '', /EchoService at 127\S+ does not answer/)
  const outcome = outcomeOf(caller, echoRequest({ key: 1 }))
  const server = await openEchoServer({ port })
  t.after(() => server.close())
  assert.equal((await outcome).kind, 'done')
})

async function untilState(caller: GrpcCaller, state: string): Promise<void> {
  while (caller.status()[0]?.state !== state) await sleep(5)
}

async function fallen(t: TestContext): Promise<{ caller: GrpcCaller; port: number }> {
  const { server, caller } = await opened(t)
  await outcomeOf(caller, echoRequest({ key: 1 }))
  await server.close()
  await untilState(caller, 'UNREACHABLE')
  return { caller, port: Number(server.address.split(':')[1]) }
}

test('calls to a service that went down wait until it is back, no attempt is spent', async (t) => {
  const { caller, port } = await fallen(t)
  const outcome = outcomeOf(caller, echoRequest({ key: 2, timeoutMs: 200 }))
  await sleep(300)
  const server = await openEchoServer({ port })
  t.after(() => server.close())
  assert.equal((await outcome).kind, 'done')
  assert.equal(caller.status()[0]?.state, 'CHECKED')
})

test('two replicas share the calls', async (t) => {
  const servers = [await openEchoServer(), await openEchoServer()]
  const { caller } = callerTo(servers.map(({ address }) => address))
  t.after(async () => {
    await caller.close()
    for (const server of servers) await server.close()
  })
  await caller.check(echoPipeline)
  await all(
    caller,
    Array.from({ length: 40 }, (_, key) => ({ key, act: 'late:20' })),
  )
  assert.deepEqual(
    servers.map(({ executions }) => executions.size),
    [20, 20],
  )
  assert.equal(caller.status()[0]?.limit, 512)
})

test('a name with one address is one replica', async (t) => {
  const server = await openEchoServer()
  const { caller } = callerTo(`dns:///${server.address}`)
  t.after(async () => {
    await caller.close()
    await server.close()
  })
  const [outcome] = await all(caller, [{ key: 1 }])
  assert.match(outcome?.timing.replica ?? '', /^127\.0\.0\.1:/)
  assert.equal(caller.status()[0]?.limit, 256)
})

test('a wrapper killed in the middle of a call: again if harmless, AMBIGUOUS if not', async (t) => {
  const child = spawn(process.execPath, [`${import.meta.dirname}/echo-server.ts`], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.after(() => child.kill('SIGKILL'))
  const [line] = (await once(child.stdout, 'data')) as [Buffer]
  const { caller } = callerTo([line.toString().trim()])
  t.after(() => caller.close())
  await outcomeOf(caller, echoRequest({ key: 1 }))
  const pure = outcomeOf(caller, echoRequest({ key: 2, act: 'hang' }))
  const harm = outcomeOf(caller, echoRequest({ key: 3, act: 'hang', once: true }))
  await sleep(100)
  child.kill('SIGKILL')
  assert.deepEqual(failureOf(await pure), { class: ErrorClass.RETRYABLE, reason: 'UNAVAILABLE' })
  assert.deepEqual(failureOf(await harm), { class: ErrorClass.AMBIGUOUS, reason: 'UNAVAILABLE' })
})
