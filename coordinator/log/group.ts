// The consumer group: which tasks are ours, and their input records in order. Every rule here answers a trap of
// kafkajs: a rebalance forgets positions, a restart forgets pauses, a generation is not told.
import type { Batch, Consumer, ConsumerGroupJoinEvent, InstrumentationEvent, Kafka } from 'kafkajs'
import { addressesIn, taskAssigner } from './assigner.ts'
import { bounded } from './connection.ts'
import { toLogRecord } from './fetch.ts'
import { memberships, reports } from './patches.ts'
import { INPUT_TOPICS, LogError } from './port.ts'
import type { GroupListener, InputTopic, Positions } from './port.ts'

const limits = {
  heartbeatMs: 1_000,
  fetchWaitMs: 250,
  partitionBytesMax: 256 * 1024,
  rebalanceMinMs: 10_000,
  closeMs: 5_000,
} as const

export type GroupOptions = {
  readonly groupId: string
  readonly topicPrefix: string
  readonly tasks: number
  readonly controlAddress: string
  readonly sessionTimeoutMs: number
}

export interface Group {
  /** Resolves when the first assignment was delivered. */
  join(): Promise<void>
  resume(task: number, next: Readonly<Record<InputTopic, number>>): void
  pause(task: number): void
  owners(): ReadonlyMap<number, string>
  /** Leaves the group; 5 s at most. */
  close(): Promise<void>
}

type Membership = { memberId: string; generation: number; tasks: readonly number[] }

