// The consumer group: which tasks are ours, and their input records in order. Every rule here answers a trap of
// kafkajs: a rebalance forgets positions, a restart forgets pauses, a generation is not told.
import { setTimeout as sleep } from 'node:timers/promises'
import type { Batch, Consumer, ConsumerGroupJoinEvent, Kafka } from 'kafkajs'
import type { Logger } from '../logger.ts'
import { addressesIn, taskAssigner } from './assigner.ts'
import { bounded } from './connection.ts'
import { toLogRecord } from './fetch.ts'
import { memberships, reports } from './patches.ts'
import { INPUT_TOPICS } from './port.ts'
import type { GroupListener, InputTopic, Positions } from './port.ts'
import type { Watchdog } from './watchdog.ts'
import { startWatchdog } from './watchdog.ts'

const limits = {
  heartbeatMs: 300,
  fetchWaitMs: 250,
  partitionBytesMax: 256 * 1024,
  rebalanceMinMs: 10_000,
  /** Longer than any rebalance, and than a request takes to time out and be sent again. */
  silentMs: 45_000,
  restartFirstMs: 50,
  restartMaxMs: 1_000,
  closeMs: 5_000,
} as const

export type GroupOptions = {
  readonly groupId: string
  readonly topicPrefix: string
  readonly tasks: number
  readonly controlAddress: string
  readonly sessionTimeoutMs: number
  /** Asks the broker past the consumer; rejects when it cannot be reached. */
  readonly probe: () => Promise<unknown>
  readonly logger: Logger
  /** A consumer that hears nothing for twice as long, from a broker that answers, has died. Default 45 s. */
  readonly silentMs?: number
}

type Membership = {
  readonly memberId: string
  readonly generation: number
  readonly tasks: readonly number[]
}

/** One member of the group. Calls its listener synchronously; an error of the listener ends it: crashed(). */
export class Group {
  #options: GroupOptions
  #listener: GroupListener
  #topics: string[]
  #consumer: Consumer
  #current: Membership = { memberId: '', generation: -1, tasks: [] }
  #addresses: ReadonlyMap<number, string> = new Map()
  /** Tasks whose inputs are wanted. */
  #reading = new Set<number>()
  /** Next offset of each `topic/task` being read. */
  #positions = new Map<string, number>()
  #watchdog: Watchdog | undefined
  /** Restarts of the consumer since it last joined. */
  #restarts = 0
  #isClosed = false

  constructor(kafka: Kafka, options: GroupOptions, listener: GroupListener) {
    this.#options = options
    this.#listener = listener
    this.#topics = INPUT_TOPICS.map((name) => options.topicPrefix + name)
    const { groupId, tasks, sessionTimeoutMs } = options
    const claim = () => ({
      address: options.controlAddress,
      owned: this.#current.tasks,
      generation: this.#current.generation,
    })
    this.#consumer = kafka.consumer({
      groupId,
      allowAutoTopicCreation: false,
      sessionTimeout: sessionTimeoutMs,
      rebalanceTimeout: Math.max(limits.rebalanceMinMs, sessionTimeoutMs),
      heartbeatInterval: Math.min(limits.heartbeatMs, Math.floor(sessionTimeoutMs / 3)),
      maxWaitTimeInMs: limits.fetchWaitMs,
      maxBytesPerPartition: limits.partitionBytesMax,
      // kafkajs itself would start again every 50 ms for as long as the broker is away.
      retry: { restartOnFailure: () => this.#mayRestart() },
      partitionAssigners: [taskAssigner({ topics: this.#topics, tasks, claim })],
    })
  }

  /** Resolves when the first assignment was delivered. */
  async join(): Promise<void> {
    this.#listen()
    await this.#consumer.connect()
    await this.#consumer.subscribe({ topics: this.#topics, fromBeginning: false })
    await this.#consumer.run({
      autoCommit: false,
      eachBatch: async (turn) => this.#guarded(() => this.#deliver(turn.batch, turn.isStale())),
    })
  }

