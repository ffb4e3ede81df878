// Batches written byte by byte are what Kafka's own client takes them for; and what a broker does not let in needs no
// handling behind it.
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { createKafka } from '@wellspring/kafka/connection.ts'
import { brokerForTests } from '../../dev/broker.ts'
import { plainBatch, type RawRecord } from './batch.ts'
import { bombBatch, BOMBS } from './bombs.ts'
import { oddRecords } from './kinds/odd-records.ts'
import { CODECS_UNKNOWN, produceBatch, produceRaw } from './raw.ts'
import { readTopics } from './reader.ts'
import { readRecords } from './segment-records.ts'

async function topicOf(brokers: readonly string[], topic: string): Promise<void> {
  const admin = createKafka({ brokers }).admin()
  await admin.connect()
  await admin.createTopics({ topics: [{ topic }], waitForLeaders: true })
  await admin.disconnect()
}

test('a batch of an unknown codec is refused by the broker, and what comes after it is taken in', async () => {
  const { brokers } = await brokerForTests()
  const topic = `raw-${randomUUID()}`
  await topicOf(brokers, topic)
  const place = { topic, partition: 0 }
  for (const codec of CODECS_UNKNOWN)
    assert.notEqual(await produceRaw(brokers, place, codec), 0, `codec ${codec}`)
  assert.equal(await produceRaw(brokers, place, 0), 0, 'nothing else was wrong with it')
  const after = plainBatch([{ key: null, value: Buffer.from('readable'), headers: [] }])
  assert.deepEqual(await produceBatch(brokers, place, after), { code: 0, offset: 1 })
})

test('of every codec a batch is small, huge once it is opened, and passed over unopened when that is asked for', async () => {
  const { brokers } = await brokerForTests()
  const topicPrefix = `bombs-${randomUUID()}.`
  const topic = `${topicPrefix}t`
  await topicOf(brokers, topic)
  const place = { topic, partition: 0 }
  const zeros = 250_000
  const plain = { key: Buffer.from('k'), headers: [[Buffer.from('h'), Buffer.from('v')]] } as const
  for (const bomb of BOMBS) {
    const batch = await bombBatch(bomb, plain, zeros)
    assert.ok(batch.packed.length < zeros / 15, `${bomb} has ${batch.packed.length} bytes`)
    assert.equal((await produceBatch(brokers, place, batch)).code, 0, bomb)
    const one = plainBatch([{ ...plain, value: Buffer.from(bomb) }])
    await produceBatch(brokers, place, one)
  }
  const opened = await readTopics({ brokers, topicPrefix })
  for (const { value, key, headers } of opened.committed.filter(({ offset }) => offset % 2 === 0)) {
    assert.ok(value?.equals(Buffer.alloc(zeros)))
    assert.equal(key, 'k')
    assert.equal(headers['h'], 'v')
  }
  assert.equal(opened.committed.length, 2 * BOMBS.length)
  const unopened = BOMBS.map((_, at) => ({ topic: 't', partition: 0, offset: 2 * at }))
  const { committed } = await readTopics({ brokers, topicPrefix, unopened })
  assert.deepEqual(
    committed.map(({ value }) => String(value)),
    [...BOMBS],
  )
})

test('odd records are let in by the broker, and read from its segment files as Kafka’s client reads them', async () => {
  const { brokers } = await brokerForTests()
  const topicPrefix = `odd-${randomUUID()}.`
  const topic = `${topicPrefix}t`
  await topicOf(brokers, topic)
  const { odd } = oddRecords(1, 1)
  const same = new Set<string>()
  for (const { what, record, timestampMs } of odd) {
    same.add(what)
    const { code } = await produceBatch(
      brokers,
      { topic, partition: 0 },
      plainBatch([record], timestampMs),
    )
    assert.equal(code, 0, what)
  }
  const shown = await readTopics({ brokers, topicPrefix })
  const place = { topicPrefix, topic: 't', partition: 0 }
  const below = odd.length - 1
  const found = readRecords(shown.dirs[0] ?? '', { ...place, below })
  assert.equal(found.length, below)
  assert.deepEqual(found, shown.committed.slice(0, below))
  assert.ok(same.size >= 20)
  const nulls = (at: number): number =>
    (odd[at]?.record.headers ?? []).filter((one: RawRecord['headers'][number]) => one[1] === null)
      .length
  assert.ok(nulls(0) > 0, 'the first of them has a header without a value')
})
