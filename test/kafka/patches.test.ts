// Each test shows the fault in the original kafkajs first, then that the patched one has it not.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { after, test } from 'node:test'
import type { Kafka } from 'kafkajs'
import { brokerForTests } from '../../dev/broker.ts'
import { fetchJars, findJava } from '../../dev/broker/java.ts'
import { PartitionBatch, recordsOf } from '@wellspring/kafka/fetched.ts'
import { memberships, reports, type Kafkajs, type Modules } from '@wellspring/kafka/patches.ts'
import { batchBytes, cursorOver } from './batches.ts'
import { client, newTopic } from './clients.ts'
import { original, patched } from './original.ts'

type Aborted = readonly { readonly producerId: string; readonly firstOffset: string }[]

const written = (offset: number, producerId: number, key: string | Buffer = 'k'): Buffer =>
  batchBytes([{ key }], { firstOffset: offset, producerId, flags: 16 })

const marker = (offset: number, producerId: number, type: 0 | 1): Buffer =>
  batchBytes([{ key: Buffer.from([0, 0, 0, type]) }], {
    firstOffset: offset,
    producerId,
    flags: 48,
  })

/** Offsets of the records that a consumer shows. */
async function shown(modules: Modules, set: Buffer, aborted: Aborted): Promise<number[]> {
  type Decode = (cursor: object) => Promise<readonly object[]>
  type OfPartition = { readonly messages: readonly { readonly offset: string }[] }
  const Decoder = modules.load<new (bytes: Buffer) => object>('protocol/decoder')
  const decode = modules.load<Decode>('protocol/requests/fetch/v4/decodeMessages')
  const Batch =
    modules.load<new (topic: string, from: string, data: object) => OfPartition>('consumer/batch')
  const batch = new Batch('t', '0', {
    partition: 0,
    highWatermark: '100',
    abortedTransactions: aborted,
    messages: await decode(new Decoder(cursorOver(set).buffer)),
  })
  if (!(batch instanceof PartitionBatch)) return batch.messages.map(({ offset }) => Number(offset))
  return [...recordsOf(batch, 'images.v1', () => assert.fail())].map(({ offset }) => offset)
}

test('P2: overlapping aborted transactions stay hidden', async () => {
  // The second begins later and aborts first: the broker lists it first.
  const set = Buffer.concat([
    written(0, 1),
    written(1, 2),
    written(2, 1),
    marker(3, 2, 0),
    written(4, 1),
    marker(5, 1, 0),
    written(6, 1),
  ])
  const aborted = [
    { producerId: '2', firstOffset: '1' },
    { producerId: '1', firstOffset: '0' },
  ]
  assert.notDeepEqual(await shown(original.modules, set, aborted), [6])
  assert.deepEqual(await shown(patched.modules, set, aborted), [6])
})

test('P2: a fetch that starts inside two aborted transactions, and a key that looks like an abort marker', async () => {
  const set = Buffer.concat([
    written(10, 1),
    written(11, 2),
    written(12, 2, Buffer.from([0, 0, 0, 0])),
    written(13, 2),
    marker(14, 1, 0),
    marker(15, 2, 0),
    written(16, 2),
  ])
  const aborted = [
    { producerId: '1', firstOffset: '2' },
    { producerId: '2', firstOffset: '3' },
  ]
  assert.notDeepEqual(await shown(original.modules, set, aborted), [16])
  assert.deepEqual(await shown(patched.modules, set, aborted), [16])
})

test('P3: 20,000 messages are grouped in linear time', () => {
  type Group = (request: object) => Record<number, unknown[]>
  const messages = Array.from({ length: 20_000 }, (_, index) => ({ index, value: 'v' }))
  const request = { topic: 't', partitionMetadata: [{}], messages, partitioner: () => 3 }
  const timed = (modules: Modules): { groups: Record<number, unknown[]>; ms: number } => {
    const group = modules.load<Group>('producer/groupMessagesPerPartition')
    const start = performance.now()
    return { groups: group(request), ms: performance.now() - start }
  }
  const slow = timed(original.modules)
  const quick = timed(patched.modules)
  assert.deepEqual(quick.groups, slow.groups)
  assert.ok(quick.ms * 10 < slow.ms, `patched ${quick.ms} ms, original ${slow.ms} ms`)
})

test('P1: an idle queue arms no timer', () => {
  const armed = (modules: Modules): boolean => {
    type Queue = {
      throttleCheckTimeoutId: unknown
      scheduleCheckPendingRequests(): void
      destroy(): void
    }
    const RequestQueue = modules.load<new (options: object) => Queue>('network/requestQueue')
    const queue = new RequestQueue({
      maxInFlightRequests: 1,
      requestTimeout: 1000,
      clientId: '',
      broker: '',
    })
    queue.scheduleCheckPendingRequests()
    const result = queue.throttleCheckTimeoutId !== null
    queue.destroy()
    return result
  }
  assert.equal(armed(original.modules), true)
  assert.equal(armed(patched.modules), false)
})

test('codes 89 to 92 have names', () => {
  type ErrorOf = { createErrorFromCode(code: number): { type: string; code: number } }
  const names = (modules: Modules): string[] =>
    [89, 90, 91, 92].map(
      (code) => modules.load<ErrorOf>('protocol/error').createErrorFromCode(code).type,
    )
  assert.deepEqual(new Set(names(original.modules)), new Set(['KAFKAJS_UNKNOWN_ERROR_CODE']))
  assert.deepEqual(names(patched.modules), [
    'THROTTLING_QUOTA_EXCEEDED',
    'PRODUCER_FENCED',
    'RESOURCE_NOT_FOUND',
    'DUPLICATE_RESOURCE',
  ])
})

