import assert from 'node:assert/strict'
import { once } from 'node:events'
import { request as httpRequest } from 'node:http'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { deflateSync, gzipSync } from 'node:zlib'
import { fromBinary, toBinary } from '@bufbuild/protobuf'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto'
import { BasicTracerProvider, BatchSpanProcessor } from '@opentelemetry/sdk-trace-base'
import { StatusSchema } from '#proto/google/rpc/status_pb.ts'
import {
  ExportTraceServiceRequestSchema,
  ExportTraceServiceResponseSchema,
  type ExportTraceServiceRequest,
} from '#proto/opentelemetry/proto/collector/trace/v1/trace_service_pb.ts'
import { exportRequest } from '../../coordinator/trace/build.ts'
import { parseListen } from '../../coordinator/listen.ts'
import type { ReceiverLimits } from '../../coordinator/trace/otlp.ts'
import { entitySpans, tracedOf } from '../../coordinator/trace/spans.ts'
import { exampleTask, plateKey } from '../control/plate.ts'
import { receiveRequests } from './received.ts'
import * as wire from './wire.ts'

const found = tracedOf(exampleTask(), `${plateKey}/B07/t0/s1/z0/DNA`)
assert.ok(found)
const spans = exportRequest('test', entitySpans(found))
const body = Buffer.from(toBinary(ExportTraceServiceRequestSchema, spans))
const protobuf = { 'content-type': 'application/x-protobuf' }

test('spans arrive as they were sent, plain, gzip and deflate', async (t) => {
  const taken: ExportTraceServiceRequest[] = []
  const url = await receiving(t, (request) => void taken.push(request))
  const plain = await fetch(url, { method: 'POST', body, headers: protobuf })
  const gzip = { ...protobuf, 'content-encoding': 'gzip' }
  const zipped = await fetch(url, { method: 'POST', body: gzipSync(body), headers: gzip })
  const deflate = { ...protobuf, 'content-encoding': 'Deflate' }
  const deflated = await fetch(url, { method: 'POST', body: deflateSync(body), headers: deflate })
  assert.deepEqual([plain.status, zipped.status, deflated.status], [200, 200, 200])
  assert.equal(plain.headers.get('content-type'), 'application/x-protobuf')
  assert.deepEqual(taken.map(bytesOf), [body, body, body])
})

test('the exporter that wrappers use finds its way by standard settings, gzip included', async (t) => {
  const names: string[] = []
  const url = await receiving(t, ({ resourceSpans }) => {
    for (const { scopeSpans } of resourceSpans)
      for (const { spans } of scopeSpans) names.push(...spans.map(({ name }) => name))
  })
  process.env['OTEL_EXPORTER_OTLP_ENDPOINT'] = new URL(url).origin
  process.env['OTEL_EXPORTER_OTLP_COMPRESSION'] = 'gzip'
  const exporter = new OTLPTraceExporter()
  const provider = new BasicTracerProvider({ spanProcessors: [new BatchSpanProcessor(exporter)] })
  const tracer = provider.getTracer('test')
  for (const name of ['one', 'two']) tracer.startSpan(name).end()
  await provider.shutdown()
  assert.deepEqual(names, ['one', 'two'])
})

test('what is not taken is refused with the way out', async (t) => {
  const url = await receiving(t, () => assert.fail('nothing of this is spans'))
  const post = (headers: Record<string, string>, bytes: Buffer): Promise<string> =>
    refusal(url, { method: 'POST', body: bytes, headers })
  assert.match(
    await post({ 'content-type': 'application/json' }, Buffer.from('{}')),
    /^415 .*"application\/json".*OTEL_EXPORTER_OTLP_PROTOCOL=http\/protobuf/,
  )
  assert.match(
    await post({ ...protobuf, 'content-encoding': 'br' }, body),
    /^415 .*"br": want gzip or deflate/,
  )
  for (const encoding of ['zstd', 'gzip, gzip', 'compress'])
    assert.match(await post({ ...protobuf, 'content-encoding': encoding }, body), /^415/)
  assert.match(
    await post({ ...protobuf, 'content-encoding': 'deflate' }, body),
    /^400 .*no deflate/,
  )
  assert.match(await post({ ...protobuf, 'content-encoding': 'gzip' }, body), /^400 .*no gzip/)
  assert.match(await post(protobuf, Buffer.from('nonsense')), /^400 .*ExportTraceServiceRequest/)
  assert.match(await refusal(url, {}), /^405 GET: POST/)
  assert.match(await refusal(url.replace('/v1/traces', '/v1/metrics'), {}), /^404 .*\/v1\/metrics/)
})