export function createGroup(kafka: Kafka, options: GroupOptions, listener: GroupListener): Group {
  const { topicPrefix, tasks, sessionTimeoutMs } = options
  const topics = INPUT_TOPICS.map((name) => topicPrefix + name)
  let current: Membership = { memberId: '', generation: -1, tasks: [] }
  let addresses: ReadonlyMap<number, string> = new Map()
  /** Tasks whose inputs are wanted. */
  const reading = new Set<number>()
  /** Next offset of each `topic/task` being read. */
  const positions = new Map<string, number>()
  let isClosed = false

  const consumer = kafka.consumer({
    groupId: options.groupId,
    allowAutoTopicCreation: false,
    sessionTimeout: sessionTimeoutMs,
    rebalanceTimeout: Math.max(limits.rebalanceMinMs, sessionTimeoutMs),
    heartbeatInterval: Math.min(limits.heartbeatMs, Math.floor(sessionTimeoutMs / 3)),
    maxWaitTimeInMs: limits.fetchWaitMs,
    maxBytesPerPartition: limits.partitionBytesMax,
    partitionAssigners: [
      taskAssigner({
        topics,
        tasks,
        claim: () => ({
          address: options.controlAddress,
          owned: current.tasks,
          generation: current.generation,
        }),
      }),
    ],
  })

  const partitionsOf = (task: number) => topics.map((topic) => ({ topic, partitions: [task] }))

  const seek = (task: number, next: Readonly<Record<InputTopic, number>>): void => {
    for (const name of INPUT_TOPICS) {
      positions.set(`${name}/${task}`, next[name])
      consumer.seek({ topic: topicPrefix + name, partition: task, offset: String(next[name]) })
    }
  }

  /** An error thrown in one of kafkajs's callbacks ends the consumer without a word. */
  const guarded = (work: () => void): void => {
    try {
      work()
    } catch (error) {
      if (!isClosed) listener.crashed(error instanceof Error ? error : new Error(String(error)))
    }
  }

  const joined = ({ payload }: ConsumerGroupJoinEvent): void => {
    const owned = ownedTasks(payload.memberAssignment, topics)
    const membership = memberships.get(payload.memberId)
    if (membership === undefined) throw new Error('kafkajs was not patched')
    const { generation } = membership
    const isNext = payload.memberId === current.memberId && generation === current.generation + 1
    const kept = new Set(isNext ? owned.filter((task) => current.tasks.includes(task)) : [])
    if (current.memberId !== payload.memberId) memberships.delete(current.memberId)
    current = { memberId: payload.memberId, generation, tasks: owned }
    addresses = membership.assignment === undefined ? new Map() : addressesIn(membership.assignment)
    for (const task of reading) if (!kept.has(task)) reading.delete(task)
    const next: Positions = listener.assigned(owned, kept)
    for (const task of owned) {
      const at = next.get(task)
      // kafkajs would go on at the group's offset, or at an end of the log: each task is put at its own.
      if (kept.has(task) && at !== undefined) seek(task, at)
      else if (kept.has(task)) reading.delete(task)
      if (reading.has(task)) consumer.resume(partitionsOf(task))
      else consumer.pause(partitionsOf(task))
    }
  }

  const deliver = (batch: Batch, isStale: boolean): void => {
    const task = batch.partition
    if (isClosed || isStale || !reading.has(task)) return
    const name = batch.topic.slice(topicPrefix.length) as InputTopic
    const records = batch.messages.map((message) => toLogRecord(name, task, message))
    listener.records(task, records)
    const next = (records.at(-1)?.offset ?? -1) + 1
    positions.set(`${name}/${task}`, next)
    pass(name, task, { first: next, next: Number(batch.lastOffset()) + 1 })
  }

  /** Only what follows the position counts: a batch fetched before a seek says nothing about after it. */
  const pass = (name: InputTopic, task: number, range: { first: number; next: number }): void => {
    const position = positions.get(`${name}/${task}`)
    if (isClosed || position === undefined || !reading.has(task)) return
    if (range.first > position || range.next <= position) return
    positions.set(`${name}/${task}`, range.next)
    listener.passed(task, name, range.next)
  }

  const onHeartbeat = (memberId: string, sentAtMs: number): void => {
    if (memberId === current.memberId && !isClosed) guarded(() => listener.confirmed(sentAtMs))
  }
  const onOutOfRange = (memberId: string, topic: string, partition: number): void => {
    if (memberId !== current.memberId || isClosed) return
    const at = positions.get(`${topic.slice(topicPrefix.length)}/${partition}`)
    listener.crashed(
      new LogError(
        'fatal',
        `Offset ${at} of ${topic}/${partition} is outside the log: its records were deleted before they were read, ` +
          'or the topic was made anew. Going on would skip them: restore the topic, or start a new application id.',
      ),
    )
  }

  consumer.on('consumer.group_join', (event) => guarded(() => joined(event)))
  consumer.on('consumer.end_batch_process', ({ payload }) =>
    guarded(() => {
      if (payload.batchSize > 0) return // deliver() has said it
      const last = Number(payload.lastOffset)
      const name = payload.topic.slice(topicPrefix.length) as InputTopic
      pass(name, payload.partition, { first: Number(payload.firstOffset ?? last), next: last + 1 })
    }),
  )
  consumer.on(
    'consumer.crash',
    ({ payload }: InstrumentationEvent<{ error: Error; restart: boolean }>) => {
      if (!payload.restart && !isClosed) listener.crashed(payload.error)
    },
  )
  reports.on('heartbeat', onHeartbeat)
  reports.on('outOfRange', onOutOfRange)

  return {
    async join() {
      await consumer.connect()
      await consumer.subscribe({ topics, fromBeginning: false })
      await consumer.run({
        autoCommit: false,
        eachBatch: async (turn) => guarded(() => deliver(turn.batch, turn.isStale())),
      })
    },
    resume(task, next) {
      if (!current.tasks.includes(task)) return
      reading.add(task)
      whileRunning(() => {
        seek(task, next)
        consumer.resume(partitionsOf(task))
      })
    },
    pause(task) {
      reading.delete(task)
      whileRunning(() => consumer.pause(partitionsOf(task)))
    },
    owners: () => addresses,
    async close() {
      isClosed = true
      reports.off('heartbeat', onHeartbeat)
      reports.off('outOfRange', onOutOfRange)
      await bounded(leave(consumer), limits.closeMs)
      memberships.delete(current.memberId)
    },
  }
}

/** Between a crash of the consumer and its restart it refuses; the join that follows assigns everything anew. */
function whileRunning(work: () => void): void {
  try {
    work()
  } catch (error) {
    if (!(error instanceof Error) || !error.message.includes('not initialized')) throw error
  }
}

async function leave(consumer: Consumer): Promise<void> {
  await consumer.stop()
  await consumer.disconnect()
}

/** The tasks of an assignment; it holds the same partitions of every input. */
function ownedTasks(
  assignment: Readonly<Record<string, number[]>>,
  topics: readonly string[],
): number[] {
  const [first = [], ...others] = topics.map((topic) =>
    [...(assignment[topic] ?? [])].sort((a, b) => a - b),
  )
  for (const other of others) {
    if (String(other) !== String(first)) {
      throw new Error(
        'The group assigned unequal partitions of the inputs: all members must run this program',
      )
    }
  }
  return first
}