// --- on the broker ---

const closing: (() => Promise<unknown>)[] = []
after(async () => {
  for (const close of closing.reverse()) await close()
})

for (const codec of ['snappy', 'lz4', 'zstd'] as const) {
  test(`${codec}: what the Java producer compressed is read`, async () => {
    const topic = await newTopic()
    const value = 'well B07 '.repeat(5000)
    await javaProduce(topic, codec, `${value}\n`)
    const read = async (client_: Kafka, groupId: string): Promise<string> => {
      const consumer = client_.consumer({ groupId, maxWaitTimeInMs: 100, retry: { retries: 0 } })
      closing.push(() => consumer.disconnect())
      await consumer.connect()
      await consumer.subscribe({ topic, fromBeginning: true })
      const seen = Promise.withResolvers<string>()
      consumer.on('consumer.crash', ({ payload }) => seen.reject(payload.error))
      await consumer.run({
        eachBatch: async ({ batch }) => {
          for (const { value: found } of recordsOf(batch, 'images.v1', () => assert.fail()))
            seen.resolve(String(found))
        },
      })
      return seen.promise
    }
    await assert.rejects(
      read(client(original.kafkajs), `${topic}-a`),
      /compression not implemented/,
    )
    assert.equal(await read(client(patched.kafkajs), `${topic}-b`), value)
  })
}

async function javaProduce(topic: string, codec: string, lines: string): Promise<void> {
  const main = 'org.apache.kafka.tools.ConsoleProducer'
  const { brokers } = await brokerForTests()
  const server = ['--bootstrap-server', brokers.join(','), '--topic', topic]
  const args = ['-cp', await fetchJars('judge-libs'), main, ...server, '--compression-codec', codec]
  const child = spawn(await findJava(), args, { stdio: ['pipe', 'ignore', 'inherit'] })
  child.stdin.end(lines)
  const [code] = await once(child, 'exit')
  assert.equal(code, 0)
}

/** What waits for a report would wait for ever without it. */
const REPORTED = { timeout: 40_000 }

test(
  'a member knows its generation and when its confirmed heartbeats were sent',
  REPORTED,
  async () => {
    const topic = await newTopic()
    const join = async (kafkajs: Kafkajs): Promise<{ memberId: string; stop(): Promise<void> }> => {
      const consumer = client(kafkajs).consumer({
        groupId: topic,
        maxWaitTimeInMs: 50,
        heartbeatInterval: 100,
        sessionTimeout: 6000,
      })
      closing.push(() => consumer.disconnect())
      await consumer.connect()
      await consumer.subscribe({ topic })
      const joined = Promise.withResolvers<string>()
      consumer.on('consumer.group_join', ({ payload }) => joined.resolve(payload.memberId))
      await consumer.run({ autoCommit: false, eachMessage: async () => {} })
      return { memberId: await joined.promise, stop: () => consumer.disconnect() }
    }
    const unpatched = await join(original.kafkajs)
    assert.equal(memberships.get(unpatched.memberId), undefined)
    await unpatched.stop()
    const startMs = performance.now()
    const member = await join(patched.kafkajs)
    assert.equal(memberships.get(member.memberId)?.generation, 3) // joined, left, joined
    assert.ok(Buffer.isBuffer(memberships.get(member.memberId)?.assignment))
    const sentAtMs = await new Promise<number>((resolve) =>
      reports.on('heartbeat', (memberId, atMs) => memberId === member.memberId && resolve(atMs)),
    )
    assert.ok(sentAtMs > startMs && sentAtMs <= performance.now())
    await member.stop()
  },
)

test(
  'an offset out of range pauses the partition and is reported, where kafkajs jumps and commits',
  REPORTED,
  async () => {
    const topic = await newTopic()
    const producer = client(patched.kafkajs).producer({
      createPartitioner: patched.kafkajs.Partitioners.DefaultPartitioner,
    })
    await producer.connect()
    await producer.send({ topic, messages: [{ value: 'a' }, { value: 'b' }] })
    await producer.disconnect()
    const run = async (
      kafkajs: Kafkajs,
      groupId: string,
    ): Promise<{ delivered: Promise<string>; memberId: string }> => {
      const consumer = client(kafkajs).consumer({ groupId, maxWaitTimeInMs: 50 })
      closing.push(() => consumer.disconnect())
      await consumer.connect()
      await consumer.subscribe({ topic, fromBeginning: true })
      const delivered = Promise.withResolvers<string>()
      const joined = Promise.withResolvers<string>()
      consumer.on('consumer.group_join', ({ payload }) => {
        consumer.seek({ topic, partition: 0, offset: '500' })
        joined.resolve(payload.memberId)
      })
      await consumer.run({
        autoCommit: false,
        eachMessage: async ({ message: one }) => delivered.resolve(one.offset),
      })
      return { delivered: delivered.promise, memberId: await joined.promise }
    }
    assert.equal(await (await run(original.kafkajs, `${topic}-a`)).delivered, '0')
    const reported = new Promise((resolve) =>
      reports.on('outOfRange', (...report) => resolve(report)),
    )
    const { memberId } = await run(patched.kafkajs, `${topic}-b`)
    assert.deepEqual(await reported, [memberId, topic, 0])
  },
)
