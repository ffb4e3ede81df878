// Batches on a real broker that are compressed, damaged on their way, or bombs: what the group and the readers make of them.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import type { Input, Unreadable } from '@wellspring/kafka/records.ts'
import type { InputTopic, OutputTopic } from '@wellspring/kafka/topic-names.ts'
import type { TopicName } from '@wellspring/kafka/fetch.ts'
import { codecOf } from '@wellspring/kafka/record-decoder.ts'
import { codecs, plainBatch, type RawBatch } from '../faults/batch.ts'
import { bombBatch } from '../faults/bombs.ts'
import { proxiedBroker, type ProxiedBroker } from '../faults/proxied.ts'
import { produceBatch } from '../faults/raw.ts'
import { createMember } from '../log/port.suite.ts'
import { kafkaWorld, type KafkaWorld } from '../log/world.ts'

const start = { 'images.v1': 0, 'commands.v1': 0 }
/** Compacted topics take none without. */
const key = Buffer.from('k')
const plain = (...values: string[]): RawBatch =>
  plainBatch(values.map((value) => ({ key, value: Buffer.from(value), headers: [] })))
const bomb = () => bombBatch('zstd', { key, headers: [] })

let broker: ProxiedBroker
before(async () => {
  broker = await proxiedBroker()
})
after(() => broker.close())

async function write(world: KafkaWorld, topic: TopicName, batch: RawBatch): Promise<number> {
  const place = { topic: world.options.topicPrefix + topic, partition: 0 }
  const { code, offset } = await produceBatch(broker.direct, place, batch)
  assert.equal(code, 0)
  return offset
}

/** What a task of one member is handed. */
async function listening(world: KafkaWorld, topic: InputTopic = 'images.v1') {
  const log = await world.open('a')
  const member = createMember(log, new Map([[0, start]]))
  const inputs: Input[] = []
  member.listener.records = (_, more) => {
    inputs.push(...more.filter((one) => one.topic === topic))
    member.changes.dispatchEvent(new Event('change'))
  }
  await log.join(member.listener)
  return { inputs, until: (count: number) => member.until(() => inputs.length >= count) }
}

const told = (input: Input | undefined): string => {
  assert.ok(input)
  const what = 'reason' in input ? input.reason : 'batch' in input ? 'batch' : 'record'
  return `${input.offset}-${'last' in input ? input.last : input.offset} ${what}`
}

test('a compressed batch is handed over as it is: who takes it in opens it, under its guard', async () => {
  const world = await kafkaWorld(1, broker.brokers)
  const { packed, ...rest } = plain('a', 'b', 'c')
  await write(world, 'images.v1', { ...rest, codec: codecs.gzip, packed: gzipSync(packed) })
  const { inputs, until } = await listening(world)
  await until(1)
  const [batch] = inputs
  assert.equal(told(batch), '0-2 batch')
  assert.ok(batch && 'batch' in batch)
  assert.equal(codecOf(batch.batch), codecs.gzip)
  assert.equal(batch.batch.buffer.byteLength, batch.batch.length, 'it keeps nothing else alive')
})

test('a batch that was damaged on its way is fetched again, and handed over whole', async () => {
  const world = await kafkaWorld(1, broker.brokers)
  await write(world, 'images.v1', plain('before'))
  await write(world, 'images.v1', plain('spoilt once'))
  await write(world, 'images.v1', plain('behind'))
  const times = broker.proxy.spoil(Buffer.from('spoilt once'), 1)
  const { inputs, until } = await listening(world)
  await until(3)
  assert.equal(times(), 1)
  assert.deepEqual(inputs.map(told), ['0-0 batch', '1-1 batch', '2-2 batch'])
})

test('one that comes damaged each time is told so, and what is behind it is handed over', async () => {
  const world = await kafkaWorld(1, broker.brokers)
  await write(world, 'images.v1', plain('before'))
  await write(world, 'images.v1', plain('spoilt for ever', 'and what came with it'))
  await write(world, 'images.v1', plain('behind'))
  broker.proxy.spoil(Buffer.from('spoilt for ever'), Infinity)
  const { inputs, until } = await listening(world)
  await until(3)
  assert.deepEqual(inputs.map(told), ['0-0 batch', '1-2 DAMAGED', '3-3 batch'])
})

test('a reader reads anew what was damaged, and passes what stays so', async () => {
  const world = await kafkaWorld(1, broker.brokers)
  await write(world, 'results.v1', plain('result one'))
  await write(world, 'results.v1', plain('result two'))
  await write(world, 'results.v1', plain('result three'))
  broker.proxy.spoil(Buffer.from('result one'), 1)
  broker.proxy.spoil(Buffer.from('result two'), Infinity)
  const found: string[] = []
  const odd = (one: Unreadable): void => void found.push(`${one.offset}-${one.last} ${one.reason}`)
  for await (const { value } of world.client.readAll('results.v1', odd)) found.push(String(value))
  assert.deepEqual(found, ['result one', '1-1 DAMAGED', 'result three'])
})

test('a follower passes a bomb', async () => {
  const world = await kafkaWorld(1, broker.brokers)
  for (const batch of [plain('a'), await bomb(), plain('b')]) await write(world, 'status.v1', batch)
  const ending = new AbortController()
  const found: string[] = []
  const onUnreadable = ({ reason }: Unreadable): void => void found.push(reason)
  const options = { from: 'start', signal: ending.signal, onUnreadable } as const
  for await (const { value } of world.client.follow('status.v1', options)) {
    found.push(String(value))
    if (found.length === 3) ending.abort()
  }
  assert.deepEqual(found, ['a', 'BATCH_TOO_LARGE', 'b'])
})

test('state that cannot be read is named, and not read again without end; a command is passed', async () => {
  const world = await kafkaWorld(1, broker.brokers)
  const log = await world.open('reads')
  const written: readonly (OutputTopic | InputTopic)[] = ['state.v1', 'commands.v1']
  for (const topic of written) {
    await write(world, topic, plain('a'))
    await write(world, topic, await bomb())
    await write(world, topic, plain('b'))
  }
  const state: string[] = []
  await assert.rejects(
    log.readState(0, 0, ({ value }) => state.push(String(value)) < 0),
    /^TaskTrouble: state.v1 cannot be read: state.v1\/0 at 1: \d+ bytes of zstd become more than 16777216$/,
  )
  assert.deepEqual(state, ['a'])
  const commands: string[] = []
  await log.readCommands(0, 0, ({ value }) => void commands.push(String(value)))
  assert.deepEqual(commands, ['a', 'b'])
})
