// Reading by position, without a consumer group: state, offsets, and topics for the console and the tools.
import { setTimeout as sleep } from 'node:timers/promises'
import type { Kafka } from 'kafkajs'
import { toLogError } from './connection.ts'
import { filterAborted } from './patched.ts'
import type { AbortedTransaction, Message } from './patched.ts'
import { LogError } from './port.ts'
import type { InputTopic, LogRecord, Offsets, OutputTopic } from './port.ts'

const limits = {
  fetchBytesMax: 1024 * 1024,
  waitMs: 100,
  retryFirstMs: 50,
  retryMaxMs: 1_000,
  retryTotalMs: 20_000,
  /** How long an open transaction may hide what was asked for; longer than any writer's time-out. */
  openTransactionMs: 60_000,
} as const

export type TopicName = InputTopic | OutputTopic

export type Isolation = 'committed' | 'uncommitted'

/** A range of one partition, without markers and what was aborted. */
export type Fetched = {
  readonly partition: number
  readonly records: readonly LogRecord[]
  readonly next: number
}

/** One connection for reading. Requests are retried for up to 20 s, then reject with LogError unknown. */
export interface Reader {
  /** How many partitions a topic has; 0: there is no such topic. */
  partitions(topic: TopicName): Promise<number>
  /** First and end offset of partitions; the end of `committed` hides what is behind an open transaction. */
  offsets(
    topic: TopicName,
    partitions: readonly number[],
    end: Isolation,
  ): Promise<ReadonlyMap<number, Offsets>>
  /** The next records of some partitions at these positions, read_committed; waits up to 100 ms when there are none. */
  fetch(topic: TopicName, positions: ReadonlyMap<number, number>): Promise<Fetched[]>
  close(): Promise<void>
}

/** Reads a partition to the high watermark seen at the start, or until `onRecord` says so; returns the next offset. */
export async function readPartition(
  reader: Reader,
  place: { readonly topic: TopicName; readonly partition: number; readonly from: number },
  onRecord: (record: LogRecord) => boolean,
): Promise<number> {
  const { topic, partition, from } = place
  const { low, high } = at(await reader.offsets(topic, [partition], 'uncommitted'), partition)
  if (from > high) {
    throw new LogError(
      'fatal',
      `Cannot read ${topic}/${partition} from ${from}: it ends at ${high}. The topic was made anew or cut off ` +
        'while its state was in use: restore it, or start a new application id.',
    )
  }
  let next = Math.max(from, low)
  let movedMs = performance.now()
  while (next < high) {
    const fetched = (await reader.fetch(topic, new Map([[partition, next]])))[0]
    for (const record of fetched?.records ?? []) if (onRecord(record)) return record.offset + 1
    if (fetched !== undefined && fetched.next > next) {
      next = fetched.next
      movedMs = performance.now()
    } else if (performance.now() - movedMs > limits.openTransactionMs) {
      throw new LogError(
        'unknown',
        `A transaction has been open in ${topic}/${partition} at ${next} for a minute`,
      )
    }
  }
  return next
}

export function openReader(kafka: Kafka, topicPrefix: string): Reader {
  const cluster = clusterOf(kafka)
  const warm = new Map<string, Promise<unknown>>()
  let closed = false

  const brokersOf = async (
    topic: string,
    partitions: readonly number[],
  ): Promise<[string, Broker, number[]][]> => {
    await cluster.addMultipleTargetTopics([topic])
    const leaders = cluster.findLeaderForPartitions(topic, partitions)
    const brokers = Object.entries(leaders).map(
      async ([nodeId, led]): Promise<[string, Broker, number[]]> => [
        nodeId,
        await cluster.findBroker({ nodeId }),
        led,
      ],
    )
    return Promise.all(brokers)
  }

  /** A connection pool has no lock: parallel first fetches would each open a socket, so the first goes alone. */
  const fetchFrom = async (
    nodeId: string,
    broker: Broker,
    request: object,
  ): Promise<FetchResponse> => {
    const first = warm.get(nodeId)
    if (first !== undefined) {
      await first.catch(() => {})
      return broker.fetch(request)
    }
    const fetching = broker.fetch(request)
    warm.set(nodeId, fetching)
    return fetching
  }

  const retried = async <T>(doing: string, work: () => Promise<T>): Promise<T> => {
    const endMs = performance.now() + limits.retryTotalMs
    for (
      let waitMs: number = limits.retryFirstMs;
      ;
      waitMs = Math.min(waitMs * 2, limits.retryMaxMs)
    ) {
      try {
        if (!cluster.isConnected()) await cluster.connect()
        return await work()
      } catch (error) {
        const outOfRange = (error as { name?: string }).name === 'KafkaJSOffsetOutOfRange'
        if (outOfRange)
          throw new LogError('fatal', `${doing}: the offset is outside the log`, { cause: error })
        if (closed || error instanceof LogError || performance.now() > endMs)
          throw toLogError(error, doing)
      }
      await sleep(waitMs)
      warm.clear()
      await cluster.refreshMetadata().catch(() => {})
    }
  }

  const list = (
    topic: string,
    partitions: readonly number[],
    timestamp: number,
    isolationLevel: number,
  ) =>
    retried(`Cannot list offsets of ${topic}`, async () => {
      const offsets = new Map<number, number>()
      for (const [, broker, led] of await brokersOf(topic, partitions)) {
        const asked = led.map((partition) => ({ partition, timestamp }))
        const { responses } = await broker.listOffsets({
          isolationLevel,
          topics: [{ topic, partitions: asked }],
        })
        for (const { partition, offset } of responses.flatMap((response) => response.partitions)) {
          offsets.set(partition, Number(offset))
        }
      }
      const missing = partitions.find((partition) => !offsets.has(partition))
      if (missing !== undefined) throw new Error(`there is no partition ${missing}`)
      return offsets
    })

  return {
    partitions: (name) =>
      retried(`Cannot look up ${name}`, async () => {
        const topic = topicPrefix + name
        try {
          await cluster.addMultipleTargetTopics([topic])
        } catch (error) {
          if ((error as { type?: string }).type === 'UNKNOWN_TOPIC_OR_PARTITION') return 0
          throw error
        }
        return cluster.findTopicPartitionMetadata(topic).length
      }),

    async offsets(name, partitions, end) {
      const topic = topicPrefix + name
      const lows = await list(topic, partitions, earliest, readUncommitted)
      const highs = await list(
        topic,
        partitions,
        latest,
        end === 'committed' ? readCommitted : readUncommitted,
      )
      return new Map(
        partitions.map((one) => [one, { low: lows.get(one) ?? 0, high: highs.get(one) ?? 0 }]),
      )
    },

    fetch: (name, positions) =>
      retried(`Cannot read ${name}`, async () => {
        const topic = topicPrefix + name
        const requests = (await brokersOf(topic, [...positions.keys()])).map(
          async ([nodeId, broker, led]) => {
            const partitions = led.map((partition) => ({
              partition,
              fetchOffset: String(positions.get(partition)),
              maxBytes: limits.fetchBytesMax,
            }))
            const { responses } = await fetchFrom(nodeId, broker, {
              isolationLevel: readCommitted,
              maxWaitTime: limits.waitMs,
              minBytes: 1,
              maxBytes: limits.fetchBytesMax * 4,
              topics: [{ topic, partitions }],
            })
            return responses.flatMap((response) => response.partitions)
          },
        )
        return (await Promise.all(requests))
          .flat()
          .map((part) => toFetched(name, part, positions.get(part.partition) ?? 0))
      }),

    async close() {
      closed = true
      await cluster.disconnect()
    },
  }
}

