// The one transactional writer of a task: its id claims the task, its commit is one transaction.
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Kafka, Producer, Transaction } from 'kafkajs'
import { bounded, toLogError } from './connection.ts'
import { kafkajs, writerIds } from './patches.ts'
import type { Claim } from './patches.ts'
import { LogError } from './port.ts'
import type { NewRecord, Writer, WriterId } from './port.ts'

const limits = {
  /** Short: an open transaction hides what other writers committed to plate-events.v1. */
  transactionMs: 10_000,
  recordBytesMax: 256 * 1024,
  /** kafkajs makes one record batch per partition; brokers take 1 MiB. */
  partitionBytesMax: 900_000,
  partitionRecordsMax: 2_000,
  overheadBytes: 64,
  closeMs: 2_000,
  mendEachMs: 500,
} as const

export type WriterOptions = {
  readonly topicPrefix: string
  readonly transactionalId: string
  /** Ends what a broker that died left open of the writer's last, committed transaction; tried until it resolves. */
  readonly mend?: (id: WriterId) => Promise<void>
}

/** Claims the id: ends the predecessor's transaction and fences it. Rejects with LogError; nothing is left open. */
export async function openWriter(
  kafka: Kafka,
  { topicPrefix, transactionalId, mend = async () => {} }: WriterOptions,
): Promise<Writer> {
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
    const slot: Claim = {}
    const first = await writerIds.run(slot, () => producer.transaction())
    const { id, connection } = slot
    if (id === undefined || connection === undefined) throw new Error('kafkajs was not patched')
    return opened(producer, { id, connection, first, topicPrefix, mend })
  } catch (error) {
    await bounded(producer.disconnect(), limits.closeMs)
    throw toLogError(error, `Cannot claim ${transactionalId}`)
  }
}

type Claimed = Required<Claim> & {
  readonly first: Transaction
  readonly topicPrefix: string
  readonly mend: NonNullable<WriterOptions['mend']>
}

function opened(producer: Producer, { id, connection, first, topicPrefix, mend }: Claimed): Writer {
  let begun: Transaction | undefined = first // the claim has begun it
  let state: 'idle' | 'committing' | 'broken' | 'closed' = 'idle'

  const run = async (records: readonly NewRecord[]): Promise<void> => {
    const transaction = begun ?? (await producer.transaction())
    begun = undefined
    await transaction.sendBatch({ acks: -1, topicMessages: byTopic(records, topicPrefix) })
    await transaction.commit()
  }

  let mending: Promise<boolean> | undefined
  const mendUntilDone = async (): Promise<void> => {
    while (state === 'idle' || state === 'committing') {
      // Never beside a commit: both are transactions of this id.
      if (state === 'idle') {
        mending = mend(id).then(
          () => true,
          (error: unknown) => error instanceof LogError && error.kind === 'fenced',
        )
        if (await mending) return
      }
      await sleep(limits.mendEachMs, undefined, { ref: false })
    }
  }
  const watched = new WeakSet<Socket>()
  const watch = (): void => {
    const { socket } = connection
    if (socket === null || watched.has(socket)) return
    watched.add(socket)
    // An error of a running commit ends the writer; between two commits nobody else would notice.
    socket.once('close', () => void (state === 'idle' && mendUntilDone()))
  }
  watch()

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
        await mending
        await run(records)
        state = 'idle'
        watch()
      } catch (error) {
        state = 'broken'
        throw toLogError(error, `Cannot commit ${records.length} records`)
      }
    },
    async close() {
      state = 'closed'
      await bounded(producer.disconnect(), limits.closeMs)
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
