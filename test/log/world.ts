// An application on topics of its own, on the broker of the test process.
import { randomUUID } from 'node:crypto'
import { after } from 'node:test'
import { brokerForTests } from '../../dev/broker.ts'
import { createKafka } from '@wellspring/kafka/connection.ts'
import { openClient, type Client } from '@wellspring/kafka/client.ts'
import { openKafkaLog, type KafkaLogOptions } from '../../coordinator/log/kafka.ts'
import type { LogRecord } from '@wellspring/kafka/records.ts'
import { createTopics } from '@wellspring/kafka/topics.ts'
import type { LogWorld } from './port.suite.ts'

/** Closed at the end of the file, so that a failed test does not keep the process alive. */
const opened: { close(): Promise<void> }[] = []
after(async () => {
  for (const one of opened) await one.close()
})

export type KafkaWorld = LogWorld & { readonly options: KafkaLogOptions; readonly client: Client }

export async function kafkaWorld(tasks: number, brokers?: readonly string[]): Promise<KafkaWorld> {
  const application = randomUUID()
  const options: KafkaLogOptions = {
    brokers: brokers ?? (await brokerForTests()).brokers,
    topicPrefix: `${application}.`,
    application,
    tasks,
    instance: 'a',
    controlAddress: 'a',
    sessionTimeoutMs: 6_000,
    logger: () => {},
  }
  await createTopics(options)
  const client = openClient(options)
  opened.push(client)
  return {
    options,
    client,
    async open(instance) {
      const log = await openKafkaLog({ ...options, instance, controlAddress: instance })
      opened.push(log)
      return log
    },
    produce: (topic, partition, key, value) =>
      client.produce([{ topic, partition, key, value: Buffer.from(value), headers: {} }]),
    async deleteBelow(topic, partition, offset) {
      const admin = createKafka(options).admin()
      await admin.connect()
      const partitions = [{ partition, offset: String(offset) }]
      // It does not ask by itself where the partitions are.
      await admin.fetchTopicOffsets(options.topicPrefix + topic)
      await admin.deleteTopicRecords({ topic: options.topicPrefix + topic, partitions })
      await admin.disconnect()
    },
    async committed(topic) {
      const records: LogRecord[] = []
      for await (const record of client.readAll(topic)) records.push(record)
      return records
    },
    close: () => client.close(),
  }
}
