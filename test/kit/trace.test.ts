import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { EchoService } from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import { runCommand } from '../../services/kit/command.ts'
import {
  attributesOf,
  begin,
  clientOf,
  digest,
  echo,
  echoRequest,
  entity,
  hexOf,
  refusal,
  spawnEcho,
  startCollector,
  startEcho,
} from './support.ts'

const { echoImage } = EchoService.method
const traceId = '4bf92f3577b34da6a3ce929d0e0e4736'
const callerSpan = '00f067aa0ba902b7'
const traceparent = `00-${traceId}-${callerSpan}-01`

test('a wrapper process hands over its SERVER span on SIGTERM, under its caller', async (t) => {
  const collector = await startCollector(t)
  const { child, address } = await spawnEcho(t, { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url })
  await echo(clientOf(t, address), echoRequest('1', { attempt: 3 }), { traceparent })
  child.kill('SIGTERM')
  await once(child, 'exit')
  const [span] = collector.spans
  assert.ok(span)
  assert.deepEqual([...collector.services], ['echo'])
  assert.equal(hexOf(span.traceId), traceId)
  assert.equal(hexOf(span.parentSpanId), callerSpan)
  assert.equal(span.name, 'wellspring.steps.echo.v1.EchoService/EchoImage')
  assert.deepEqual(attributesOf(span), {
    'rpc.system': 'grpc',
    'rpc.service': 'wellspring.steps.echo.v1.EchoService',
    'rpc.method': 'EchoImage',
    'rpc.grpc.status_code': 0,
    'wellspring.entity': entity,
    'wellspring.step': 'echo',
    'wellspring.idempotency_key': '1'.padStart(32, '0'),
    'wellspring.attempt': 3,
    'wellspring.dedup': 'miss',
  })
})

test('the program behind gets the legacy span as its parent', async (t) => {
  const collector = await startCollector(t)
  let seen = ''
  const served = await startEcho(
    t,
    async (_, call) => {
      await call.legacy('command sh', { 'process.executable.name': 'sh' }, async (parent) => {
        assert.equal(parent, call.traceparent)
        const options = { command: 'sh', args: ['-c', 'printf %s "$TRACEPARENT"'] }
        const result = await runCommand({ ...options, signal: call.signal, traceparent: parent })
        if (result.kind === 'exited') seen = result.stdout
      })
      return { digest }
    },
    { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url },
  )
  await echo(served.client, echoRequest('1'), { traceparent })
  await served.drain()
  const legacy = collector.spans.find(({ name }) => name === 'legacy command sh')
  const server = collector.spans.find(({ name }) => name.endsWith('/EchoImage'))
  assert.ok(legacy && server)
  assert.deepEqual(legacy.parentSpanId, server.spanId)
  assert.equal(seen, `00-${traceId}-${hexOf(legacy.spanId)}-01`)
  assert.equal(attributesOf(legacy)['wellspring.entity'], entity)
})

test('spans say how the call was served and how it failed', async (t) => {
  const collector = await startCollector(t)
  const release = Promise.withResolvers<void>()
  const entered = Promise.withResolvers<void>()
  const served = await startEcho(
    t,
    async (request, call) => {
      if (request.context?.idempotencyKey.endsWith('f')) throw call.fail('BAD_DATA', 'half a file')
      entered.resolve()
      await release.promise
      return { digest }
    },
    { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url },
  )
  const first = begin(served.client, echoImage, echoRequest('1'), { traceparent })
  await entered.promise
  const second = begin(served.client, echoImage, echoRequest('1'), { traceparent })
  await refusal(echo(served.client, echoRequest('f'), { traceparent }))
  release.resolve()
  await first.answer
  await second.answer
  await echo(served.client, echoRequest('1'), { traceparent })
  await served.drain()
  const dedup = collector.spans.map((span) => String(attributesOf(span)['wellspring.dedup']))
  assert.deepEqual(
    dedup.toSorted((a, b) => a.localeCompare(b)),
    ['joined', 'miss', 'miss', 'replayed'],
  )
  const failed = collector.spans.filter(({ status }) => status?.message === 'half a file')
  const [bad] = failed.map(attributesOf)
  assert.equal(bad?.['wellspring.error.class'], 'POISON')
  assert.equal(bad?.['wellspring.error.reason'], 'BAD_DATA')
  assert.equal(bad?.['rpc.grpc.status_code'], 15)
})

const parents = {
  'one among damaged ones': [`00-zz-${callerSpan}-01, ${traceparent}`, `^${traceparent}$`],
  'the last of two': [
    `00-${'1'.repeat(32)}-${'2'.repeat(16)}-01,${traceparent}`,
    `^${traceparent}$`,
  ],
  none: ['', '^00-[0-9a-f]{32}-[0-9a-f]{16}-00$'],
} as const
for (const [kind, [given, want]] of Object.entries(parents))
  test(`without export the program gets the caller's trace context (${kind})`, async (t) => {
    let seen = ''
    const { client } = await startEcho(t, async (_, call) => {
      await call.legacy('none', {}, async (parent) => {
        seen = parent
      })
      return { digest }
    })
    await echo(client, echoRequest('1'), { traceparent: given })
    assert.match(seen, new RegExp(want))
  })
