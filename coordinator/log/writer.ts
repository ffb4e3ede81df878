// The one transactional writer of a task: its id claims the task, its commit is one transaction.
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Kafka, Producer, Transaction } from 'kafkajs'
import { bounded, isTooLarge, toLogError } from '@wellspring/kafka/connection.ts'
import { kafkajs, writerIds, type Claim } from '@wellspring/kafka/patches.ts'
import { LogError, asLogError } from '@wellspring/kafka/errors.ts'
import type { NewRecord, WriterId } from '@wellspring/kafka/records.ts'
import type { Writer } from './port.ts'
import { refuseUnwritable, sendsOf, smallerBatch, writable } from './writable.ts'

const limits = {
  /** Short: an open transaction hides what other writers committed to plate-events.v1. */
  transactionMs: 10_000,
  closeMs: 2_000,
  mendEachMs: 500,
} as const

export type WriterOptions = {
  readonly topicPrefix: string
  readonly transactionalId: string
  /** Ends what a broker that died left open of the writer's last, committed transaction; tried until it resolves. */
  readonly mend?: (id: WriterId) => Promise<void>
  /** Kept over the writers of a task: what a broker refuses is refused again. */
  readonly batches?: Batches
}

/** How large a batch may be. */
export type Batches = { bytesMax: number }

export const largestBatches = (): Batches => ({ bytesMax: writable.batchBytesMax })

/** Claims the id: ends the predecessor's transaction and fences it. Rejects with LogError; nothing is left open. */
export async function openWriter(kafka: Kafka, options: WriterOptions): Promise<Writer> {
  const { topicPrefix, transactionalId, mend = async () => {} } = options
  const { batches = largestBatches() } = options
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
    return opened(producer, { id, connection, first, topicPrefix, mend, batches })
  } catch (error) {
    await bounded(producer.disconnect(), limits.closeMs)
    throw toLogError(error, `Cannot claim ${transactionalId}`)
  }
}

type Claimed = Required<Claim> & {
  readonly first: Transaction
  readonly topicPrefix: string
  readonly mend: NonNullable<WriterOptions['mend']>
  readonly batches: Batches
}

function opened(producer: Producer, claimed: Claimed): Writer {
  const { id, connection, first, topicPrefix, mend, batches } = claimed
  let begun: Transaction | undefined = first // the claim has begun it
  let state: 'idle' | 'committing' | 'broken' | 'closed' = 'idle'

  const run = async (records: readonly NewRecord[]): Promise<void> => {
    const transaction = begun ?? (await producer.transaction())
    begun = undefined
    for (const send of sendsOf(records, batches.bytesMax))
      await sent(transaction, send, topicPrefix, batches)
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
      refuseUnwritable(records)
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

/** One batch per partition. A broker that takes less than we write says so of all of them. */
async function sent(
  transaction: Transaction,
  records: readonly NewRecord[],
  topicPrefix: string,
  batches: Batches,
): Promise<void> {
  try {
    await transaction.sendBatch({ acks: -1, topicMessages: byTopic(records, topicPrefix) })
  } catch (error) {
    if (!isTooLarge(error)) throw error
    const [record] = records
    if (records.length === 1 && record) {
      const message = `Kafka refuses record "${record.key}" of ${record.topic}: ${asLogError(error).message}`
      throw new LogError('unwritable', message, { cause: error, record })
    }
    batches.bytesMax = smallerBatch(batches.bytesMax)
    throw error
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
