// Reading by position, without a consumer group: state, offsets, and topics for the console and the tools.
import type { Kafka } from 'kafkajs'
import { toLogError } from './connection.ts'
import {
  clusterOf,
  earliest,
  latest,
  readCommitted,
  readUncommitted,
  type Broker,
  type Cluster,
} from './internals.ts'
import { OPENED_BYTES_MAX } from './codecs.ts'
import { DAMAGED, rangeOf, readAll, type PartitionData, type Range } from './fetched.ts'
import { LogError } from './errors.ts'
import type { InputTopic, OutputTopic } from './topic-names.ts'
import type { LogRecord, Offsets, Unreadable } from './records.ts'
import { timeOf } from './record-decoder.ts'
import { giveBack } from './responses.ts'
import { retried, type Patience } from './retried.ts'

const limits = {
  partitionBytesMax: 2 * 1024 * 1024,
  fetchBytesMax: 8 * 1024 * 1024,
  /** Records that a fetch hands on; the rest is fetched again. */
  recordsMax: 50_000,
  waitMs: 100,
  /** How long an open transaction may hide what was asked for; longer than any writer's time-out. */
  openTransactionMs: 60_000,
} as const
/** A restore is as fast as its records are read: a checksum over each costs as much again. */
const UNCHECKED: TopicName = 'state.v1'
const patience: Patience = { firstMs: 50, maxMs: 1_000, totalMs: 20_000 }

export type TopicName = InputTopic | OutputTopic

/** A range of one partition, without markers and what was aborted. */
export type Fetched = {
  readonly partition: number
  readonly records: readonly LogRecord[]
  /** Offsets at which no record can be read. */
  readonly unreadable: readonly Unreadable[]
  readonly next: number
}

/** One connection for reading. Requests are retried for up to 20 s, then reject with LogError unknown. */
export interface Reader {
  /** How many partitions a topic has; 0: there is no such topic. */
  partitions(topic: TopicName): Promise<number>
  /** First and end offset (high watermark) of partitions. A stable end would hide what was just committed. */
  offsets(topic: TopicName, partitions: readonly number[]): Promise<ReadonlyMap<number, Offsets>>
  /** The next records of some partitions at these positions, read_committed; waits (100 ms) when there are none. */
  fetch(
    topic: TopicName,
    positions: ReadonlyMap<number, number>,
    waitMs?: number,
  ): Promise<Fetched[]>
  /** Time stamp (UTC ms) of the first record at or behind an offset; undefined: there is none. */
  timeAt(topic: TopicName, partition: number, offset: number): Promise<number | undefined>
  close(): Promise<void>
}

export type Place = {
  readonly topic: TopicName
  readonly partition: number
  readonly from: number
  /** A record's bytes are written over by later ones as soon as `onRecord` has returned: see `lending`. */
  readonly isLent?: boolean
}

/**
 * Reads a partition to the high watermark seen at the start, or until `onRecord` says so; returns the next offset.
 * What cannot be read is told in its turn, and passed unless that throws.
 */
export async function readPartition(
  reader: Reader,
  { topic, partition, from, isLent = false }: Place,
  onRecord: (record: LogRecord) => boolean,
  onUnreadable: (unreadable: Unreadable) => void,
): Promise<number> {
  const { low, high } = at(await reader.offsets(topic, [partition]), partition)
  if (from > high) {
    throw new LogError(
      'fatal',
      `Cannot read ${topic}/${partition} from ${from}: it ends at ${high}. The topic was made anew or cut off ` +
        'while its state was in use: restore it, or start a new application id.',
    )
  }
  let next = Math.max(from, low)
  let movedMs = performance.now()
  let coming = ahead(reader, topic, { partition, next, high })
  while (next < high) {
    const [fetched] = await coming
    if (fetched !== undefined && fetched.next > next) {
      next = fetched.next
      movedMs = performance.now()
    } else if (performance.now() - movedMs > limits.openTransactionMs) {
      throw new LogError(
        'unknown',
        `A transaction has been open in ${topic}/${partition} at ${next} for a minute`,
      )
    }
    // Asked for before these are taken in: meanwhile the broker reads.
    coming = ahead(reader, topic, { partition, next, high })
    for (const one of inOrder(fetched)) {
      if ('reason' in one) onUnreadable(one)
      else if (onRecord(one)) return one.offset + 1
    }
    if (isLent && fetched) giveBack(fetched.records)
  }
  return next
}

