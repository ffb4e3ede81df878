// The suite of the port on a real broker, and what only Kafka does.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { createKafka } from '@wellspring/kafka/connection.ts'
import { openKafkaLog } from '../../coordinator/log/kafka.ts'
import { kafkajs, memberships } from '@wellspring/kafka/patches.ts'
import type { NewRecord } from '@wellspring/kafka/records.ts'
import { LogError } from '@wellspring/kafka/errors.ts'
import { createTopics } from '@wellspring/kafka/topics.ts'
import { deletedSuite } from './deleted.suite.ts'
import { createMember, isLogError, keyOf, logSuite, record } from './port.suite.ts'
import { kafkaWorld } from './world.ts'

logSuite('kafka', kafkaWorld)
deletedSuite('kafka', kafkaWorld)

test('a read of state waits for what lies behind an open transaction', async (t) => {
  const world = await kafkaWorld(1)
  const log = await world.open('a')
  const writer = await log.fence(0)
  await writer.commit([record(0, 'before')])
  await log.readState(0, 0, () => false)
  // As if the predecessor's transaction were still open: it hides what was committed behind it.
  const stranger = createKafka(world.options).producer({
    transactionalId: `${world.options.application}-stranger`,
    createPartitioner: kafkajs.Partitioners.DefaultPartitioner,
    retry: { retries: 0 },
  })
  await stranger.connect()
  t.after(() => Promise.all([stranger.disconnect(), writer.close()]))
  const topic = `${world.options.topicPrefix}state.v1`
  const open = await stranger.transaction()
  await open.send({ topic, messages: [{ key: 'open', value: 'v', partition: 0 }] })
  await writer.commit([record(0, '#owner')])
  const seen: string[] = []
  const reading = log.readState(0, 0, (one) => seen.push(keyOf(one)) < 0 || keyOf(one) === '#owner')
  // By the same connection, so that the read has listed its end when these are answered.
  for (let turn = 0; turn < 5; turn += 1) await log.inputOffsets(0)
  await open.abort()
  await reading
  assert.deepEqual(seen, ['before', '#owner'])
  await Promise.all([log.close(), world.close()])
})

test('a member that missed a generation keeps nothing, though it has its old name', async (t) => {
  const world = await kafkaWorld(2)
  const [one, two] = [await world.open('a'), await world.open('b')]
  const [a, b] = [createMember(one), createMember(two)]
  await one.join(a.listener)
  await a.until(() => a.owned.length === 2)
  // The next generation that it hears of is not the next one.
  const set = memberships.set.bind(memberships)
  memberships.set = (name, { generation }) => set(name, { generation: generation + 1 })
  t.after(() => {
    memberships.set = set
  })
  await two.join(b.listener)
  await a.until(() => a.owned.length === 1 && b.owned.length === 1, b)
  assert.deepEqual(a.kept, new Set())
  await Promise.all([one.close(), two.close(), world.close()])
})

test('topics that do not fit the number of tasks refuse the start, with the way out', async () => {
  const world = await kafkaWorld(2)
  const log = await openKafkaLog({ ...world.options, tasks: 3 })
  await assert.rejects(log.join(createMember(log).listener), (error) => {
    isLogError('fatal')(error)
    const { topicPrefix } = world.options
    assert.ok(String(error).includes(`${topicPrefix}images.v1 has 2 partitions and must have 3`))
    return /WELLSPRING_TASKS/.test(String(error))
  })
  await assert.rejects(createTopics({ ...world.options, tasks: 3 }), isLogError('fatal'))
  await createTopics(world.options) // again: nothing to do
  const missing = await openKafkaLog({ ...world.options, topicPrefix: 'nothing.' })
  await assert.rejects(missing.join(createMember(missing).listener), /nothing.images.v1 is missing/)
  await Promise.all([log.close(), missing.close(), world.close()])
})

