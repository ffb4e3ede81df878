import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test, type TestContext } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { status } from '@grpc/grpc-js'
import { EchoImageRequestSchema, EchoService } from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import { ArtifactSchema } from '#proto/wellspring/lab/v1/artifact_pb.ts'
import {
  CancelRequestSchema,
  StepIntrospectionService,
} from '#proto/wellspring/step/v1/introspection_pb.ts'
import { createAnswers } from '../../services/kit/effects.ts'
import { createExecutions, type Caller, type Execution } from '../../services/kit/executions.ts'
import {
  begin,
  contextOf,
  digest,
  echo,
  echoRequest,
  entity,
  refusal,
  startEcho,
  type EchoHandler,
} from './support.ts'

const { echoImage } = EchoService.method
const key = '1'

type Gate = {
  readonly handler: EchoHandler
  readonly started: readonly AbortSignal[]
  /** The signal of the next execution, once it has started. */
  readonly next: () => Promise<AbortSignal>
  readonly open: () => void
}

/** A handler that waits to be released, or ends with its signal; tells of every start. */
function gate(): Gate {
  const started: AbortSignal[] = []
  const waiting: ((signal: AbortSignal) => void)[] = []
  const release = Promise.withResolvers<void>()
  let told = 0
  return {
    started,
    async handler(_, call) {
      const { signal } = call
      started.push(signal)
      for (const tell of waiting.splice(0)) tell(signal)
      const aborted = new Promise<never>((_resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason as Error))
      })
      await Promise.race([release.promise, aborted])
      return { digest }
    },
    async next() {
      told += 1
      const signal = started[told - 1]
      return signal ?? (await new Promise((resolve) => waiting.push(resolve)))
    },
    open: () => release.resolve(),
  }
}

test('calls with one key run once and get the same answer; later ones get it again', async (t) => {
  const { handler, started, next, open } = gate()
  const { client } = await startEcho(t, handler)
  const calls = [1, 2, 3].map(() => begin(client, echoImage, echoRequest(key)))
  await next()
  // Calls of one connection arrive in order: once the refused one is answered, the three before it are in.
  await refusal(echo(client, echoRequest('not hex')))
  open()
  for (const { answer } of calls) assert.equal((await answer).digest, digest)
  assert.equal((await echo(client, echoRequest(key))).digest, digest)
  assert.equal(started.length, 1)
})

test('a failure is not kept: the next attempt runs', async (t) => {
  let runs = 0
  const { client } = await startEcho(t, (_, call) => {
    runs += 1
    if (runs === 1) throw call.fail('NOT_YET', 'soon')
    return { digest }
  })
  assert.equal((await refusal(echo(client, echoRequest(key)))).info?.reason, 'NOT_YET')
  assert.equal((await echo(client, echoRequest(key, { attempt: 2 }))).digest, digest)
  assert.equal(runs, 2)
})

test('an execution goes on when its caller leaves, and another caller joins it', async (t) => {
  const { handler, started, next, open } = gate()
  const { client } = await startEcho(t, handler)
  const first = begin(client, echoImage, echoRequest(key))
  const signal = await next()
  first.call.cancel()
  assert.equal((await refusal(first.answer)).code, status.CANCELLED)
  const second = begin(client, echoImage, echoRequest(key))
  await refusal(echo(client, echoRequest('not hex')))
  assert.equal(signal.aborted, false)
  open()
  assert.equal((await second.answer).digest, digest)
  assert.equal(started.length, 1)
})

test('an execution that nobody waits for is ended after its grace', async (t) => {
  const { handler, next } = gate()
  const { client } = await startEcho(t, handler, { WELLSPRING_ORPHAN_GRACE_MS: '20' })
  const { call } = begin(client, echoImage, echoRequest(key))
  const signal = await next()
  const aborted = once(signal, 'abort')
  call.cancel()
  await aborted
  assert.match(String(signal.reason), /nobody has waited for it for 20 ms/)
})

test('at the deadline the signal aborts and the service itself answers, in time', async (t) => {
  const { handler, next } = gate()
  const { client } = await startEcho(t, handler)
  const call = begin(client, echoImage, echoRequest(key), { timeoutMs: 2_000 })
  const signal = await next()
  const refused = await refusal(call.answer)
  assert.equal(signal.aborted, true)
  assert.equal(refused.code, status.DEADLINE_EXCEEDED)
  assert.equal(refused.info?.reason, 'DEADLINE_EXCEEDED')
  assert.equal(refused.info?.metadata['class'], 'AMBIGUOUS')
})

test('a handler that ignores its signal keeps no caller waiting, and never runs beside itself', async (t) => {
  const release = Promise.withResolvers<void>()
  const entered = Promise.withResolvers<void>()
  let running = 0
  let most = 0
  const { client } = await startEcho(t, async (request) => {
    running += 1
    most = Math.max(most, running)
    entered.resolve()
    if (request.context?.attempt === 1) await release.promise
    running -= 1
    if (request.context?.attempt === 1) throw new Error('late')
    return { digest }
  })
  const first = begin(client, echoImage, echoRequest(key))
  await entered.promise
  const { cancel } = StepIntrospectionService.method
  const idempotencyKey = contextOf(key).idempotencyKey
  const cancelled = await begin(client, cancel, create(CancelRequestSchema, { idempotencyKey }))
    .answer
  assert.equal(cancelled.wasRunning, true)
  const refused = await refusal(first.answer)
  assert.equal(refused.code, status.CANCELLED)
  assert.equal(refused.info?.metadata['class'], 'AMBIGUOUS')
  const second = begin(client, echoImage, echoRequest(key, { attempt: 2 }))
  await refusal(echo(client, echoRequest('not hex')))
  release.resolve()
  assert.equal((await second.answer).digest, digest)
  assert.equal(most, 1)
})

