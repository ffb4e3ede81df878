// Defects of kafkajs, end to end: what the original does, and that what we build on it does not. Where each is shown:
// K1  a record lost on a retry             here: the leader moves
// K2  concurrent sends spoil each other    here: a lost reply; client.test: concurrent calls keep their order
// K3  a write still under way after an error   here: one broker refuses; faults/proxy.test: a Produce that arrives late
// K4  EndTxn sent once, stuck afterwards   here: a lost EndTxn; faults/proxy.test: each request is lost once
// K5  aborted records shown                here: overlapping; patches.test: P2
// K6  a key that looks like a marker       here: overlapping; patches.test: P2
// K10 a timer while idle                   patches.test: P1
// K11 quadratic grouping                   patches.test: P3
// K12 one batch per partition, any size    here: the largest commit; kafka.test: a commit the broker would refuse
// K13 codecs                               patches.test: snappy, lz4, zstd
// K14 the coordinator is looked up         writer-patches.test: K14
// K15 a consumer that goes silent          watchdog.test
// K17 refused while busy                   writer-patches.test: K17
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { after, before, test } from 'node:test'
import type { Kafka, Producer } from 'kafkajs'
import { javaConsume } from '../../dev/broker.ts'
import { openClient } from '@wellspring/kafka/client.ts'
import { createKafka } from '@wellspring/kafka/connection.ts'
import { kafkajs } from '@wellspring/kafka/patches.ts'
import { openWriter } from '../../coordinator/log/writer.ts'
import { proxiedBroker, type ProxiedBroker } from '../faults/proxied.ts'
import { original as unpatched } from './original.ts'
import { createMember, isLogError, keyOf, record } from '../log/port.suite.ts'
import { twoBrokers, type TwoBrokers } from './two-brokers.ts'
import { kafkaWorld } from '../log/world.ts'

const NOT_LEADER = 6
const MESSAGE_TOO_LARGE = 10

const original = unpatched.kafkajs

let broker: ProxiedBroker
before(async () => {
  broker = await proxiedBroker()
})
const closing: (() => Promise<unknown>)[] = []
after(async () => {
  for (const close of closing.reverse()) await close()
  await broker.close()
})

function originalKafka(brokers: readonly string[], clientId = 'original'): Kafka {
  return new original.Kafka({
    brokers: [...brokers],
    clientId,
    logLevel: original.logLevel.NOTHING,
    retry: { initialRetryTime: 20, maxRetryTime: 100 },
  })
}

/** Partition 1 is led by broker 2, which gives it away as soon as something is written to it. */
async function movingLeader(): Promise<TwoBrokers> {
  const brokers = await twoBrokers()
  closing.push(() => brokers.close())
  brokers.produce = (node, partition) => {
    if (node !== 2) return 0
    brokers.leaders[partition] = 1
    return NOT_LEADER
  }
  return brokers
}

const landedIn = (brokers: TwoBrokers, partition: number): number =>
  brokers.landed.filter((one) => one.partition === partition).length

test('K1: the leader of a partition moves, and its record is written all the same', async () => {
  const lossy = await movingLeader()
  const producer = originalKafka(lossy.addresses).producer()
  closing.push(() => producer.disconnect())
  await producer.connect()
  const messages = [0, 1].map((partition) => ({ value: `to ${partition}`, partition }))
  await producer.send({ topic: 'images.v1', messages })
  assert.equal(landedIn(lossy, 1), 0, 'the original has lost it, and said nothing')

  const brokers = await movingLeader()
  const client = openClient({ brokers: brokers.addresses, topicPrefix: '' })
  closing.push(() => client.close())
  await client.produce(
    [0, 1].map((partition) => ({
      topic: 'images.v1',
      key: 'k',
      value: Buffer.from(`to ${partition}`),
      headers: {},
      partition,
    })),
  )
  assert.equal(landedIn(brokers, 1), 1)
})