test('a body beyond the limit is refused, also one that only gunzips to it or hides its length', async (t) => {
  const url = await receiving(t, () => assert.fail('too large'), { bodyBytesMax: 1_000 })
  const large = Buffer.alloc(100_000)
  const gzip = { ...protobuf, 'content-encoding': 'gzip' }
  const post = { method: 'POST', headers: protobuf }
  assert.match(await refusal(url, { ...post, body: large }), /^413 more than 1000 bytes/)
  assert.match(await refusal(url, { ...post, headers: gzip, body: gzipSync(large) }), /^413/)
  const chunked = httpRequest(url, post)
  chunked.on('error', () => {})
  chunked.write(Buffer.alloc(2_000))
  const [response] = await once(chunked, 'response')
  assert.equal(response.statusCode, 413)
  chunked.destroy()
})

test('a receiver that cannot keep them says so, and the sender tries again', async (t) => {
  const url = await receiving(t, () => Promise.reject(new Error('the log is full')))
  const response = await fetch(url, { method: 'POST', body, headers: protobuf })
  assert.equal(response.status, 503)
  assert.equal(response.headers.get('retry-after'), '1')
  assert.match(messageOf(await response.bytes()), /the log is full/)
})

test('a listen address is host:port, IPv6 in brackets', () => {
  assert.deepEqual(parseListen('127.0.0.1:4318'), { host: '127.0.0.1', port: 4318 })
  assert.deepEqual(parseListen('[::1]:0'), { host: '::1', port: 0 })
  for (const wrong of ['4318', 'host', 'host:', 'host:99999', 'http://host:1'])
    assert.throws(() => parseListen(wrong), /is no listen address: want host:port/)
})

test('a sound request with some spans out of bounds is taken in part, and says so', async (t) => {
  const names: string[] = []
  const url = await receiving(t, ({ resourceSpans }) => {
    for (const { scopeSpans } of resourceSpans)
      for (const { spans: some } of scopeSpans) names.push(...some.map(({ name }) => name))
  })
  const short = wire.span(2, { trace: wire.idOf(2, 15) })
  const mixed = wire.request(wire.span(1), short, wire.span(3))
  const response = await fetch(url, { method: 'POST', body: mixed, headers: protobuf })
  assert.equal(response.status, 200)
  const answer = fromBinary(ExportTraceServiceResponseSchema, await response.bytes())
  assert.equal(answer.partialSuccess?.rejectedSpans, 1n)
  assert.match(answer.partialSuccess.errorMessage, /trace_id has 15 bytes/)
  assert.deepEqual(names, ['span 1', 'span 3'])
  const none = await refusal(url, { method: 'POST', body: wire.request(short), headers: protobuf })
  assert.match(none, /^400 no span is taken: its trace_id has 15 bytes/)
})

