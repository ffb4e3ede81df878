// Clients of either kafkajs, and topics, on the broker of the tests.
import { randomUUID } from 'node:crypto'
import { before } from 'node:test'
import type { ITopicConfig, Kafka, logCreator } from 'kafkajs'
import type { Kafkajs } from '../../coordinator/log/patches.ts'
import { brokerForTests } from '../../dev/broker.ts'
import { patched } from './original.ts'

let brokers: string[]
before(async () => {
  brokers = (await brokerForTests()).brokers
})

export function client(kafkajs: Kafkajs, logCreator?: logCreator): Kafka {
  const level = logCreator === undefined ? kafkajs.logLevel.NOTHING : kafkajs.logLevel.ERROR
  return new kafkajs.Kafka({
    brokers,
    logLevel: level,
    ...(logCreator === undefined ? {} : { logCreator }),
  })
}

export async function newTopic(config: Partial<ITopicConfig> = {}): Promise<string> {
  const topic = `patches-${randomUUID()}`
  const admin = client(patched.kafkajs).admin()
  await admin.connect()
  await admin.createTopics({ topics: [{ topic, ...config }], waitForLeaders: true })
  await admin.disconnect()
  return topic
}
