// Clients of either kafkajs, and topics, on the broker of the tests.
import { randomUUID } from 'node:crypto'
import { before } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Admin, ITopicConfig, Kafka, logCreator } from 'kafkajs'
import type { Kafkajs } from '@wellspring/kafka/patches.ts'
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

/** A topic that every partition's leader answers for: a fresh one has none for a moment, whatever its metadata say. */
export async function newTopic(config: Partial<ITopicConfig> = {}): Promise<string> {
  const topic = `patches-${randomUUID()}`
  const admin = client(patched.kafkajs).admin()
  await admin.connect()
  await admin.createTopics({ topics: [{ topic, ...config }], waitForLeaders: true })
  while (!(await isLed(admin, topic))) await sleep(20)
  await admin.disconnect()
  return topic
}

async function isLed(admin: Admin, topic: string): Promise<boolean> {
  try {
    await admin.fetchTopicOffsets(topic)
    return true
  } catch {
    return false
  }
}