/** Bodies of 4 MiB that gzip makes some kilobytes of; what each is made of comes without end. */
function bombs(): Buffer[] {
  const bytes = 4 * 1024 * 1024 - 64
  const fill = (unit: Buffer): Buffer => wire.repeated(unit, Math.floor((bytes - 64) / unit.length))
  const scoped = (unit: Buffer): Buffer => wire.group(wire.scope(fill(unit)))
  const inSpan = (unit: Buffer): Buffer => wire.request(wire.span(1, { more: [fill(unit)] }))
  return [
    Buffer.alloc(bytes),
    fill(wire.group()),
    fill(wire.group(wire.scope())),
    scoped(wire.part(2)),
    scoped(wire.span(1)),
    inSpan(wire.part(9)),
    inSpan(wire.part(11)),
    inSpan(wire.part(13)),
    inSpan(wire.attribute(9, 'k', wire.nested(9))),
    wire.group(wire.resource(fill(wire.attribute(1, 'k'))), wire.scope(wire.span(1))),
    // A span of 200 bytes for each of many traces, under a resource of 16 kB.
    wire.group(
      wire.resource(wire.attribute(1, 'k', wire.value('x'.repeat(16_000)))),
      wire.scope(...Array.from({ length: 4_000 }, (_, n) => wire.span(n + 1))),
    ),
    fill(Buffer.from([0xf8, 0x01, 0x00])),
  ]
}

test('a flood of bombs is refused for good, holds nobody up and costs no memory', async (t) => {
  const url = await receiving(t, () => {}, {})
  const zipped = bombs().map((bomb) => gzipSync(bomb))
  const delay = monitorEventLoopDelay({ resolution: 5 })
  let most = 0
  const looking = setInterval(() => (most = Math.max(most, process.memoryUsage().rss)), 20)
  const before = process.memoryUsage().rss
  delay.enable()
  const gzip = { ...protobuf, 'content-encoding': 'gzip' }
  const post = (one: Buffer): Promise<string> =>
    refusal(url, { method: 'POST', headers: gzip, body: one })
  const answers = await Promise.all([...zipped, ...zipped, ...zipped].map(post))
  delay.disable()
  clearInterval(looking)
  for (const answer of answers) assert.match(answer, /^(400|413) /)
  const [longestMs, grownMb] = [delay.max / 1e6, (most - before) / 1024 ** 2]
  t.diagnostic(`longest ${longestMs.toFixed(0)} ms, ${grownMb.toFixed(0)} MB more`)
  // What it takes on a machine of its own is below 50 ms.
  assert.ok(longestMs < 400, `the event loop stood still for ${longestMs} ms`)
  assert.ok(grownMb < 150, `${grownMb} MB more`)
})

test('beyond what can be taken at once, a sender is asked to come again', async (t) => {
  const post = (url: string): Promise<Response> =>
    fetch(url, { method: 'POST', body, headers: protobuf })
  for (const limits of [{ postsMax: 3 }, { bytesHeldMax: 3 * body.length }]) {
    const go = Promise.withResolvers<void>()
    let taken = 0
    const take = (): Promise<void> => {
      taken += 1
      return go.promise
    }
    const url = await receiving(t, take, limits)
    const waiting = [post(url), post(url), post(url)]
    while (taken < 3) await sleep(5)
    const late = await Promise.race([post(url), sleep(5_000, undefined, { ref: false })])
    t.after(() => Promise.resolve(go.resolve()))
    assert.equal(late?.status, 503)
    assert.equal(late.headers.get('retry-after'), '1')
    assert.match(messageOf(await late.bytes()), /more spans than can be taken at once/)
    go.resolve()
    for (const response of await Promise.all(waiting)) assert.equal(response.status, 200)
    assert.equal((await post(url)).status, 200)
  }
})

type Test = { after(run: () => Promise<void>): void }

async function receiving(
  t: Test,
  onSpans: (request: ExportTraceServiceRequest) => void | Promise<void>,
  limits: Partial<ReceiverLimits> = { bodyBytesMax: 1_000_000 },
): Promise<string> {
  const receiver = await receiveRequests('127.0.0.1:0', onSpans, limits)
  t.after(() => receiver.close())
  return `${receiver.address}/v1/traces`
}

async function refusal(url: string, init: RequestInit): Promise<string> {
  const response = await fetch(url, init)
  return `${response.status} ${messageOf(await response.bytes())}`
}

function bytesOf(request: ExportTraceServiceRequest): Buffer {
  return Buffer.from(toBinary(ExportTraceServiceRequestSchema, request))
}

function messageOf(bytes: Uint8Array): string {
  return fromBinary(StatusSchema, bytes).message
}
