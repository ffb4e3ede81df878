// Plain use of the topics, without tasks: for the command line, the ingest and tests.
import { setTimeout as sleep } from 'node:timers/promises'
import type { Kafka, Producer } from 'kafkajs'
import { taskOf } from './partition.ts'
import { bounded, createKafka, toLogError, type ConnectionOptions } from './connection.ts'
import { inOrder, openReader, type Reader, type TopicName } from './fetch.ts'
import { passedOver } from './passed-over.ts'
import { kafkajs } from './patches.ts'
import { LogError } from './errors.ts'
import type { LogRecord, Unreadable } from './records.ts'

const limits = {
  sendsMax: 6,
  retryFirstMs: 50,
  sendBytesMax: 500_000,
  closeMs: 2_000,
  followWaitMs: 500,
  /** Longer than any writer's time-out. */
  openTransactionMs: 60_000,
} as const

export type OutgoingRecord = {
  readonly topic: TopicName
  readonly key: string
  /** null: a tombstone. */
  readonly value: Uint8Array | null
  readonly headers: Readonly<Record<string, string>>
  /** Default: the one the Java client would choose, murmur2(key) mod partitions. */
  readonly partition?: number
}

export type OnUnreadable = (unreadable: Unreadable) => void

export interface Client {
  /**
   * Writes records, in order, outside any transaction; resolves when all replicas have them. A send that fails is
   * repeated up to 5 times, over 3 s, so a record may be there twice; rejects with LogError.
   */
  produce(records: readonly OutgoingRecord[]): Promise<void>
  /**
   * All committed records of a topic up to its end at the time of the call; in order within a partition. What cannot be
   * read is passed, and told in its turn to `onUnreadable`, or else to the logger.
   */
  readAll(topic: TopicName, onUnreadable?: OnUnreadable): AsyncGenerator<LogRecord>
  /** Records of a topic from its start, or from its end, until the signal (0.5 s later at most). */
  follow(
    topic: TopicName,
    options: {
      readonly from: 'start' | 'end'
      readonly signal: AbortSignal
      readonly onUnreadable?: OnUnreadable
    },
  ): AsyncGenerator<LogRecord>
  close(): Promise<void>
}

export type ClientOptions = ConnectionOptions & { readonly topicPrefix: string }

/** Sockets are opened at first use. */
export function openClient(options: ClientOptions): Client {
  const kafka = createKafka(options)
  const reader = openReader(kafka, options.topicPrefix)
  const tell = passedOver(options.logger)
  const sender = createSender(kafka, reader, options.topicPrefix)
  return {
    produce: (records) => sender.produce(records),
    async *readAll(topic, onUnreadable = tell) {
      const { positions, ends } = await range(reader, topic)
      let movedMs = performance.now()
      while (positions.size > 0) {
        for (const fetched of await reader.fetch(topic, positions)) {
          const { partition, next } = fetched
          const end = ends.get(partition) ?? 0
          if (next > (positions.get(partition) ?? 0)) movedMs = performance.now()
          for (const one of inOrder(fetched)) {
            if (one.offset >= end) break
            if ('reason' in one) onUnreadable(one)
            else yield one
          }
          if (next >= end) positions.delete(partition)
          else positions.set(partition, next)
        }
        if (performance.now() - movedMs > limits.openTransactionMs)
          throw hiddenEnd(topic, positions)
      }
    },
    async *follow(topic, { from, signal, onUnreadable = tell }) {
      // Its own connection: one that waits for records holds everything behind it up.
      const following = openReader(kafka, options.topicPrefix)
      try {
        const { positions, ends } = await range(following, topic)
        const at = new Map(ends)
        if (from === 'start') for (const [partition, low] of positions) at.set(partition, low)
        while (!signal.aborted) {
          for (const fetched of await following.fetch(topic, at, limits.followWaitMs)) {
            for (const one of inOrder(fetched)) {
              if ('reason' in one) onUnreadable(one)
              else yield one
            }
            at.set(fetched.partition, fetched.next)
          }
        }
      } finally {
        await bounded(following.close(), limits.closeMs)
      }
    },
    async close() {
      await sender.close()
      await bounded(reader.close(), limits.closeMs)
    },
  }
}

