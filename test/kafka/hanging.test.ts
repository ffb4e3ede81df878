// Records of a transaction that has ended, and yet neither committed nor aborted: a broker that starts again ends what
// it finds begun, and skips the markers of topics that it does not know yet.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createKafka } from '@wellspring/kafka/connection.ts'
import { modules } from '@wellspring/kafka/patches.ts'
import { proxiedBroker, type ProxiedBroker } from '../faults/proxied.ts'
import { keyOf, record } from '../log/port.suite.ts'
import { kafkaWorld, type KafkaWorld } from '../log/world.ts'

const BROKER = 4

let broker: ProxiedBroker
before(async () => {
  broker = await proxiedBroker()
  await withoutVerification(broker.brokers)
})
after(() => broker.close())

for (const [how, ended, kept] of [
  ['forgotten by its coordinator', 'never', []],
  ['aborted', 'aborted', []],
  ['committed', 'committed', ['left']],
] as const) {
  test(`what a transaction that was ${how} left open ends so before the barrier of the next owner`, async () => {
    const world = await kafkaWorld(2, broker.brokers)
    const first = await (await world.open('first')).fence(0)
    await first.commit([record(0, '#owner'), result('good')])
    await first.close()
    await leaveOpen(world, ended)

    const log = await world.open('second')
    const writer = await log.fence(0)
    await writer.commit([record(0, '#owner2')])
    assert.deepEqual(await keysOf(world, 'state.v1'), ['#owner', ...kept, '#owner2'])
    assert.deepEqual(await keysOf(world, 'results.v1'), ['good', ...kept])
    assert.deepEqual(await keysOf(world, 'plate-events.v1'), kept)
    await writer.commit([result('better')])
    assert.deepEqual(await keysOf(world, 'results.v1'), ['good', ...kept, 'better'])
    await writer.close()
    await Promise.all([log.close(), world.close()])
  })
}

test('a broker that dies behind an idle owner: what it left open is committed without another flush', async () => {
  const world = await kafkaWorld(2, broker.brokers)
  const log = await world.open('idle')
  const writer = await log.fence(0)
  await writer.commit([record(0, '#owner')])
  await markersSkipped('results.v1', () => writer.commit([record(0, 'last'), result('last')]))
  broker.proxy.cut('idle')
  await sleep(100)
  broker.proxy.heal()
  const seen = await keysOf(world, 'results.v1') // waits for what is open
  assert.deepEqual(seen, ['last'])
  await writer.commit([result('next')])
  assert.deepEqual(await keysOf(world, 'results.v1'), ['last', 'next'])
  await writer.close()
  await Promise.all([log.close(), world.close()])
})

const result = (key: string) => ({ ...record(0, key), topic: 'results.v1' as const })

async function keysOf(world: KafkaWorld, topic: 'state.v1' | 'results.v1' | 'plate-events.v1') {
  return (await world.committed(topic)).map(keyOf)
}

/** A broker refuses what belongs to no transaction that its coordinator knows, unless told not to ask. */
async function withoutVerification(brokers: readonly string[]): Promise<void> {
  const admin = createKafka({ brokers }).admin()
  await admin.connect()
  const configEntries = [{ name: 'transaction.partition.verification.enable', value: 'false' }]
  const resources = [{ type: BROKER, name: '1', configEntries }]
  await admin.alterConfigs({ validateOnly: false, resources })
  await admin.disconnect()
}

/** A transaction of task 0, of whose places its coordinator knows one alone, ends in that one. */
async function leaveOpen(
  { options: { topicPrefix, application } }: KafkaWorld,
  ended: 'never' | 'aborted' | 'committed',
): Promise<void> {
  const producer = createKafka({ brokers: broker.brokers }).producer({
    transactionalId: `${application}-plate-0`,
    maxInFlightRequests: 1,
    retry: { retries: 0 },
  })
  await producer.connect()
  const transaction = await producer.transaction()
  const messages = [{ partition: 0, key: 'left', value: 'x' }]
  const topics = ['state.v1', 'results.v1', 'plate-events.v1'].map((topic) => topicPrefix + topic)
  const send = () =>
    transaction.sendBatch({ topicMessages: topics.map((topic) => ({ topic, messages })) })
  await markersSkipped('', () => untilAccepted(send))
  if (ended !== 'never') {
    await transaction.send({ topic: `${topicPrefix}status.v1`, messages })
    await (ended === 'committed' ? transaction.commit() : transaction.abort())
  }
  await producer.disconnect()
}

/** The setting above takes a moment. */
async function untilAccepted(send: () => Promise<unknown>): Promise<void> {
  for (;;) {
    try {
      await send()
      return
    } catch (error) {
      if ((error as { type?: unknown }).type !== 'INVALID_TXN_STATE') throw error
    }
    await sleep(100)
  }
}

type Ask = { readonly topics: readonly { readonly topic: string }[] }

/** Meanwhile the coordinator hears nothing of topics whose name ends so. */
async function markersSkipped(topicEnd: string, work: () => Promise<unknown>): Promise<void> {
  type Add = (this: unknown, ask: Ask) => Promise<unknown>
  const { prototype } = modules.load<{ prototype: { addPartitionsToTxn: Add } }>('broker')
  const { addPartitionsToTxn } = prototype
  prototype.addPartitionsToTxn = function (ask) {
    const topics = ask.topics.filter(({ topic }) => !topic.endsWith(topicEnd))
    if (topics.length === 0) return Promise.resolve({ errors: [] })
    return addPartitionsToTxn.call(this, { ...ask, topics })
  }
  try {
    await work()
  } finally {
    prototype.addPartitionsToTxn = addPartitionsToTxn
  }
}
