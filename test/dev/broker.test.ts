import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { Kafka, logLevel } from 'kafkajs'
import { javaConsume, startBroker } from '../../dev/broker.ts'

const dir = mkdtempSync(join(tmpdir(), 'wellspring-broker-'))
after(() => rmSync(dir, { recursive: true, force: true }))

test('records survive a stop and a start; the Java consumer reads them byte by byte', async () => {
  const first = await startBroker({ dir })
  const kafka = new Kafka({ brokers: first.brokers, logLevel: logLevel.NOTHING })
  const admin = kafka.admin()
  await admin.connect()
  await admin.createTopics({ topics: [{ topic: 'a' }], waitForLeaders: true })
  await admin.disconnect()
  const producer = kafka.producer()
  await producer.connect()
  const value = Buffer.from([0, 9, 10, 13, 92, 120, 255])
  await producer.send({
    topic: 'a',
    messages: [
      { key: 'one', value, headers: { 'wellspring-type': 'a:b,c' } },
      { key: 'two', value: null },
    ],
  })
  await producer.disconnect()
  await first.stop()
  const again = await startBroker({ dir, port: first.port })
  try {
    assert.deepEqual(again.brokers, first.brokers)
    assert.deepEqual(await javaConsume({ brokers: again.brokers, topic: 'a', recordsMax: 2 }), [
      { partition: 0, offset: 0, key: 'one', value, headers: { 'wellspring-type': 'a:b,c' } },
      { partition: 0, offset: 1, key: 'two', value: null, headers: {} },
    ])
    await assert.rejects(
      startBroker({ dir: join(dir, 'other'), port: first.port }),
      new RegExp(`Port ${first.port} of 127.0.0.1 is taken.*or choose another port`),
    )
  } finally {
    await again.kill()
  }
})

test('a missing Java is named together with the way out', async () => {
  const before = process.env['JAVA_HOME']
  process.env['JAVA_HOME'] = join(dir, 'no-java')
  try {
    await assert.rejects(
      startBroker({ dir }),
      /no-java\S* is not there. Kafka needs Java 17 or newer: install it/,
    )
  } finally {
    if (before === undefined) delete process.env['JAVA_HOME']
    else process.env['JAVA_HOME'] = before
  }
})