  resume(task: number, next: Readonly<Record<InputTopic, number>>): void {
    if (!this.#current.tasks.includes(task)) return
    this.#reading.add(task)
    whileRunning(() => {
      this.#seek(task, next)
      this.#consumer.resume(this.#inputsOf(task))
    })
  }

  pause(task: number): void {
    this.#reading.delete(task)
    whileRunning(() => this.#consumer.pause(this.#inputsOf(task)))
  }

  /** Control address by task. */
  owners(): ReadonlyMap<number, string> {
    return this.#addresses
  }

  /** Leaves the group; takes 5 s at most. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#watchdog?.close()
    reports.off('heartbeat', this.#onHeartbeat)
    reports.off('outOfRange', this.#onOutOfRange)
    await bounded(this.#consumer.disconnect(), limits.closeMs)
    memberships.delete(this.#current.memberId)
  }

  #listen(): void {
    const consumer = this.#consumer
    const { probe, logger, silentMs = limits.silentMs } = this.#options
    this.#watchdog = startWatchdog({
      silentMs,
      probe,
      logger,
      silent: (error) => this.#crash(error),
    })
    consumer.on('consumer.group_join', (event) => this.#guarded(() => this.#joined(event)))
    consumer.on('consumer.end_batch_process', ({ payload }) =>
      this.#guarded(() => {
        if (payload.batchSize > 0) return // #deliver has said it
        const last = Number(payload.lastOffset)
        const name = this.#nameOf(payload.topic)
        this.#pass(name, payload.partition, Number(payload.firstOffset ?? last), last + 1)
      }),
    )
    consumer.on('consumer.crash', ({ payload }) => {
      if (!payload.restart) this.#crash(payload.error)
    })
    reports.on('heartbeat', this.#onHeartbeat)
    reports.on('outOfRange', this.#onOutOfRange)
  }

  async #mayRestart(): Promise<boolean> {
    await sleep(Math.min(limits.restartMaxMs, limits.restartFirstMs * 2 ** this.#restarts))
    this.#restarts += 1
    return !this.#isClosed
  }

  #joined({ payload }: ConsumerGroupJoinEvent): void {
    this.#watchdog?.alive()
    this.#restarts = 0
    const { memberId } = payload
    const tasks = ownedTasks(payload.memberAssignment, this.#topics)
    const membership = memberships.get(memberId)
    if (membership === undefined) throw new Error('kafkajs was not patched')
    const { generation, assignment } = membership
    const last = this.#current
    const isNext = memberId === last.memberId && generation === last.generation + 1
    const kept = new Set(isNext ? tasks.filter((task) => last.tasks.includes(task)) : [])
    if (last.memberId !== memberId) memberships.delete(last.memberId)
    this.#current = { memberId, generation, tasks }
    this.#addresses = assignment === undefined ? new Map() : addressesIn(assignment)
    for (const task of this.#reading) if (!kept.has(task)) this.#reading.delete(task)
    this.#place(kept, this.#listener.assigned(tasks, kept))
  }

  /** kafkajs would go on at the group's offset, or at an end of the log: each task is put at its own. */
  #place(kept: ReadonlySet<number>, next: Positions): void {
    for (const task of this.#current.tasks) {
      const at = next.get(task)
      if (kept.has(task) && at !== undefined) this.#seek(task, at)
      else if (kept.has(task)) this.#reading.delete(task)
      if (this.#reading.has(task)) this.#consumer.resume(this.#inputsOf(task))
      else this.#consumer.pause(this.#inputsOf(task))
    }
  }

  #deliver(batch: Batch, isStale: boolean): void {
    const task = batch.partition
    if (this.#isClosed || isStale || !this.#reading.has(task)) return
    const name = this.#nameOf(batch.topic)
    const records = batch.messages.map((message) => toLogRecord(name, task, message))
    this.#listener.records(task, records)
    const next = (records.at(-1)?.offset ?? -1) + 1
    this.#positions.set(`${name}/${task}`, next)
    this.#pass(name, task, next, Number(batch.lastOffset()) + 1)
  }

  /** Only what follows the position counts: a batch fetched before a seek says nothing about after it. */
  #pass(name: InputTopic, task: number, first: number, next: number): void {
    const position = this.#positions.get(`${name}/${task}`)
    if (this.#isClosed || position === undefined || !this.#reading.has(task)) return
    if (first > position || next <= position) return
    this.#positions.set(`${name}/${task}`, next)
    this.#listener.passed(task, name, next)
  }

  #seek(task: number, next: Readonly<Record<InputTopic, number>>): void {
    for (const name of INPUT_TOPICS) {
      this.#positions.set(`${name}/${task}`, next[name])
      const topic = this.#options.topicPrefix + name
      this.#consumer.seek({ topic, partition: task, offset: String(next[name]) })
    }
  }

  #onHeartbeat = (memberId: string, sentAtMs: number): void => {
    if (memberId !== this.#current.memberId || this.#isClosed) return
    // kafkajs sends heartbeats from its fetch loop and nowhere else: one that was answered says that it turns.
    this.#watchdog?.alive()
    this.#guarded(() => this.#listener.confirmed(sentAtMs))
  }

  /** What is lost, and what becomes of the task, is found out by taking it over again; the others read on. */
  #onOutOfRange = (memberId: string, topic: string, partition: number): void => {
    if (memberId !== this.#current.memberId || !topic.startsWith(this.#options.topicPrefix)) return
    const name = this.#nameOf(topic)
    this.#options.logger('warn', 'input is outside the log', {
      topic: name,
      partition,
      offset: this.#positions.get(`${name}/${partition}`),
    })
    this.#guarded(() => this.#listener.outOfRange(partition))
  }

  /** An error thrown in one of kafkajs's callbacks would end the consumer without a word. */
  #guarded(work: () => void): void {
    try {
      work()
    } catch (error) {
      this.#crash(error instanceof Error ? error : new Error(String(error)))
    }
  }

  #crash(error: Error): void {
    if (!this.#isClosed) this.#listener.crashed(error)
  }

  #inputsOf(task: number): { topic: string; partitions: number[] }[] {
    return this.#topics.map((topic) => ({ topic, partitions: [task] }))
  }

  #nameOf(topic: string): InputTopic {
    return topic.slice(this.#options.topicPrefix.length) as InputTopic
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

/** The tasks of an assignment; it holds the same partitions of every input. */
function ownedTasks(
  assignment: Readonly<Record<string, number[]>>,
  topics: readonly string[],
): number[] {
  const sorted = topics.map((topic) => (assignment[topic] ?? []).toSorted((a, b) => a - b))
  const [first = []] = sorted
  if (sorted.some((other) => String(other) !== String(first))) {
    throw new Error(
      'The group assigned unequal partitions of the inputs: all members must run this program',
    )
  }
  return first
}