test('K1: in a transaction the leader moves, and nothing is sent again or committed', async () => {
  const brokers = await movingLeader()
  const options = { topicPrefix: '', transactionalId: 'task' }
  const writer = await openWriter(createKafka({ brokers: brokers.addresses }), options)
  await assert.rejects(writer.commit([record(0, 'a'), record(1, 'b')]), isLogError('unknown'))
  assert.equal(brokers.requests.filter((one) => one === 'Produce').length, 2)
  assert.ok(!brokers.requests.includes('EndTxn'))
  await writer.close()
  const next = await openWriter(createKafka({ brokers: brokers.addresses }), options)
  await next.commit([record(0, 'a'), record(1, 'b')])
  assert.equal(landedIn(brokers, 1), 1)
  assert.equal(brokers.requests.at(-1), 'EndTxn')
  await next.close()
})

test('K3: one broker refuses while the other still writes: the writer is done for', async () => {
  const brokers = await twoBrokers()
  closing.push(() => brokers.close())
  const slow = Promise.withResolvers<number>()
  brokers.produce = (node) => (node === 1 ? slow.promise : MESSAGE_TOO_LARGE)
  const options = { topicPrefix: '', transactionalId: 'task' }
  const kafka = createKafka({ brokers: brokers.addresses })
  const writer = await openWriter(kafka, options)
  await assert.rejects(writer.commit([record(0, 'a'), record(1, 'b')]), isLogError('unknown'))
  assert.deepEqual(brokers.landed, [], 'the slow one is still under way')
  await assert.rejects(writer.commit([record(0, 'c')]), isLogError('fatal'))
  slow.resolve(0)
  await writer.close()
  const sent = brokers.requests.length
  brokers.produce = () => 0
  const next = await openWriter(kafka, options)
  assert.deepEqual(brokers.requests.slice(sent), ['InitProducerId'])
  await next.close()
})

test('K2: two sends at once and a lost reply: the original loses one, ours never has two under way', async () => {
  const world = await kafkaWorld(1, broker.direct)
  const topic = `${world.options.topicPrefix}images.v1`
  const producer = originalKafka(broker.brokers, 'two-sends').producer({ idempotent: true })
  closing.push(() => producer.disconnect())
  await producer.connect()
  const send = (value: string): Promise<unknown> =>
    producer.send({ topic, messages: [{ value, partition: 0 }] })
  const lost = broker.proxy.lose({
    api: 'Produce',
    lost: 'response',
    connection: 'cut',
    client: 'two-sends',
  })
  await Promise.all([send('first'), send('second')])
  await lost.happened
  const values: string[] = []
  for await (const one of world.client.readAll('images.v1')) values.push(String(one.value))
  assert.equal(values.length, 2)
  assert.equal(values[0], values[1], 'the original sends one twice and loses the other')

  const log = await world.open('one-at-a-time')
  const writer = await log.fence(0)
  const first = writer.commit([record(0, 'first')])
  await assert.rejects(writer.commit([record(0, 'second')]), isLogError('fatal'))
  await first
  assert.deepEqual((await world.committed('state.v1')).map(keyOf), ['first'])
  await writer.close()

  const client = openClient({ ...world.options, brokers: broker.brokers, clientId: 'tool' })
  closing.push(() => client.close())
  const again = broker.proxy.lose({
    api: 'Produce',
    lost: 'response',
    connection: 'cut',
    client: 'tool',
  })
  const commands = ['one', 'two'].map((key) => ({
    topic: 'commands.v1' as const,
    key,
    value: Buffer.from(key),
    headers: {},
  }))
  await Promise.all(commands.map((one) => client.produce([one])))
  await again.happened
  const keys: string[] = []
  for await (const one of client.readAll('commands.v1')) keys.push(keyOf(one))
  assert.deepEqual(keys, ['one', 'one', 'two'], 'at least once, in order, outside transactions')
})

test('K4: after a lost EndTxn the original is stuck for good; a new writer goes on', async () => {
  const world = await kafkaWorld(1, broker.brokers)
  const lose = (client: string): Promise<unknown> =>
    broker.proxy.lose({ api: 'EndTxn', lost: 'response', connection: 'cut', client }).happened
  const producer = originalKafka(broker.brokers, 'stuck').producer({
    transactionalId: randomUUID(),
    maxInFlightRequests: 1,
  })
  closing.push(() => producer.disconnect())
  await producer.connect()
  const transaction = await producer.transaction()
  await transaction.send({
    topic: `${world.options.topicPrefix}results.v1`,
    messages: [{ value: 'x' }],
  })
  const happened = lose('stuck')
  await assert.rejects(transaction.commit())
  await happened
  await assert.rejects(transaction.abort())
  await assert.rejects(producer.transaction())

  const log = await world.open('goes-on')
  const writer = await log.fence(0)
  const ours = lose('goes-on')
  await assert.rejects(writer.commit([record(0, 'a')]), isLogError('unknown'))
  await ours
  await assert.rejects(writer.commit([record(0, 'b')]), isLogError('fatal'))
  await writer.close()
  const next = await log.fence(0)
  await next.commit([record(0, 'c')])
  assert.deepEqual((await world.committed('state.v1')).map(keyOf), ['a', 'c'])
  await next.close()
})

