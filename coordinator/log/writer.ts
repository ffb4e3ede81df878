// The one transactional writer of a task: its id claims the task, its commit is one transaction.
import type { Kafka, Producer, Transaction } from 'kafkajs'
import { bounded, toLogError } from './connection.ts'
import { kafkajs, writerIds } from './patches.ts'
import { LogError } from './port.ts'
import type { NewRecord, OutputTopic, Writer, WriterId } from './port.ts'

const limits = {
  /** Short: an open transaction hides what other writers committed to plate-events.v1. */
  transactionMs: 10_000,
  recordBytesMax: 256 * 1024,
  /** kafkajs makes one record batch per partition; brokers take 1 MiB. */
  partitionBytesMax: 900_000,
  partitionRecordsMax: 2_000,
  overheadBytes: 64,
  closeMs: 2_000,
} as const

export type WriterOptions = { readonly topicPrefix: string; readonly transactionalId: string }

/** Claims the id: ends the predecessor's transaction and fences it. Rejects with LogError; nothing is left open. */
export async function openWriter(
  kafka: Kafka,
  { topicPrefix, transactionalId }: WriterOptions,
): Promise<Opened> {
  const producer = kafka.producer({
    transactionalId,
    transactionTimeout: limits.transactionMs,
    maxInFlightRequests: 1,
    allowAutoTopicCreation: false,
    createPartitioner: kafkajs.Partitioners.DefaultPartitioner,
    // A retry inside a transaction loses records (K1–K3): the transaction is the unit of retry.
    retry: { retries: 0 },
  })
  try {
    await producer.connect()
    const slot: { id?: WriterId } = {}
    const first = await writerIds.run(slot, () => producer.transaction())
    if (slot.id === undefined) throw new Error('kafkajs was not patched')
    return opened(producer, { id: slot.id, first, topicPrefix })
  } catch (error) {
    await bounded(producer.disconnect(), limits.closeMs)
    throw toLogError(error, `Cannot claim ${transactionalId}`)
  }
}

export type Place = { readonly topic: OutputTopic; readonly partition: number }

export type Opened = Writer & {
  /** Before anything else: ends what an older transaction of this id left open in these places, as aborted. */
  sweep(places: readonly Place[]): Promise<void>
}

type Claimed = { readonly id: WriterId; readonly first: Transaction; readonly topicPrefix: string }

function opened(producer: Producer, { id, first, topicPrefix }: Claimed): Opened {
  let begun: Transaction | undefined = first // the claim has begun it
  let state: 'idle' | 'committing' | 'broken' | 'closed' = 'idle'

  const run = async (records: readonly NewRecord[]): Promise<void> => {
    const transaction = begun ?? (await producer.transaction())
    begun = undefined
    await transaction.sendBatch({ acks: -1, topicMessages: byTopic(records, topicPrefix) })
    await transaction.commit()
  }

  return {
    id,
    async commit(records) {
      if (state !== 'idle') {
        throw new LogError(
          'fatal',
          `Cannot commit: the writer is ${state}. One commit at a time; after an error open a new writer.`,
        )
      }
      refuseTooLarge(records)
      if (records.length === 0) return
      state = 'committing'
      try {
        await run(records)
        state = 'idle'
      } catch (error) {
        state = 'broken'
        throw toLogError(error, `Cannot commit ${records.length} records`)
      }
    },
    async close() {
      state = 'closed'
      await bounded(producer.disconnect(), limits.closeMs)
    },
    async sweep(places) {
      begun = undefined
      const empty = places.map((place) => ({ ...place, key: '#sweep', value: null, headers: {} }))
      try {
        await first.sendBatch({ acks: -1, topicMessages: byTopic(empty, topicPrefix) })
        await first.abort()
      } catch (error) {
        throw toLogError(error, 'Cannot end what an older transaction left open')
      }
    },
  }
}

function byTopic(records: readonly NewRecord[], topicPrefix: string) {
  const topics = new Map<string, { topic: string; messages: ReturnType<typeof toMessage>[] }>()
  for (const record of records) {
    const topic = topicPrefix + record.topic
    const entry = topics.get(topic) ?? { topic, messages: [] }
    topics.set(topic, entry)
    entry.messages.push(toMessage(record))
  }
  return [...topics.values()]
}

function toMessage({ partition, key, value, headers }: NewRecord) {
  return {
    partition,
    key,
    value: value === null ? null : Buffer.from(value.buffer, value.byteOffset, value.byteLength),
    headers: { ...headers },
  }
}

/** A batch the broker refuses would be refused for ever: better to say so before anything is sent. */
function refuseTooLarge(records: readonly NewRecord[]): void {
  const sizes = new Map<string, { bytes: number; records: number }>()
  for (const record of records) {
    const place = `${record.topic}/${record.partition}`
    const bytes = sizeOf(record)
    if (bytes > limits.recordBytesMax) {
      throw new LogError(
        'fatal',
        `Record "${record.key}" for ${place} has ${bytes} bytes; at most ${limits.recordBytesMax} are written. ` +
          'Put what is large in the store and write a reference.',
      )
    }
    const size = sizes.get(place) ?? { bytes: 0, records: 0 }
    sizes.set(place, size)
    size.bytes += bytes
    size.records += 1
    if (size.bytes > limits.partitionBytesMax || size.records > limits.partitionRecordsMax) {
      throw new LogError(
        'fatal',
        `A commit of ${size.records} records and ${size.bytes} bytes to ${place} is over the limit of ` +
          `${limits.partitionRecordsMax} records and ${limits.partitionBytesMax} bytes: split it.`,
      )
    }
  }
}

function sizeOf({ key, value, headers }: NewRecord): number {
  let bytes = limits.overheadBytes + Buffer.byteLength(key) + (value?.byteLength ?? 0)
  for (const [name, text] of Object.entries(headers))
    bytes += Buffer.byteLength(name) + Buffer.byteLength(text)
  return bytes
}
