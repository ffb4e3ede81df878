// What cannot be read on spans.v1 is passed, counted and told; the spans behind it reach the backend, also those that a
// coordinator had which was killed.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { test } from 'node:test'
import { toBinary } from '@bufbuild/protobuf'
import { ExportTraceServiceRequestSchema } from '#proto/opentelemetry/proto/collector/trace/v1/trace_service_pb.ts'
import { readConfig } from '../../coordinator/config.ts'
import { openSpanRelay } from '../../coordinator/spans.ts'
import { exportRequest } from '../../coordinator/trace/build.ts'
import { entitySpans, tracedOf } from '../../coordinator/trace/spans.ts'
import { exampleTask, plateKey } from '../control/plate.ts'
import { plainBatch, type RawBatch } from '../faults/batch.ts'
import { bombBatch } from '../faults/bombs.ts'
import { produceBatch } from '../faults/raw.ts'
import { kafkaWorld } from '../log/world.ts'
import { receiveRequests } from './received.ts'
import { repeated } from './wire.ts'

const found = tracedOf(exampleTask(), `${plateKey}/B07/t0/s1/z0/DNA`)
assert.ok(found)
const whole = toBinary(ExportTraceServiceRequestSchema, exportRequest('test', entitySpans(found)))

const records = (...values: (Uint8Array | null)[]): RawBatch =>
  plainBatch(
    values.map((value) => ({
      key: null,
      value: value && Buffer.from(value),
      headers: [[Buffer.from('source-system'), null]],
    })),
  )

test('junk, bombs and what has no value on spans.v1 hold nothing up', async (t) => {
  const world = await kafkaWorld(1)
  const got = Promise.withResolvers<number>()
  let posts = 0
  const backend = await receiveRequests('127.0.0.1:0', ({ resourceSpans }) => {
    posts += resourceSpans.length
    if (posts === 2) got.resolve(posts)
  })
  t.after(() => backend.close())
  const said: Readonly<Record<string, unknown>>[] = []
  const relay = await openSpanRelay(
    {
      ...readConfig({ KAFKA_BROKERS: world.options.brokers.join(',') }),
      ...world.options,
      otlpBackend: backend.address,
    },
    world.client,
    (_, message, fields) => void said.push({ message, ...fields }),
  )
  t.after(() => relay.close())
  const place = { topic: `${world.options.topicPrefix}spans.v1`, partition: 0 }
  for (const batch of [
    records(Buffer.from([0xff, 0xff]), null, whole),
    // Messages of two bytes are objects of two hundred.
    records(repeated(Buffer.from([0x0a, 0]), 300_000)),
    await bombBatch('zstd', { key: null, headers: [] }),
    records(whole),
  ])
    assert.equal((await produceBatch(world.options.brokers, place, batch)).code, 0)
  assert.equal(await got.promise, 2)
  const [first, ...others] = said.filter(({ message }) => message === 'passed what cannot be read')
  assert.deepEqual(
    [first?.['last'], first?.['reason'], first?.['passed']],
    ['spans.v1/0 at 0', 'UNDECODABLE', 1],
  )
  assert.deepEqual(others, [], 'no more than once a minute')
})

test('who is killed holds up the spans of the others for no longer than its session and a rebalance', async (t) => {
  const world = await kafkaWorld(1)
  const { brokers, topicPrefix } = world.options
  let got = Promise.withResolvers<void>()
  const backend = await receiveRequests('127.0.0.1:0', () => got.resolve())
  t.after(() => backend.close())
  const environment = { KAFKA_BROKERS: brokers.join(','), WELLSPRING_SESSION_TIMEOUT_MS: '1000' }
  const config = { ...readConfig(environment), ...world.options, otlpBackend: backend.address }
  const place = { topic: `${topicPrefix}spans.v1`, partition: 0 }
  const file = join(import.meta.dirname, 'relay-process.ts')
  const killed = spawn(process.execPath, [
    file,
    JSON.stringify({ ...config, sessionTimeoutMs: 1_000 }),
  ])
  t.after(() => killed.kill('SIGKILL'))
  await once(killed.stdout, 'data')
  await produceBatch(brokers, place, records(whole))
  await got.promise // it reads, so it is a member
  got = Promise.withResolvers()
  killed.kill('SIGKILL')
  await once(killed, 'close')
  const fromMs = performance.now()
  const relay = await openSpanRelay({ ...config, sessionTimeoutMs: 1_000 }, world.client, () => {})
  t.after(() => relay.close())
  await produceBatch(brokers, place, records(whole))
  await got.promise
  const tookMs = performance.now() - fromMs
  assert.ok(tookMs < 20_000, `${Math.round(tookMs)} ms`)
})
