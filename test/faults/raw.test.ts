// What a broker does not let in needs no handling behind it; this shows that it still does not.
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { createKafka } from '../../coordinator/log/connection.ts'
import { brokerForTests } from '../../dev/broker.ts'
import { CODECS_UNKNOWN, produceRaw } from './raw.ts'

test('a batch of an unknown codec is refused by the broker, and what comes after it is taken in', async () => {
  const { brokers } = await brokerForTests()
  const topic = `raw-${randomUUID()}`
  const kafka = createKafka({ brokers })
  const admin = kafka.admin()
  await admin.connect()
  await admin.createTopics({ topics: [{ topic }], waitForLeaders: true })
  const place = { topic, partition: 0 }
  for (const codec of CODECS_UNKNOWN)
    assert.notEqual(await produceRaw(brokers, place, codec), 0, `codec ${codec}`)
  assert.equal(await produceRaw(brokers, place, 0), 0, 'nothing else was wrong with it')
  const producer = kafka.producer()
  await producer.connect()
  await producer.send({ topic, messages: [{ value: 'readable' }] })
  const [ends] = await admin.fetchTopicOffsets(topic)
  assert.equal(ends?.high, '2')
  await producer.disconnect()
  await admin.disconnect()
})