/** A record as kafkajs has decoded it, in our form. */
export function toLogRecord(topic: TopicName, partition: number, message: RawMessage): LogRecord {
  const headers: Record<string, string> = {}
  for (const [name, value] of Object.entries(message.headers ?? {})) {
    const last = Array.isArray(value) ? value.at(-1) : value
    if (last !== undefined) headers[name] = last.toString()
  }
  return {
    topic,
    partition,
    offset: Number(message.offset),
    key: message.key,
    value: message.value,
    headers,
  }
}

function toFetched(topic: TopicName, part: FetchedPartition, position: number): Fetched {
  const last = part.messages.at(-1)
  const records = filterAborted(part)
    .filter((message) => message.isControlRecord !== true && Number(message.offset) >= position)
    .map((message) => toLogRecord(topic, part.partition, message))
  return {
    partition: part.partition,
    records,
    next: last === undefined ? position : Math.max(position, Number(last.offset) + 1),
  }
}

function at(offsets: ReadonlyMap<number, Offsets>, partition: number): Offsets {
  const found = offsets.get(partition)
  if (found === undefined) throw new LogError('unknown', `No offsets of partition ${partition}`)
  return found
}

// What kafkajs keeps to itself: its cluster and brokers, as much as is used here.
const earliest = -2
const latest = -1
const readUncommitted = 0
const readCommitted = 1

type RawMessage = {
  readonly offset: string
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers?: Readonly<Record<string, Buffer | string | (Buffer | string)[] | undefined>>
}

type FetchedPartition = {
  readonly partition: number
  readonly abortedTransactions: readonly AbortedTransaction[] | null
  readonly messages: readonly (Message & RawMessage)[]
}

type FetchResponse = {
  readonly responses: readonly { readonly partitions: readonly FetchedPartition[] }[]
}

type ListResponse = {
  readonly responses: readonly {
    readonly partitions: readonly { partition: number; offset: string }[]
  }[]
}

type Broker = {
  fetch(request: object): Promise<FetchResponse>
  listOffsets(request: object): Promise<ListResponse>
}

type Cluster = {
  isConnected(): boolean
  connect(): Promise<void>
  disconnect(): Promise<void>
  refreshMetadata(): Promise<void>
  addMultipleTargetTopics(topics: readonly string[]): Promise<void>
  findTopicPartitionMetadata(topic: string): readonly unknown[]
  findLeaderForPartitions(topic: string, partitions: readonly number[]): Record<string, number[]>
  findBroker(which: { nodeId: string }): Promise<Broker>
}

function clusterOf(kafka: Kafka): Cluster {
  const symbol = Object.getOwnPropertySymbols(kafka).find(
    (one) => one.description === 'private:Kafka:createCluster',
  )
  if (symbol === undefined)
    throw new Error('This kafkajs has no createCluster: fetch.ts fits 2.2.4 only')
  const create = (kafka as unknown as Record<symbol, (options: object) => Cluster>)[symbol]
  if (create === undefined)
    throw new Error('This kafkajs has no createCluster: fetch.ts fits 2.2.4 only')
  return create({ allowAutoTopicCreation: false, metadataMaxAge: 300_000 })
}