/** What is not read to the end leaves one fetch behind that nobody waits for. */
function ahead(
  reader: Reader,
  topic: TopicName,
  { partition, next, high }: { partition: number; next: number; high: number },
): Promise<readonly Fetched[]> {
  if (next >= high) return Promise.resolve([])
  const fetching = reader.fetch(topic, new Map([[partition, next]]))
  fetching.catch(() => {})
  return fetching
}

/** Mostly there is nothing unreadable. */
export function inOrder(fetched: Fetched | undefined): readonly (LogRecord | Unreadable)[] {
  if (!fetched || fetched.unreadable.length === 0) return fetched?.records ?? []
  return [...fetched.records, ...fetched.unreadable].toSorted((a, b) => a.offset - b.offset)
}

export function openReader(kafka: Kafka, topicPrefix: string): Reader {
  return new KafkaReader(clusterOf(kafka), topicPrefix)
}

class KafkaReader implements Reader {
  #cluster: Cluster
  #topicPrefix: string
  /** First fetch of each broker. */
  #first = new Map<string, Promise<unknown>>()
  #isClosed = false

  constructor(cluster: Cluster, topicPrefix: string) {
    this.#cluster = cluster
    this.#topicPrefix = topicPrefix
  }

  partitions(name: TopicName): Promise<number> {
    const topic = this.#topicPrefix + name
    return this.#retried(`Cannot look up ${topic}`, async () => {
      try {
        await this.#cluster.addMultipleTargetTopics([topic])
      } catch (error) {
        if ((error as { type?: string }).type === 'UNKNOWN_TOPIC_OR_PARTITION') return 0
        throw error
      }
      return this.#cluster.findTopicPartitionMetadata(topic).length
    })
  }

  async offsets(
    name: TopicName,
    partitions: readonly number[],
  ): Promise<ReadonlyMap<number, Offsets>> {
    const topic = this.#topicPrefix + name
    const lows = await this.#list(topic, partitions, earliest)
    const highs = await this.#list(topic, partitions, latest)
    return new Map(
      partitions.map((one) => [one, { low: lows.get(one) ?? 0, high: highs.get(one) ?? 0 }]),
    )
  }

  fetch(
    name: TopicName,
    positions: ReadonlyMap<number, number>,
    waitMs: number = limits.waitMs,
  ): Promise<Fetched[]> {
    return this.#retried(`Cannot read ${this.#topicPrefix}${name}`, async () => {
      let ranges = await this.#ranges(name, positions, waitMs)
      // What was damaged on its way is whole when it is sent again.
      if (ranges.some(({ range }) => isDamaged(range)))
        ranges = await this.#ranges(name, positions, waitMs)
      const budget = { bytes: OPENED_BYTES_MAX, records: limits.recordsMax }
      return ranges.map(({ partition, range }) => ({ partition, ...readAll(range, budget) }))
    })
  }

  /** What is there of some partitions, unopened. */
  async #ranges(
    name: TopicName,
    positions: ReadonlyMap<number, number>,
    waitMs: number,
  ): Promise<{ partition: number; range: Range }[]> {
    const topic = this.#topicPrefix + name
    const leaders = await this.#leaders(topic, [...positions.keys()])
    const parts = await Promise.all(
      leaders.map((leader) => {
        const partitions = leader.partitions.map((partition) => ({
          partition,
          fetchOffset: String(positions.get(partition)),
          maxBytes: limits.partitionBytesMax,
        }))
        return this.#fetchFrom(leader, {
          isolationLevel: readCommitted,
          maxWaitTime: waitMs,
          minBytes: 1,
          maxBytes: limits.fetchBytesMax,
          topics: [{ topic, partitions }],
        })
      }),
    )
    return parts.flat().map((part) => {
      const position = positions.get(part.partition) ?? 0
      const checked = name !== UNCHECKED
      return { partition: part.partition, range: rangeOf(name, part, { position, checked }) }
    })
  }

  async timeAt(name: TopicName, partition: number, offset: number): Promise<number | undefined> {
    const topic = this.#topicPrefix + name
    return this.#retried(`Cannot read ${topic}`, async () => {
      const [leader] = await this.#leaders(topic, [partition])
      if (leader === undefined) throw new Error(`there is no partition ${partition}`)
      // The first batch comes whole, however small the limit.
      const [part] = await this.#fetchFrom(leader, {
        isolationLevel: readCommitted,
        maxWaitTime: limits.waitMs,
        minBytes: 1,
        maxBytes: 1,
        topics: [{ topic, partitions: [{ partition, fetchOffset: String(offset), maxBytes: 1 }] }],
      })
      const first = part?.messages.find(({ last }) => last >= offset)
      return first && timeOf(first.bytes)
    })
  }

  async close(): Promise<void> {
    this.#isClosed = true
    await this.#cluster.disconnect()
  }

  async #list(
    topic: string,
    partitions: readonly number[],
    timestamp: number,
  ): Promise<Map<number, number>> {
    return this.#retried(`Cannot list offsets of ${topic}`, async () => {
      const offsets = new Map<number, number>()
      for (const leader of await this.#leaders(topic, partitions)) {
        const wanted = leader.partitions.map((partition) => ({ partition, timestamp }))
        const answer = await leader.broker.listOffsets({
          isolationLevel: readUncommitted,
          topics: [{ topic, partitions: wanted }],
        })
        for (const one of answer.responses.flatMap((response) => response.partitions)) {
          offsets.set(one.partition, Number(one.offset))
        }
      }
      const missing = partitions.find((partition) => !offsets.has(partition))
      if (missing !== undefined) throw new Error(`there is no partition ${missing}`)
      return offsets
    })
  }

  async #leaders(topic: string, partitions: readonly number[]): Promise<Leader[]> {
    await this.#cluster.addMultipleTargetTopics([topic])
    const led = Object.entries(this.#cluster.findLeaderForPartitions(topic, partitions))
    return Promise.all(
      led.map(async ([nodeId, mine]) => ({
        nodeId,
        broker: await this.#cluster.findBroker({ nodeId }),
        partitions: mine,
      })),
    )
  }

  /** A connection pool has no lock: parallel first fetches would each open a socket, so the first goes alone. */
  async #fetchFrom({ nodeId, broker }: Leader, request: object): Promise<readonly PartitionData[]> {
    const first = this.#first.get(nodeId)
    if (first !== undefined) await first.catch(() => {})
    const fetching = broker.fetch(request)
    if (first === undefined) this.#first.set(nodeId, fetching)
    return (await fetching).responses.flatMap((response) => response.partitions)
  }

  async #retried<T>(doing: string, work: () => Promise<T>): Promise<T> {
    let tries = 0
    try {
      return await retried(
        async () => {
          if (tries > 0) {
            this.#first.clear()
            await this.#cluster.refreshMetadata().catch(() => {})
          }
          tries += 1
          if (!this.#cluster.isConnected()) await this.#cluster.connect()
          return await work()
        },
        patience,
        (error) => !this.#isClosed && !isOutOfRange(error) && !(error instanceof LogError),
      )
    } catch (error) {
      if (isOutOfRange(error))
        throw new LogError('fatal', `${doing}: the offset is outside the log`, { cause: error })
      throw toLogError(error, doing)
    }
  }
}

function isOutOfRange(error: unknown): boolean {
  return (error as { name?: string }).name === 'KafkaJSOffsetOutOfRange'
}

type Leader = {
  readonly nodeId: string
  readonly broker: Broker
  readonly partitions: readonly number[]
}

function isDamaged({ inputs }: Range): boolean {
  return inputs.some((one) => 'reason' in one && one.reason === DAMAGED)
}

function at(offsets: ReadonlyMap<number, Offsets>, partition: number): Offsets {
  const found = offsets.get(partition)
  if (found === undefined) throw new LogError('unknown', `No offsets of partition ${partition}`)
  return found
}
