// A connection that died without a word: nothing is closed, nothing is answered.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { kafkajs, type Kafkajs } from '@wellspring/kafka/patches.ts'
import { proxiedBroker } from '../faults/proxied.ts'
import { original } from './original.ts'

test('kafkajs goes on using a connection that answers nothing; patched, it opens another', async () => {
  const broker = await proxiedBroker()
  const { proxy, brokers } = broker
  const asked = async (client: Kafkajs): Promise<string[]> => {
    const kafka = new client.Kafka({
      brokers: [...brokers],
      requestTimeout: 1_000,
      retry: { retries: 0 },
      logLevel: client.logLevel.NOTHING,
    })
    const admin = kafka.admin()
    await admin.connect()
    await admin.listTopics()
    const loss = proxy.lose({ api: 'Metadata', lost: 'response', connection: 'silent' })
    const answers: string[] = []
    for (let count = 0; count < 3; count += 1)
      answers.push(
        await admin.listTopics().then(
          () => 'answered',
          (error: unknown) => (error as Error).name,
        ),
      )
    await loss.happened
    await admin.disconnect()
    return answers
  }
  try {
    const late = 'KafkaJSRequestTimeoutError'
    assert.deepEqual(await asked(original.kafkajs), [late, late, late])
    assert.deepEqual(await asked(kafkajs), [late, 'answered', 'answered'])
  } finally {
    await broker.close()
  }
})
