// Deletes records of one input partition before its task has read them, as retention does, and then lets an operator
// accept the loss with the command line.
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { Kafka } from 'kafkajs'
import { createKafka } from '../../../coordinator/log/connection.ts'
import { retried } from '../../../coordinator/log/retried.ts'
import { root } from '../../../dev/tools.ts'
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
  awayMs: 40_000,
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
  const transaction = await producer
    .connect()
    .then(() => producer.transaction())
    // The broker is away: another fault has been quicker.
    .catch(() => undefined)
  if (transaction === undefined) return false
  try {
    const held = await transaction.send({ topic, messages: [{ partition, value: 'held' }] })
    const from = Number(held[0]?.baseOffset)
    const end = await again(() => untilUnread(kafka, { topic, partition, from, forMs }))
    const to = end - limits.leftRecords
    if (to <= from) return false
    await again(() => deleteUpTo(kafka, { topic, partition, to }))
    notes.deletions.push({ topic: TOPIC, partition, to, atMs: Date.now() })
  } finally {
    await transaction.abort().catch(() => {}) // it ends by itself
    await producer.disconnect().catch(() => {})
  }
  await accept(ground, partition)
  return true
}

/** While the broker is away for another fault: what it does twice is done once. */
function again<T>(work: () => Promise<T>): Promise<T> {
  return retried(work, { firstMs: 200, maxMs: 1_000, totalMs: limits.awayMs }, () => true)
}

type Held = {
  readonly topic: string
  readonly partition: number
  readonly from: number
  readonly forMs: number
}

/** End offset, when some records are waiting behind the open transaction. */
async function untilUnread(kafka: Kafka, held: Held): Promise<number> {
  const admin = kafka.admin()
  await admin.connect()
  try {
    await sleep(held.forMs)
    for (const endsMs = Date.now() + limits.unreadWithinMs; ; await sleep(limits.lookMs)) {
      const ends = await admin.fetchTopicOffsets(held.topic)
      const end = Number(ends.find(({ partition }) => partition === held.partition)?.high)
      if (end - held.from >= limits.unreadMin + limits.leftRecords || Date.now() > endsMs)
        return end
    }
  } finally {
    await admin.disconnect()
  }
}

async function deleteUpTo(
  kafka: Kafka,
  { topic, partition, to }: { topic: string; partition: number; to: number },
): Promise<void> {
  const admin = kafka.admin()
  await admin.connect()
  try {
    const partitions = [{ partition, offset: String(to) }]
    // It does not ask by itself where the partitions are.
    await admin.fetchTopicOffsets(topic)
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
    // Any of them answers for all.
    WELLSPRING_CONTROL:
      crew
        .names()
        .map((name) => crew.api(name))
        .find(Boolean) ?? '',
  }
  try {
    await run(join(root, 'node_modules/.bin/wellspring'), args, { env, timeout: limits.cliMs })
    return true
  } catch {
    return false // nothing is lost yet, as far as the coordinators know
  }
}
