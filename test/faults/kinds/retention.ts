// Deletes records of one input partition before its task has read them, as retention does, and then lets an operator
// accept the loss with the command line.
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { Kafka, Producer, Transaction } from 'kafkajs'
import { createKafka } from '@wellspring/kafka/connection.ts'
import { openReader } from '@wellspring/kafka/fetch.ts'
import { root } from '../../../dev/tools.ts'
import { surely } from '../feed.ts'
import type { Ground } from './ground.ts'

const run = promisify(execFile)
const TOPIC = 'images.v1'
const limits = {
  /** Of what piles up unread, so much stays. */
  leftRecords: 2,
  unreadMin: 4,
  lookMs: 250,
  unreadWithinMs: 20_000,
  toldWithinMs: 30_000,
  cliMs: 15_000,
  transactionMs: 60_000,
} as const

/**
 * A transaction that somebody left open in the partition hides what comes behind it: readers of committed records wait,
 * and meanwhile it is deleted. false: nothing was there to be deleted.
 */
export async function deleteUnread(
  n: number,
  ground: Ground,
  { partition, forMs }: { readonly partition: number; readonly forMs: number },
): Promise<boolean> {
  const { brokers, topicPrefix, notes } = ground
  const kafka = createKafka({ brokers, clientId: 'faults-retention', logger: () => {} })
  const topic = topicPrefix + TOPIC
  const producer = kafka.producer({
    transactionalId: `${topicPrefix}retention-${n}`,
    maxInFlightRequests: 1,
    transactionTimeout: limits.transactionMs,
  })
  const transaction = await begin(producer).catch(() => undefined)
  if (!transaction) return false // the broker is away
  try {
    const held = await transaction
      .send({ topic, acks: -1, messages: [{ partition, value: 'held' }] })
      .catch(() => [])
    const from = Number(held[0]?.baseOffset)
    if (Number.isNaN(from)) return false
    const end = await untilUnread(kafka, { topicPrefix, partition, from, forMs })
    const to = end - limits.leftRecords
    if (to <= from) return false
    await surely(() => deleteUpTo(kafka, { topic, partition, to }))
    notes.deletions.push({ topic: TOPIC, partition, to, atMs: Date.now() })
  } finally {
    await transaction.abort().catch(() => {}) // it ends by itself
    await producer.disconnect()
  }
  await accept(ground, partition)
  return true
}

async function begin(producer: Producer): Promise<Transaction> {
  await producer.connect()
  return producer.transaction()
}

type Held = {
  readonly topicPrefix: string
  readonly partition: number
  readonly from: number
  readonly forMs: number
}

/** High watermark, when some records are waiting behind the open transaction. */
async function untilUnread(kafka: Kafka, held: Held): Promise<number> {
  const { topicPrefix, partition, from, forMs } = held
  const reader = openReader(kafka, topicPrefix)
  try {
    await sleep(forMs)
    for (const endsMs = Date.now() + limits.unreadWithinMs; ; await sleep(limits.lookMs)) {
      const listed = await reader.offsets(TOPIC, [partition]).catch(() => undefined)
      const { high = 0 } = listed?.get(partition) ?? {}
      if (high - from >= limits.unreadMin + limits.leftRecords || Date.now() > endsMs) return high
    }
  } finally {
    await reader.close()
  }
}

async function deleteUpTo(
  kafka: Kafka,
  { topic, partition, to }: { topic: string; partition: number; to: number },
): Promise<void> {
  const admin = kafka.admin()
  await admin.connect()
  try {
    // Only then does it know who leads the partition.
    await admin.fetchTopicOffsets(topic)
    const partitions = [{ partition, offset: String(to) }]
    await admin.deleteTopicRecords({ topic, partitions })
  } finally {
    await admin.disconnect()
  }
}

/** As a person would: look what is lost, and accept exactly that. */
async function accept(ground: Ground, task: number): Promise<void> {
  for (const endsMs = Date.now() + limits.toldWithinMs; Date.now() < endsMs;) {
    if (await cli(ground, ['tasks', '--accept-loss', `${TOPIC}/${task}`, '--reason', 'faults']))
      return
    await sleep(limits.lookMs)
  }
}

async function cli(
  { brokers, topicPrefix, crew }: Ground,
  args: readonly string[],
): Promise<boolean> {
  const env = {
    ...process.env,
    KAFKA_BROKERS: brokers.join(','),
    WELLSPRING_TOPIC_PREFIX: topicPrefix,
    WELLSPRING_CONTROL: crew.api() ?? '',
  }
  try {
    await run(join(root, 'node_modules/.bin/wellspring'), args, { env, timeout: limits.cliMs })
    return true
  } catch {
    return false // nothing is lost yet, as far as the coordinators know
  }
}