test('topics that take less than is written get smaller batches, and the one record that is too large is named', async () => {
  const world = await kafkaWorld(1)
  const log = await world.open('a')
  const admin = createKafka(world.options).admin()
  await admin.alterConfigs({
    validateOnly: false,
    resources: [
      {
        type: kafkajs.ConfigResourceTypes.TOPIC,
        name: `${world.options.topicPrefix}state.v1`,
        configEntries: [{ name: 'max.message.bytes', value: '100000' }],
      },
    ],
  })
  await admin.disconnect()
  /** What a task does with a writer that failed: the next one, until the outcome is not unknown any more. */
  const written = async (records: readonly NewRecord[]): Promise<unknown> => {
    for (let tries = 0; tries < 20; tries += 1) {
      const writer = await log.fence(0)
      try {
        await writer.commit(records)
        return undefined
      } catch (error) {
        if (error instanceof LogError && error.kind !== 'unknown') return error
      } finally {
        await writer.close()
      }
    }
    return 'tried in vain'
  }
  const sized = (key: string, bytes: number): NewRecord => ({
    ...record(0, key),
    value: randomBytes(bytes),
  })
  const many = Array.from({ length: 40 }, (_, at) => sized(`k${at}`, 20_000))
  assert.equal(await written(many), undefined)
  const refused = await written([
    sized('fits', 1_000),
    sized('large', 150_000),
    sized('too', 9_000),
  ])
  assert.ok(refused instanceof LogError && refused.kind === 'unwritable', String(refused))
  assert.equal(refused.record?.key, 'large')
  assert.equal(await written([sized('last', 1_000)]), undefined)
  const keys = (await world.committed('state.v1')).map(keyOf)
  assert.deepEqual(keys, [...many.map(({ key }) => key), 'last'])
  await Promise.all([log.close(), world.close()])
})

test('positions pass markers and aborted records', async () => {
  const world = await kafkaWorld(1)
  const log = await world.open('a')
  const producer = createKafka(world.options).producer({
    transactionalId: world.options.application,
    createPartitioner: kafkajs.Partitioners.DefaultPartitioner,
    retry: { retries: 0 },
  })
  await producer.connect()
  const topic = `${world.options.topicPrefix}images.v1`
  for (const end of ['commit', 'abort'] as const) {
    const transaction = await producer.transaction()
    await transaction.send({ topic, messages: [{ key: 'k', value: end, partition: 0 }] })
    await transaction[end]()
  }
  await producer.disconnect()
  const member = createMember(log)
  await log.join(member.listener)
  await member.until(() => member.owned.length === 1)
  log.resume(0, { 'images.v1': 0, 'commands.v1': 0 })
  await member.until(() => member.passed.get('images.v1/0') === 4)
  assert.deepEqual(member.delivered, ['commit'])
  assert.equal((await log.inputOffsets(0))['images.v1'].high, 4)
  await Promise.all([log.close(), world.close()])
})

test('a position outside the log is told of its task alone, instead of a jump', async () => {
  const world = await kafkaWorld(1)
  const log = await world.open('a')
  const member = createMember(log)
  await world.produce('images.v1', 0, 'k', 'one')
  await log.join(member.listener)
  await member.until(() => member.owned.length === 1)
  log.resume(0, { 'images.v1': 500, 'commands.v1': 0 })
  await member.until(() => member.outOfRange.length > 0)
  assert.deepEqual([member.outOfRange, member.delivered], [[0], []])
  await Promise.all([log.close(), world.close()])
})

test('every member knows the address of every owner', async () => {
  const world = await kafkaWorld(4)
  const [one, two] = [await world.open('host-1:1'), await world.open('host-2:2')]
  const [a, b] = [createMember(one), createMember(two)]
  await one.join(a.listener)
  await two.join(b.listener)
  await a.until(() => a.owned.length === 2 && b.owned.length === 2, b)
  const expected = new Map([
    ...a.owned.map((task) => [task, 'host-1:1'] as const),
    ...b.owned.map((task) => [task, 'host-2:2'] as const),
  ])
  assert.deepEqual(new Map(one.owners()), expected)
  assert.deepEqual(new Map(two.owners()), expected)
  await Promise.all([one.close(), two.close(), world.close()])
})

test('close is quick and idempotent for whoever holds the process', async () => {
  const world = await kafkaWorld(1)
  const log = await world.open('a')
  const member = createMember(log)
  await log.join(member.listener)
  const startMs = performance.now()
  await log.close()
  assert.ok(performance.now() - startMs < 3_000)
  await world.close()
})