/** Where reading starts, for partitions that hold anything, and where each ends. */
async function range(
  reader: Reader,
  topic: TopicName,
): Promise<{ positions: Map<number, number>; ends: Map<number, number> }> {
  const count = await reader.partitions(topic)
  if (count === 0)
    throw new LogError(
      'fatal',
      `There is no topic ${topic}: start the coordinator, or check the topic prefix`,
    )
  const offsets = await reader.offsets(
    topic,
    Array.from({ length: count }, (_, index) => index),
  )
  const filled = [...offsets].filter(([, { low, high }]) => low < high)
  return {
    positions: new Map(filled.map(([partition, { low }]) => [partition, low])),
    ends: new Map([...offsets].map(([partition, { high }]) => [partition, high])),
  }
}

function hiddenEnd(topic: TopicName, positions: ReadonlyMap<number, number>): LogError {
  const places = [...positions].map(([partition, next]) => `${topic}/${partition} at ${next}`)
  return new LogError('unknown', `A transaction has been open for a minute: ${places.join(', ')}`)
}

/** One producer with one send in flight: kafkajs mixes up concurrent ones (K2), and loses records on a retry (K1). */
function createSender(kafka: Kafka, reader: Reader, topicPrefix: string) {
  const producer: Producer = kafka.producer({
    allowAutoTopicCreation: false,
    maxInFlightRequests: 1,
    createPartitioner: kafkajs.Partitioners.DefaultPartitioner,
    retry: { retries: 0 },
  })
  let connected: Promise<void> | undefined
  let last: Promise<void> = Promise.resolve()

  const send = async (records: readonly OutgoingRecord[]): Promise<void> => {
    const topics = new Map<string, { topic: string; messages: object[] }>()
    for (const { topic, key, value, headers, partition } of records) {
      const entry = topics.get(topic) ?? { topic: topicPrefix + topic, messages: [] }
      topics.set(topic, entry)
      const to = partition ?? taskOf(key, await partitions(topic))
      entry.messages.push({
        key,
        value: value === null ? null : Buffer.from(value),
        headers: { ...headers },
        partition: to,
      })
    }
    const topicMessages = [...topics.values()] as {
      topic: string
      messages: { value: Buffer | null }[]
    }[]
    for (let tries = 1; ; tries += 1) {
      try {
        connected ??= producer.connect()
        await connected
        await producer.sendBatch({ acks: -1, topicMessages })
        return
      } catch (error) {
        if (tries === limits.sendsMax)
          throw toLogError(error, `Cannot write ${records.length} records`)
        connected = undefined
        await sleep(limits.retryFirstMs * 2 ** tries)
      }
    }
  }

  const counts = new Map<TopicName, number>()
  const partitions = async (topic: TopicName): Promise<number> => {
    const count = counts.get(topic) ?? (await reader.partitions(topic))
    if (count === 0)
      throw new LogError(
        'fatal',
        `There is no topic ${topicPrefix}${topic}: start the coordinator, or check the topic prefix`,
      )
    counts.set(topic, count)
    return count
  }

  return {
    produce(records: readonly OutgoingRecord[]): Promise<void> {
      const sending = last.then(async () => {
        for (const part of parts(records)) await send(part)
      })
      last = sending.catch(() => {})
      return sending
    },
    async close() {
      await last
      if (connected !== undefined) await bounded(producer.disconnect(), limits.closeMs)
    },
  }
}

/** Batches the broker takes. */
function* parts(records: readonly OutgoingRecord[]): Generator<OutgoingRecord[]> {
  let part: OutgoingRecord[] = []
  let bytes = 0
  for (const record of records) {
    const size = record.key.length + (record.value?.byteLength ?? 0)
    if (part.length > 0 && bytes + size > limits.sendBytesMax) {
      yield part
      part = []
      bytes = 0
    }
    part.push(record)
    bytes += size
  }
  if (part.length > 0) yield part
}
