// Each test shows the fault in the original kafkajs first, then that the patched one has it not.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { after, test } from 'node:test'
import type { Kafka } from 'kafkajs'
import { brokerForTests } from '../../dev/broker.ts'
import { fetchJars, findJava } from '../../dev/broker/java.ts'
import type { AbortedTransaction, Message } from '../../coordinator/log/patched.ts'
import { memberships, reports } from '../../coordinator/log/patches.ts'
import type { Kafkajs, Modules } from '../../coordinator/log/patches.ts'
import { client, newTopic } from './clients.ts'
import { original, patched } from './original.ts'

type Filter = (fetched: {
  messages: Message[]
  abortedTransactions: AbortedTransaction[]
}) => Message[]

function message(offset: number, producerId: string, key = 'k'): Message {
  return {
    offset: String(offset),
    key: Buffer.from(key),
    isControlRecord: false,
    batchContext: { producerId, inTransaction: true },
  }
}

function marker(offset: number, producerId: string, type: 0 | 1): Message {
  return {
    ...message(offset, producerId),
    key: Buffer.from([0, 0, 0, type]),
    isControlRecord: true,
  }
}

const dataOffsets = (messages: Message[]): number[] =>
  messages.filter((one) => one.isControlRecord !== true).map((one) => Number(one.offset))

test('P2: overlapping aborted transactions stay hidden', () => {
  // B begins second and aborts first: the broker lists it first.
  const fetched = {
    messages: [
      message(0, 'A'),
      message(1, 'B'),
      message(2, 'A'),
      marker(3, 'B', 0),
      message(4, 'A'),
      marker(5, 'A', 0),
      message(6, 'A'),
    ],
    abortedTransactions: [
      { producerId: 'B', firstOffset: '1' },
      { producerId: 'A', firstOffset: '0' },
    ],
  }
  const filter = (modules: Modules): Filter =>
    modules.load<Filter>('consumer/filterAbortedMessages')
  assert.notDeepEqual(dataOffsets(filter(original.modules)(fetched)), [6])
  assert.deepEqual(dataOffsets(filter(patched.modules)(fetched)), [6])
})

test('P2: a fetch that starts inside two aborted transactions, and a key that looks like an abort marker', () => {
  const zeros = { ...message(12, 'B'), key: Buffer.from([0, 0, 0, 0]) }
  const fetched = {
    messages: [
      message(10, 'A'),
      message(11, 'B'),
      zeros,
      message(13, 'B'),
      marker(14, 'A', 0),
      marker(15, 'B', 0),
      message(16, 'B'),
    ],
    abortedTransactions: [
      { producerId: 'A', firstOffset: '2' },
      { producerId: 'B', firstOffset: '3' },
    ],
  }
  assert.notDeepEqual(
    dataOffsets(original.modules.load<Filter>('consumer/filterAbortedMessages')(fetched)),
    [16],
  )
  assert.deepEqual(
    dataOffsets(patched.modules.load<Filter>('consumer/filterAbortedMessages')(fetched)),
    [16],
  )
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
        eachMessage: async ({ message: one }) => seen.resolve(String(one.value)),
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
