import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { brokerForTests } from '../../dev/broker.ts'
import { openClient } from '../../coordinator/log/client.ts'
import { openKafkaLog } from '../../coordinator/log/kafka.ts'
import { createTopics } from '../../coordinator/log/topics.ts'
import type { LogRecord } from '../../coordinator/log/port.ts'
import { logSuite } from './port.suite.ts'
import type { LogWorld } from './port.suite.ts'

const quiet = (): void => {}

async function kafkaWorld(tasks: number): Promise<LogWorld> {
  const { brokers } = await brokerForTests()
  const application = randomUUID()
  const topicPrefix = `${application}.`
  await createTopics({ brokers, topicPrefix, tasks })
  const client = openClient({ brokers, topicPrefix })
  return {
    open: (instance) =>
      openKafkaLog({
        brokers,
        topicPrefix,
        application,
        tasks,
        instance,
        controlAddress: instance,
        sessionTimeoutMs: 6_000,
        logger: quiet,
      }),
    produce: (topic, partition, key, value) =>
      client.produce([{ topic, partition, key, value: Buffer.from(value), headers: {} }]),
    async committed(topic) {
      const records: LogRecord[] = []
      for await (const record of client.readAll(topic)) records.push(record)
      return records
    },
    close: () => client.close(),
  }
}

logSuite('kafka', kafkaWorld)
void assert