test('K5, K6: overlapping aborted transactions, one with a key like an abort marker, stay hidden', async () => {
  const world = await kafkaWorld(1, broker.direct)
  const topic = `${world.options.topicPrefix}images.v1`
  const open = async (): Promise<Producer> => {
    const producer = createKafka({ brokers: broker.direct }).producer({
      transactionalId: randomUUID(),
      maxInFlightRequests: 1,
      createPartitioner: kafkajs.Partitioners.DefaultPartitioner,
    })
    closing.push(() => producer.disconnect())
    await producer.connect()
    return producer
  }
  const [a, b, c] = [await open(), await open(), await open()]
  const [of, ofB, ofC] = [await a.transaction(), await b.transaction(), await c.transaction()]
  const message = (value: string, key: string | Buffer = 'k') => ({
    topic,
    messages: [{ key, value, partition: 0 }],
  })
  await of.send(message('aborted 1'))
  await ofB.send(message('aborted 2'))
  await of.send(message('aborted 3'))
  await ofB.abort()
  await of.send(message('aborted 4'))
  await of.abort()
  await ofC.send(message('aborted 5', Buffer.from([0, 0, 0, 0])))
  await ofC.send(message('aborted 6'))
  await ofC.abort()
  const last = await a.transaction()
  await last.send(message('committed'))
  await last.commit()

  const consumer = originalKafka(broker.direct).consumer({
    groupId: randomUUID(),
    maxWaitTimeInMs: 100,
  })
  closing.push(() => consumer.disconnect())
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  const leaked: string[] = []
  const done = Promise.withResolvers<void>()
  await consumer.run({
    eachMessage: async ({ message: { value } }) => {
      leaked.push(String(value))
      if (String(value) === 'committed') done.resolve()
    },
  })
  await done.promise
  assert.ok(
    leaked.some((one) => one === 'aborted 6'),
    `K6: the original shows ${String(leaked)}`,
  )
  assert.ok(
    leaked.some((one) => /aborted [1-4]/.test(one)),
    `K5: it shows ${String(leaked)}`,
  )

  const log = await world.open('reader')
  const member = createMember(log, new Map([[0, { 'images.v1': 0, 'commands.v1': 0 }]]))
  await log.join(member.listener)
  await member.until(() => member.delivered.includes('committed'))
  assert.deepEqual(member.delivered, ['committed'])
  const read: string[] = []
  for await (const one of world.client.readAll('images.v1')) read.push(String(one.value))
  assert.deepEqual(read, ['committed'])
  const judged = await javaConsume({ brokers: broker.direct, topic, recordsMax: 1 })
  assert.deepEqual(
    judged.map((one) => String(one.value)),
    ['committed'],
  )
})

test('K12: the broker refuses what the original makes of a large send; our largest commit it takes', async () => {
  const world = await kafkaWorld(1, broker.direct)
  const topic = `${world.options.topicPrefix}state.v1`
  const producer = originalKafka(broker.direct).producer()
  closing.push(() => producer.disconnect())
  await producer.connect()
  const messages = Array.from({ length: 5 }, () => ({ value: Buffer.alloc(240_000), partition: 0 }))
  await assert.rejects(producer.send({ topic, messages }), /larger than the max message size/)
  const log = await world.open('large')
  const writer = await log.fence(0)
  const sizes = [262_000, 262_000, 262_000, 113_000]
  await writer.commit(
    sizes.map((bytes, at) => ({ ...record(0, `${at}`), value: Buffer.alloc(bytes) })),
  )
  assert.equal((await world.committed('state.v1')).length, sizes.length)
  await writer.close()
})
