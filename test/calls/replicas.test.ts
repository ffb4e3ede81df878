// Replica by replica: which are called, which are left out and why, and when they are taken in.
import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { DescService } from '@bufbuild/protobuf'
import { EchoService } from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import { ImageQualityService } from '#proto/wellspring/steps/imagequality/v1/image_quality_pb.ts'
import type { Lookup } from '../../coordinator/calls/addresses.ts'
import { openGrpcCaller, type GrpcCaller } from '../../coordinator/calls/grpc.ts'
import type { Outcome } from '../../coordinator/calls/port.ts'
import { contractDigest } from '../../proto/digest.ts'
import { openEchoServer, type EchoServer, type EchoServerOptions } from './echo-server.ts'
import { otherVersion, renumbered, withOptionalText } from './other-versions.ts'
import { echoPipeline, echoRequest, outcomeOf } from './requests.ts'

const odd = renumbered(EchoService, 'EchoImageResponse', 'digest', 7)
const newer = withOptionalText(EchoService, 'EchoImageResponse', 'note', 9)

type Logged = { readonly level: string; readonly message: string }
type Bench = { readonly caller: GrpcCaller; readonly logged: readonly Logged[] }

/** A caller that looks again soon at what it left out. */
function callerTo(t: TestContext, targets: readonly string[], lookup?: Lookup): Bench {
  const logged: Logged[] = []
  const caller = openGrpcCaller({
    services: new Map([[EchoService.typeName, targets]]),
    roots: [],
    clock: { nowMs: Date.now },
    logger: (level, message) => logged.push({ level, message }),
    recheckMs: { first: 50, max: 200 },
    ...(lookup && { lookup }),
  })
  t.after(() => caller.close())
  return { caller, logged }
}

async function served(t: TestContext, options: EchoServerOptions = {}): Promise<EchoServer> {
  const server = await openEchoServer(options)
  t.after(() => server.close())
  return server
}

function portOf({ address }: EchoServer): number {
  return Number(address.split(':')[1])
}

function calls(caller: GrpcCaller, from: number, to: number): Promise<Outcome[]> {
  const keys = Array.from({ length: to - from }, (_, index) => from + index)
  return Promise.all(keys.map((key) => outcomeOf(caller, echoRequest({ key }))))
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await sleep(5)
}

function statesOf(caller: GrpcCaller): (string | undefined)[] {
  return caller.status().map(({ state }) => state)
}

test('an odd replica beside a right one stops neither the start nor the calls, and gets none', async (t) => {
  const [right, other] = [await served(t), await served(t, { service: odd, version: '2.0' })]
  const { caller, logged } = callerTo(t, [other.address, right.address])
  await caller.check(echoPipeline)
  const outcomes = await calls(caller, 0, 50)
  assert.ok(outcomes.every(({ kind }) => kind === 'done'))
  assert.deepEqual([right.executions.size, other.executions.size], [50, 0])
  const [excluded, checked] = caller.status()
  assert.deepEqual([excluded?.state, checked?.state], ['EXCLUDED', 'CHECKED'])
  assert.match(
    excluded?.problem ?? '',
    /EchoService at 127\S+ serves a contract that does not fit \(version 2\.0\): EchoImageResponse\.digest has number 7 there, 1 here\. Update the older/,
  )
  assert.deepEqual([checked?.problem, checked?.version], ['', 'test'])
  assert.equal(checked?.limit, 256)
  assert.deepEqual(
    logged.map(({ level, message }) => [level, message.includes('has number 7 there')]),
    [['error', true]],
  )
})

test('what only looks different is called: an optional field more there, or more here', async (t) => {
  const server = await served(t, { service: newer })
  assert.notEqual(contractDigest(newer), contractDigest(EchoService))
  const { caller, logged } = callerTo(t, [server.address])
  await caller.check(echoPipeline)
  assert.equal((await outcomeOf(caller, echoRequest({ key: 1 }))).kind, 'done')
  assert.deepEqual(logged, [])
})

