// The log on Kafka: the twin that runs in production. Its parts: group.ts (who owns what, inputs), writer.ts
// (fenced transactions), fetch.ts (reading state by position), topics.ts; patches.ts makes kafkajs fit for it.
import type { Kafka } from 'kafkajs'
import type { Logger } from '@wellspring/kafka/logger.ts'
import { bounded, createKafka, toLogError } from '@wellspring/kafka/connection.ts'
import { openReader, readPartition } from '@wellspring/kafka/fetch.ts'
import { nameOf } from '@wellspring/kafka/fetched.ts'
import { Group } from './group.ts'
import { LogError } from '@wellspring/kafka/errors.ts'
import {
  OUTPUT_TOPICS,
  PLATE_EVENT_PARTITIONS,
  type InputTopic,
} from '@wellspring/kafka/topic-names.ts'
import type { GroupListener, Log, Writer } from './port.ts'
import type { LogRecord, Offsets, WriterId } from '@wellspring/kafka/records.ts'
import { lending } from '@wellspring/kafka/responses.ts'
import { openSettings } from '@wellspring/kafka/topic-settings.ts'
import { checkTopics } from '@wellspring/kafka/topics.ts'
import { TaskTrouble, unreadable } from '../task/trouble.ts'
import {
  openTransactions,
  type Outcome,
  type Place,
  type Transactions,
} from '@wellspring/kafka/transactions.ts'
import { largestBatches, openWriter, type Batches } from './writer.ts'

const limits = { closeMs: 2_000 } as const

export type KafkaLogOptions = {
  readonly brokers: readonly string[]
  readonly topicPrefix: string
  /** Names the group and the transactional ids; its state lives in the topics. */
  readonly application: string
  readonly tasks: number
  readonly instance: string
  /** Told to the other members of the group: owners(). */
  readonly controlAddress: string
  /** How long a silent member keeps its tasks; the broker allows 6 s and more unless told otherwise. */
  readonly sessionTimeoutMs: number
  readonly logger: Logger
  /** When a consumer that hears nothing counts as dead; see group.ts. */
  readonly silentMs?: number
}

/** Opens the log. Topics must exist (createTopics). Moments given to `confirmed` are of performance.now(). */
export async function openKafkaLog(options: KafkaLogOptions): Promise<Log> {
  const { topicPrefix, application, tasks } = options
  const kafka = createKafka({
    brokers: options.brokers,
    clientId: options.instance,
    logger: options.logger,
  })
  const reader = openReader(kafka, topicPrefix)
  const settings = openSettings(kafka, options)
  let group: Group | undefined
  const batches = new Map<number, Batches>()
  const batchesOf = (task: number): Batches => {
    const known = batches.get(task) ?? largestBatches()
    batches.set(task, known)
    return known
  }

  const joined = (): Group => {
    if (group === undefined) throw new LogError('fatal', 'join() comes before resume() and pause()')
    return group
  }

  return {
    tasks,
    async join(listener: GroupListener) {
      if (group !== undefined) throw new LogError('fatal', 'This log has joined its group already')
      await checkTopics(reader, options)
      const probe = (): Promise<unknown> => reader.offsets('images.v1', [0])
      group = new Group(kafka, { ...options, groupId: `${application}-plate`, probe }, listener)
      try {
        await group.join()
      } catch (error) {
        throw toLogError(error, `Cannot join the group ${application}-plate`)
      }
    },
    resume: (task, next) => joined().resume(task, next),
    pause: (task) => joined().pause(task),
    fence: (task) =>
      fence(kafka, {
        topicPrefix,
        transactionalId: `${application}-plate-${task}`,
        places: placesOf(task),
        batches: batchesOf(task),
      }),
    readState(task, from, onRecord) {
      const place = { topic: 'state.v1', partition: task, from, isLent: true } as const
      return lending(() =>
        readPartition(reader, place, onRecord, (one) => {
          throw new TaskTrouble(unreadable(`${nameOf(one)}: ${one.message}`))
        }),
      )
    },
    async inputOffsets(task) {
      const offsets = async (topic: InputTopic): Promise<Offsets> =>
        (await reader.offsets(topic, [task])).get(task) ?? { low: 0, high: 0 }
      const [images, commands] = await Promise.all([offsets('images.v1'), offsets('commands.v1')])
      return { 'images.v1': images, 'commands.v1': commands }
    },
    async readCommands(task, from, onRecord) {
      const low = (await reader.offsets('commands.v1', [task])).get(task)?.low ?? 0
      const place = { topic: 'commands.v1', partition: task, from: Math.max(from, low) } as const
      const read = (record: LogRecord): boolean => {
        onRecord(record)
        return false
      }
      // In its turn it is set aside.
      await readPartition(reader, place, read, () => {})
    },
    inputTime: (task, topic, offset) => reader.timeAt(topic, task, offset),
    inputSettings: () => settings.read(),
    owners: () => group?.owners() ?? new Map(),
    async close() {
      await group?.close()
      await bounded(reader.close(), limits.closeMs)
    },
  }
}

type Claiming = {
  readonly topicPrefix: string
  readonly transactionalId: string
  readonly places: readonly Place[]
  readonly batches: Batches
}

/** The claim ends what is open, if the transaction coordinator still knows of it; the rest is ended after it. */
async function fence(kafka: Kafka, claiming: Claiming): Promise<Writer> {
  const { topicPrefix, transactionalId, batches } = claiming
  return withTransactions(kafka, topicPrefix, async (transactions) => {
    const last = await transactions.lastOf(transactionalId)
    const mend = (id: WriterId): Promise<void> =>
      withTransactions(kafka, topicPrefix, async (later) =>
        settle(later, claiming, { id, last: await later.lastOf(transactionalId) }),
      )
    const writer = await openWriter(kafka, { topicPrefix, transactionalId, mend, batches })
    try {
      await settle(transactions, claiming, { id: writer.id, last })
      return writer
    } catch (error) {
      await writer.close()
      throw error
    }
  })
}

async function settle(
  transactions: Transactions,
  { transactionalId, places }: Claiming,
  { id, last }: { readonly id: WriterId; readonly last: Outcome },
): Promise<void> {
  const ids = new Set([last.producerId ?? id.producerId, id.producerId])
  const open = await transactions.openOf(ids, places)
  const commit = last.ended === 'committed'
  if (open.length > 0) await transactions.end(transactionalId, id, { places: open, commit })
}

async function withTransactions<T>(
  kafka: Kafka,
  topicPrefix: string,
  work: (transactions: Transactions) => Promise<T>,
): Promise<T> {
  const transactions = openTransactions(kafka, topicPrefix)
  try {
    return await work(transactions)
  } finally {
    void bounded(transactions.close(), limits.closeMs)
  }
}

/** Every partition that a transaction of the task may have written to. */
function placesOf(task: number): Place[] {
  const events = Array.from({ length: PLATE_EVENT_PARTITIONS }, (_, partition) => partition)
  return OUTPUT_TOPICS.flatMap((topic) =>
    (topic === 'plate-events.v1' ? events : [task]).map((partition) => ({ topic, partition })),
  )
}
