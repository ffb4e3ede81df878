import assert from 'node:assert/strict'
import { once } from 'node:events'
import { request as httpRequest } from 'node:http'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { fromBinary, toBinary } from '@bufbuild/protobuf'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto'
import { BasicTracerProvider, BatchSpanProcessor } from '@opentelemetry/sdk-trace-base'
import { StatusSchema } from '#proto/google/rpc/status_pb.ts'
import type { ExportTraceServiceRequest } from '#proto/opentelemetry/proto/collector/trace/v1/trace_service_pb.ts'
import { ExportTraceServiceRequestSchema } from '#proto/opentelemetry/proto/collector/trace/v1/trace_service_pb.ts'
import { exportRequest } from '../../coordinator/trace/build.ts'
import { parseListen } from '../../coordinator/listen.ts'
import { receiveSpans } from '../../coordinator/trace/otlp.ts'
import { entitySpans, tracedOf } from '../../coordinator/trace/spans.ts'
import { exampleTask, plateKey } from '../control/plate.ts'

const found = tracedOf(exampleTask(), `${plateKey}/B07/t0/s1/z0/DNA`)
assert.ok(found)
const spans = exportRequest('test', entitySpans(found))
const body = Buffer.from(toBinary(ExportTraceServiceRequestSchema, spans))
const protobuf = { 'content-type': 'application/x-protobuf' }

test('spans arrive as they were sent, plain and gzip', async (t) => {
  const taken: ExportTraceServiceRequest[] = []
  const url = await receiving(t, (request) => void taken.push(request))
  const plain = await fetch(url, { method: 'POST', body, headers: protobuf })
  const gzip = { ...protobuf, 'content-encoding': 'gzip' }
  const zipped = await fetch(url, { method: 'POST', body: gzipSync(body), headers: gzip })
  assert.deepEqual([plain.status, zipped.status], [200, 200])
  assert.equal(plain.headers.get('content-type'), 'application/x-protobuf')
  assert.deepEqual(taken.map(bytesOf), [body, body])
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
    /^415 .*"br": want gzip/,
  )
  assert.match(await post({ ...protobuf, 'content-encoding': 'gzip' }, body), /^400 .*no gzip/)
  assert.match(await post(protobuf, Buffer.from('nonsense')), /^400 .*ExportTraceServiceRequest/)
  assert.match(await refusal(url, {}), /^405 GET: POST/)
  assert.match(await refusal(url.replace('/v1/traces', '/v1/metrics'), {}), /^404 .*\/v1\/metrics/)
})

test('a body beyond the limit is refused, also one that only gunzips to it or hides its length', async (t) => {
  const url = await receiving(t, () => assert.fail('too large'), 1_000)
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

type Test = { after(run: () => Promise<void>): void }

async function receiving(
  t: Test,
  onSpans: (request: ExportTraceServiceRequest) => void | Promise<void>,
  bodyBytesMax = 1_000_000,
): Promise<string> {
  const receiver = await receiveSpans({ listen: '127.0.0.1:0', onSpans, bodyBytesMax })
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
