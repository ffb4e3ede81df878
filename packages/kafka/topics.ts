// The topics: what they are, made when missing, refused when their partition counts do not fit.
import { setTimeout as sleep } from 'node:timers/promises'
import type { Admin, ITopicConfig } from 'kafkajs'
import { createKafka, toLogError, type ConnectionOptions } from './connection.ts'
import type { Reader, TopicName } from './fetch.ts'
import { describeInputs } from './topic-settings.ts'
import { INPUT_TOPICS, OUTPUT_TOPICS, PLATE_EVENT_PARTITIONS } from './topic-names.ts'
import { LogError } from './errors.ts'

const day = 86_400_000
const limits = {
  servedMs: 30_000,
  servedEveryMs: 50,
  replicasMax: 3,
} as const

/** Kafka's own default, also where a cluster has another: what is written must be taken (writable.ts). */
const largest = { 'max.message.bytes': '1048588' }

/** By the producers' time stamps, what is announced late would be deleted before it is read. */
const byArrival = { 'message.timestamp.type': 'LogAppendTime' }

/** Inputs stay for a replay window, outputs for a quarter; state and status keep the last record of each key. */
const settings: Record<TopicName, Record<string, string>> = {
  'images.v1': { 'retention.ms': String(30 * day), ...byArrival },
  'commands.v1': { 'retention.ms': String(90 * day), ...byArrival },
  'state.v1': {
    'cleanup.policy': 'compact',
    'min.cleanable.dirty.ratio': '0.2',
    'segment.bytes': String(64 * 1024 * 1024),
    'segment.ms': '3600000',
    'max.compaction.lag.ms': '21600000',
    'delete.retention.ms': String(day),
  },
  'status.v1': {
    'cleanup.policy': 'compact',
    'segment.ms': '3600000',
    'delete.retention.ms': String(day),
  },
  'results.v1': { 'retention.ms': String(90 * day) },
  'quality.v1': { 'retention.ms': String(90 * day) },
  'plate-events.v1': { 'retention.ms': String(90 * day) },
  'dead-letters.v1': { 'retention.ms': String(90 * day) },
  'spans.v1': { 'retention.ms': String(7 * day) },
}

export const TOPICS: readonly TopicName[] = [...INPUT_TOPICS, ...OUTPUT_TOPICS]

export type TopicOptions = ConnectionOptions & {
  readonly topicPrefix: string
  /** Partitions of every topic but plate-events.v1, which has 8. */
  readonly tasks: number
  /** Copies of each partition; default: as many as there are brokers, 3 at most. */
  readonly replicas?: number
}

/**
 * Makes the topics that are missing and resolves when every partition is served. Rejects with LogError fatal
 * when one exists with another number of partitions.
 */
export async function createTopics(options: TopicOptions): Promise<void> {
  const admin = createKafka(options).admin()
  try {
    await admin.connect()
    const { brokers } = await admin.describeCluster()
    const replicas = options.replicas ?? Math.min(brokers.length, limits.replicasMax)
    const existing = new Set(await admin.listTopics())
    const topics = TOPICS.filter((name) => !existing.has(options.topicPrefix + name)).map((name) =>
      topicConfig(name, options, replicas),
    )
    if (topics.length > 0) await admin.createTopics({ topics, waitForLeaders: false })
    await untilServed(
      admin,
      TOPICS.map((name) => options.topicPrefix + name),
    )
    const counts = await countPartitions(admin, options)
    refuseUnequal(counts, options)
    await tellMisfits(admin, options)
  } catch (error) {
    throw toLogError(
      error,
      `Cannot make the topics ${options.topicPrefix}* on ${options.brokers.join(',')}`,
    )
  } finally {
    await admin.disconnect()
  }
}

/** Rejects with LogError fatal when topics are missing or their partition counts are not equal to `tasks`. */
export async function checkTopics(
  reader: Reader,
  options: { readonly topicPrefix: string; readonly tasks: number },
): Promise<void> {
  const counts = new Map<TopicName, number>()
  for (const name of TOPICS) counts.set(name, await reader.partitions(name))
  refuseUnequal(counts, options)
}

export function partitionsOf(name: TopicName, tasks: number): number {
  return name === 'plate-events.v1' ? PLATE_EVENT_PARTITIONS : tasks
}

function topicConfig(name: TopicName, options: TopicOptions, replicas: number): ITopicConfig {
  const config = {
    ...largest,
    ...settings[name],
    ...(replicas >= 3 ? { 'min.insync.replicas': '2' } : {}),
  }
  return {
    topic: options.topicPrefix + name,
    numPartitions: partitionsOf(name, options.tasks),
    replicationFactor: replicas,
    configEntries: Object.entries(config).map(([key, value]) => ({ name: key, value })),
  }
}

/** A new topic is refused for a moment even when its leader is known: it serves when it tells its offsets. */
async function untilServed(admin: Admin, topics: readonly string[]): Promise<void> {
  const endMs = performance.now() + limits.servedMs
  for (const topic of topics) {
    for (;;) {
      try {
        const offsets = await admin.fetchTopicOffsets(topic)
        if (offsets.length > 0) break
      } catch (error) {
        if (performance.now() > endMs) throw error
      }
      await sleep(limits.servedEveryMs)
    }
  }
}

/** Refusing would stop a lab that runs; what is wrong with how its inputs are kept is said, here and by ListTasks. */
async function tellMisfits(admin: Admin, options: TopicOptions): Promise<void> {
  const { logger } = options
  if (!logger) return
  const described = await describeInputs(admin, options).catch((error: unknown) => {
    const why = error instanceof Error ? error.message : String(error)
    logger('warn', 'how the input topics are kept cannot be asked', { error: why })
  })
  for (const { misfits } of Object.values(described ?? {}))
    for (const misfit of misfits) logger('warn', misfit, {})
}

async function countPartitions(
  admin: Admin,
  options: TopicOptions,
): Promise<Map<TopicName, number>> {
  const { topics } = await admin.fetchTopicMetadata({
    topics: TOPICS.map((name) => options.topicPrefix + name),
  })
  const counts = new Map(topics.map(({ name, partitions }) => [name, partitions.length]))
  return new Map(TOPICS.map((name) => [name, counts.get(options.topicPrefix + name) ?? 0]))
}

function refuseUnequal(
  counts: ReadonlyMap<TopicName, number>,
  { topicPrefix, tasks }: { readonly topicPrefix: string; readonly tasks: number },
): void {
  const wrong = [...counts].filter(([name, count]) => count !== partitionsOf(name, tasks))
  if (wrong.length === 0) return
  const list = wrong.map(([name, count]) =>
    count === 0
      ? `${topicPrefix}${name} is missing`
      : `${topicPrefix}${name} has ${count} partitions and must have ${partitionsOf(name, tasks)}`,
  )
  throw new LogError(
    'fatal',
    `The topics do not fit ${tasks} tasks: ${list.join('; ')}. A task reads and writes the same partition of every ` +
      'topic. Make missing topics with createTopics (npm start does); otherwise set WELLSPRING_TASKS to the number ' +
      'the topics were made with, or choose a new WELLSPRING_TOPIC_PREFIX and WELLSPRING_APPLICATION.',
  )
}