test('beyond the limit calls are refused with RetryInfo; joining is not beyond it', async (t) => {
  const { handler, next, open } = gate()
  const { client } = await startEcho(t, handler, { WELLSPRING_MAX_IN_FLIGHT: '2' })
  const running = ['1', '2'].map((name) => begin(client, echoImage, echoRequest(name)))
  await next()
  await next()
  const joined = begin(client, echoImage, echoRequest('1'))
  const refused = await refusal(echo(client, echoRequest('3')))
  assert.equal(refused.code, status.RESOURCE_EXHAUSTED)
  assert.equal(refused.info?.reason, 'FULL')
  assert.equal(refused.info?.metadata['class'], 'OVERLOADED')
  const { seconds = 0n, nanos = 0 } = refused.retry?.retryDelay ?? {}
  assert.ok(seconds > 0n || nanos >= 50_000_000)
  open()
  for (const { answer } of [...running, joined]) await answer
  assert.equal((await echo(client, echoRequest('3'))).digest, digest)
})

test('the environment narrows the limit of the contract and never widens it', async (t) => {
  const { handler, open, next } = gate()
  const { client } = await startEcho(t, handler, { WELLSPRING_MAX_IN_FLIGHT: '100000' })
  const running = Array.from({ length: 256 }, (_, n) =>
    begin(client, echoImage, echoRequest(n.toString(16).padStart(3, '0'))),
  )
  for (let n = 0; n < 256; n += 1) await next()
  assert.equal((await refusal(echo(client, echoRequest('fff')))).info?.reason, 'FULL')
  open()
  for (const { answer } of running) await answer
})

test('a key never gives one entity the answer of another', async (t) => {
  const { client } = await startEcho(t, () => ({ digest }))
  await echo(client, echoRequest(key))
  const other = echoRequest(key, { entity: 'E1/P1/a1/C01/t0/s1/z0/DNA' })
  const refused = await refusal(echo(client, other))
  assert.equal(refused.code, status.INVALID_ARGUMENT)
  assert.match(refused.details, /is already that of .* of E1\/P1\/a1\/B07/)
})

test('a key is bound to step, generation and input too; where a file lies is no input', async (t) => {
  const { client } = await startEcho(t, () => ({ digest }))
  const image = (uri: string, sha256: string) =>
    create(ArtifactSchema, { uri, sizeBytes: 1, sha256, mediaType: '' })
  const asked = echoRequest(key)
  const first = create(EchoImageRequestSchema, { ...asked, image: image('file:///a', digest) })
  await echo(client, first)
  const moved = create(EchoImageRequestSchema, { ...asked, image: image('file:///b', digest) })
  await echo(client, moved)
  const others = [
    { ...first, image: image('file:///a', 'b'.repeat(64)) },
    { ...first, previous: 'other' },
    { ...first, context: contextOf(key, { step: 'other' }) },
    { ...first, context: { ...contextOf(key), generation: 2 } },
  ]
  for (const other of others) {
    const refused = await refusal(echo(client, create(EchoImageRequestSchema, other)))
    assert.equal(refused.info?.reason, 'INVALID_REQUEST')
    assert.match(refused.details, /is already that of/)
  }
})

/** An execution without a server, on timers that the test moves. */
function direct(t: TestContext, graceMs: number): Direct {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const executions = createExecutions(graceMs, createAnswers())
  const slots = { max: 10, used: 0, meanMs: 0 }
  const seen = Promise.withResolvers<AbortSignal>()
  return {
    signal: seen.promise,
    join(timeoutMs) {
      const caller: Caller = { left: false, onLeft: undefined, dedup: 'miss' }
      const job = {
        method: 'm',
        entity,
        key,
        binding: { entity, step: 's', generation: 1, input: '', type: 't' },
        slots,
        effects: undefined,
        deadline: performance.now() + timeoutMs,
        work({ signal }: Execution) {
          seen.resolve(signal)
          return new Promise<Uint8Array>(() => {})
        },
      }
      executions.run(job, caller).catch(() => {})
      return () => {
        caller.left = true
        caller.onLeft?.()
      }
    },
  }
}

type Direct = {
  readonly signal: Promise<AbortSignal>
  /** A caller comes; the returned function makes it leave. */
  readonly join: (timeoutMs: number) => () => void
}

test('who joins within the grace stops the clock; when it leaves the clock starts anew', async (t) => {
  const { signal, join } = direct(t, 30_000)
  const leave = join(3_600_000)
  const { aborted } = await signal
  assert.equal(aborted, false)
  leave()
  t.mock.timers.tick(29_999)
  const leaveToo = join(3_600_000)
  t.mock.timers.tick(60_000)
  assert.equal((await signal).aborted, false)
  leaveToo()
  t.mock.timers.tick(29_999)
  assert.equal((await signal).aborted, false)
  t.mock.timers.tick(1)
  assert.equal((await signal).aborted, true)
})

test('the latest deadline of those who wait is the one that counts', async (t) => {
  const { signal, join } = direct(t, 30_000)
  join(10_000)
  join(20_000)
  join(5_000)
  t.mock.timers.tick(19_000)
  assert.equal((await signal).aborted, false)
  t.mock.timers.tick(1_001)
  assert.equal((await signal).aborted, true)
})
