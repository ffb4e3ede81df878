import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { toBinary } from '@bufbuild/protobuf'
import {
  ExportTraceServiceRequestSchema,
  type ExportTraceServiceRequest,
} from '#proto/opentelemetry/proto/collector/trace/v1/trace_service_pb.ts'
import { exportRequest } from '../../coordinator/trace/build.ts'
import { openForwarder, tracesUrl } from '../../coordinator/trace/forward.ts'
import { entitySpans, tracedOf } from '../../coordinator/trace/spans.ts'
import { exampleTask, plateKey } from '../control/plate.ts'
import { receiveRequests } from './received.ts'

const found = tracedOf(exampleTask(), `${plateKey}/B07/t0/s1/z0/DNA`)
assert.ok(found)
const request = exportRequest('test', entitySpans(found))
const spansEach = 7
const never = (): void => assert.fail('nothing is dropped')

test('all that is offered arrives, in order, merged into batches', async (t) => {
  const posts: ExportTraceServiceRequest[] = []
  const receiver = await receiveRequests('127.0.0.1:0', (post) => void posts.push(post))
  t.after(() => receiver.close())
  const forwarder = openForwarder({ endpoint: receiver.address, onDropped: never })
  for (let number = 0; number < 20; number++) assert.ok(forwarder.offer(request))
  await forwarder.close()
  assert.deepEqual(forwarder.stats(), { sent: 20 * spansEach, dropped: 0, queuedBytes: 0 })
  assert.equal(posts.length, 2, 'the first alone, the others while it was under way')
  const bytes = Buffer.from(toBinary(ExportTraceServiceRequestSchema, request))
  assert.deepEqual(
    Buffer.concat(posts.map((post) => toBinary(ExportTraceServiceRequestSchema, post))),
    Buffer.concat(Array<Buffer>(20).fill(bytes)),
  )
})

test('429, 502, 503 and 504 are tried again until they pass', async (t) => {
  const backend = await answering(t, [429, 502, 503, 504, 200])
  const options = { endpoint: backend.address, onDropped: never, backoffInitialMs: 1 }
  const forwarder = openForwarder(options)
  forwarder.offer(request)
  await forwarder.close()
  assert.equal(backend.posts(), 5)
  assert.equal(forwarder.stats().sent, spansEach)
})

test('any other refusal is dropped at once, counted and told', async (t) => {
  const backend = await answering(t, [400])
  const told: string[] = []
  const onDropped = (why: string, spans: number): void => void told.push(`${why}: ${spans}`)
  const forwarder = openForwarder({ endpoint: backend.address, onDropped })
  forwarder.offer(request)
  await forwarder.close()
  assert.deepEqual(told, [`${backend.address}/v1/traces answered 400: ${spansEach}`])
  assert.deepEqual(forwarder.stats(), { sent: 0, dropped: spansEach, queuedBytes: 0 })
})

test('a backend that is away costs bounded attempts and a bounded queue', async (t) => {
  const backend = await answering(t, [])
  await backend.stop()
  const told: string[] = []
  const forwarder = openForwarder({
    endpoint: backend.address,
    onDropped: (why) => void told.push(why),
    attemptsMax: 2,
    backoffInitialMs: 1,
    queueBytesMax: 6_000,
  })
  const taken = Array.from({ length: 5 }, () => forwarder.offer(request))
  assert.deepEqual(taken, [true, true, false, false, false])
  await forwarder.close()
  assert.equal(forwarder.stats().dropped, 5 * spansEach)
  assert.equal(told[0], 'queue full (6000 bytes)')
  assert.match(told[1] ?? '', /ECONNREFUSED.*\(2 attempts\)/)
  assert.equal(told.length, 3, 'an overflow is told once, not per offer')
})

test('an endpoint is a URL, with or without a path', () => {
  assert.equal(tracesUrl('http://host:4318').href, 'http://host:4318/v1/traces')
  assert.equal(tracesUrl('https://host/otlp/').href, 'https://host/otlp/v1/traces')
  assert.throws(() => tracesUrl('host:4318'), /OTEL_EXPORTER_OTLP_ENDPOINT "host:4318" is no URL/)
})

type Backend = { address: string; posts(): number; stop(): Promise<void> }

/** A backend that answers with these statuses, one after the other. */
async function answering(
  t: { after(run: () => Promise<void>): void },
  statuses: readonly number[],
): Promise<Backend> {
  let posts = 0
  const server = createServer((incoming, response) => {
    incoming.resume()
    incoming.on('end', () => response.writeHead(statuses[posts++] ?? 500).end())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const stop = async (): Promise<void> => {
    if (!server.listening) return
    server.close()
    server.closeAllConnections()
    await once(server, 'close')
  }
  const { port } = server.address() as AddressInfo
  t.after(stop)
  return { address: `http://127.0.0.1:${port}`, posts: () => posts, stop }
}