test('a digest that is claimed counts for nothing beside descriptors', async (t) => {
  const digest = contractDigest(EchoService)
  const other = await served(t, { service: odd, digest })
  const right = await served(t, { digest: 'f'.repeat(64) })
  const { caller } = callerTo(t, [other.address, right.address])
  await caller.check(echoPipeline)
  assert.deepEqual(statesOf(caller), ['EXCLUDED', 'CHECKED'])
})

test('without descriptors the digest decides, and the missing descriptors are named', async (t) => {
  const same = await served(t, { descriptors: 'none' })
  const other = await served(t, { descriptors: 'none', digest: 'f'.repeat(64) })
  const { caller } = callerTo(t, [same.address, other.address])
  await caller.check(echoPipeline)
  assert.deepEqual(statesOf(caller), ['CHECKED', 'EXCLUDED'])
  assert.match(
    caller.status()[1]?.problem ?? '',
    new RegExp(
      `states another contract digest, f{64} \\(this coordinator's is ${contractDigest(EchoService)}\\), and tells no ` +
        'descriptors to compare: let Describe fill in ServedContract\\.file_descriptor_set',
    ),
  )
})

const excluded: readonly [string, EchoServerOptions, RegExp][] = [
  [
    'that is another service',
    { service: ImageQualityService },
    /does not serve that contract, it serves wellspring\.steps\.imagequality\.v1\.ImageQualityService: correct the address/,
  ],
  [
    'without Describe',
    { isPlain: true },
    /does not say what it serves: implement Describe of wellspring\.step\.v1\.StepIntrospectionService/,
  ],
  [
    'whose descriptors are none',
    { descriptors: Buffer.from('no set') },
    /tells descriptors that cannot be read: .*They are a google\.protobuf\.FileDescriptorSet with all imports/,
  ],
  [
    'whose descriptors are too large',
    { descriptors: Buffer.alloc(1_048_577) },
    /tells descriptors of 1048577 bytes, at most 1048576 are read/,
  ],
  [
    'whose answer is beyond what the transport takes',
    { descriptors: Buffer.alloc(5_000_000) },
    /does not say what it serves: Describe failed with RESOURCE_EXHAUSTED/,
  ],
  [
    'whose words are hostile',
    { descriptors: 'none', digest: `\u001b[2J\n${'x'.repeat(100_000)}` },
    /states another contract digest, \\u001b\[2J\\nx+… \(this/,
  ],
]
for (const [what, options, problem] of excluded)
  test(`a replica ${what} is excluded, its reason named; the start goes on and its calls wait`, async (t) => {
    const server = await served(t, options)
    const { caller, logged } = callerTo(t, [server.address])
    await caller.check(echoPipeline)
    caller.call(echoRequest({ key: 1 }), () => assert.fail('told'))
    assert.match(caller.status()[0]?.problem ?? '', problem)
    assert.deepEqual(statesOf(caller), ['EXCLUDED'])
    assert.equal(caller.status()[0]?.queued, 1)
    const told = logged.map(({ message }) => message)
    assert.match(
      told[1] ?? '',
      /EchoService has no replica that can be called, its calls wait:\n- /,
    )
    assert.ok(told.every((message) => message.length < 2_000))
    assert.equal(server.executions.size, 0)
  })

const soon = { timeout: 15_000 } as const

test(
  'an odd replica that is replaced by a right one on its port is taken in, and its calls with it',
  soon,
  async (t) => {
    const other = await openEchoServer({ service: odd })
    const { caller, logged } = callerTo(t, [other.address])
    await caller.check(echoPipeline)
    const outcome = outcomeOf(caller, echoRequest({ key: 1 }))
    await other.close()
    const right = await served(t, { port: portOf(other) })
    assert.equal((await outcome).kind, 'done')
    assert.equal(right.executions.size, 1)
    assert.match(logged.at(-1)?.message ?? '', /EchoService at 127\S+ is called again/)
  },
)

test('a replica that comes back odd gets no call, not even one that was on its way', async (t) => {
  const first = await openEchoServer()
  const { caller } = callerTo(t, [first.address])
  await caller.check(echoPipeline)
  await outcomeOf(caller, echoRequest({ key: 1 }))
  const [told, executed]: [Outcome[], () => number] = [[], () => other.executions.size]
  // Asked for without a pause, over the moment in which the connection is lost and another one is there.
  let key = 1_000
  const asking = setInterval(() => {
    for (let count = 0; count < 20; count += 1)
      caller.call(echoRequest({ key: key++ }), (outcome) => told.push(outcome))
  }, 1)
  t.after(() => clearInterval(asking))
  await sleep(50)
  await first.close()
  const other = await served(t, { port: portOf(first), service: odd })
  await until(() => statesOf(caller)[0] === 'EXCLUDED')
  await sleep(300)
  clearInterval(asking)
  assert.equal(executed(), 0)
  await other.close()
  const right = await served(t, { port: portOf(first) })
  await until(() => caller.status()[0]?.queued === 0 && caller.status()[0]?.inFlight === 0)
  assert.ok(right.executions.size > 0)
  await until(() => told.length === key - 1_000)
  const failed = told.filter(({ kind }) => kind === 'failed')
  assert.ok(failed.length < 256, `${failed.length} of ${told.length} calls were under way`)
})

test('a replica that is excluded is looked at again, at growing intervals', async (t) => {
  let looks = 0
  const lookedAt = otherVersion(odd, () => {})
  const server = await served(t, { service: lookedAt, onDescribe: () => (looks += 1) })
  const { caller, logged } = callerTo(t, [server.address])
  await caller.check(echoPipeline)
  await sleep(1_500)
  // By pauses of 50, 100, 200, 200, … ms, and 100 more each: about 6.
  assert.ok(looks >= 4 && looks <= 9, `${looks} looks`)
  assert.equal(logged.length, 2, 'told once')
})

test('a name is every replica behind it, each judged by itself', async (t) => {
  const right = await served(t, { host: '127.0.0.1' })
  const port = portOf(right)
  const other = await served(t, { host: '127.0.0.2', port, service: odd })
  const late = ['127.0.0.1', '127.0.0.2']
  const { caller } = callerTo(t, [`dns:///echo.test:${port}`], (host) => {
    assert.equal(host, 'echo.test')
    return Promise.resolve(late)
  })
  await caller.check(echoPipeline)
  await calls(caller, 0, 20)
  assert.deepEqual(statesOf(caller), ['CHECKED', 'EXCLUDED'])
  assert.deepEqual([right.executions.size, other.executions.size], [20, 0])
  assert.equal(caller.status()[0]?.limit, 256)
})

test('a name without address is a service whose calls wait, and says so', async (t) => {
  const { caller, logged } = callerTo(t, ['echo.test:1'], () =>
    Promise.reject(new Error('ENOTFOUND')),
  )
  await caller.check(echoPipeline)
  assert.match(logged[0]?.message ?? '', /echo\.test has no address: ENOTFOUND/)
  assert.deepEqual(statesOf(caller), ['UNREACHABLE'])
  assert.match(caller.status()[0]?.problem ?? '', /echo\.test:1 has no address/)
})

test('what no step of the pipeline calls is not asked for', async (t) => {
  const lessOf = (service: DescService): DescService =>
    otherVersion(service, (file) => {
      for (const one of file.service)
        one.method = one.method.filter(({ name }) => name !== 'EchoPlate')
    })
  const server = await served(t, { service: lessOf(EchoService) })
  const { caller } = callerTo(t, [server.address])
  await caller.check(echoPipeline)
  const isCalled = echoPipeline.steps.some(({ method }) => method.name === 'EchoPlate')
  assert.deepEqual(statesOf(caller), [isCalled ? 'EXCLUDED' : 'CHECKED'])
})
