// The consumer group: which tasks are ours, and their input records in order. Every rule here answers a trap of
// kafkajs: a rebalance forgets positions, a restart forgets pauses, a generation is not told.
import { setTimeout as sleep } from 'node:timers/promises'
import type { Consumer, ConsumerConfig, ConsumerGroupJoinEvent, Kafka } from 'kafkajs'
import type { Logger } from '@wellspring/kafka/logger.ts'
import { addressesIn, taskAssigner } from './assigner.ts'
import { bounded } from '@wellspring/kafka/connection.ts'
import { DAMAGED, partitionBatch } from '@wellspring/kafka/fetched.ts'
import { memberships, reports } from '@wellspring/kafka/patches.ts'
import { INPUT_TOPICS, type InputTopic } from '@wellspring/kafka/topic-names.ts'
import type { GroupListener, Positions } from './port.ts'
import type { RecordBatch, Unreadable } from '@wellspring/kafka/records.ts'
import { startWatchdog, type Watchdog } from '@wellspring/kafka/watchdog.ts'

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

/** Of a consumer: a member that died holds the others up for its session, and a rebalance for less than a request lasts. */
export function groupTimes(
  sessionTimeoutMs: number,
): Required<Pick<ConsumerConfig, 'sessionTimeout' | 'rebalanceTimeout' | 'heartbeatInterval'>> {
  return {
    sessionTimeout: sessionTimeoutMs,
    rebalanceTimeout: Math.max(limits.rebalanceMinMs, sessionTimeoutMs),
    heartbeatInterval: Math.min(limits.heartbeatMs, Math.floor(sessionTimeoutMs / 3)),
  }
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
  /** By `topic/task`: the offset that was fetched again because its batch was damaged. */
  #damaged = new Map<string, number>()
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
      ...groupTimes(sessionTimeoutMs),
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

  #deliver(handed: object, isStale: boolean): void {
    const batch = partitionBatch(handed)
    const task = batch.partition
    const name = this.#nameOf(batch.topic)
    const place = `${name}/${task}`
    const position = this.#positions.get(place)
    if (this.#isClosed || isStale || !this.#reading.has(task) || position === undefined) return
    // Fetched before a seek it says nothing about after it.
    if (batch.position > position) return
    const { inputs, next } = batch.range(name)
    const damaged = inputs.findIndex((one) => 'reason' in one && one.reason === DAMAGED)
    const again = inputs[damaged]?.offset
    const isFirst = again !== undefined && this.#damaged.get(place) !== again
    const taken = isFirst ? inputs.slice(0, damaged) : inputs
    if (taken.length > 0) this.#listener.records(task, taken.map(own))
    this.#positions.set(place, Math.max(position, isFirst ? again : next))
    if (isFirst) this.#fetchAgain(batch.topic, task, again)
    else if (next > position && (taken.at(-1)?.last ?? -1) < next - 1)
      this.#listener.passed(task, name, next)
  }

  /** What was damaged on its way is whole when it is sent again; what is not, the second time, is handed on so. */
  #fetchAgain(topic: string, partition: number, offset: number): void {
    this.#damaged.set(`${this.#nameOf(topic)}/${partition}`, offset)
    this.#consumer.seek({ topic, partition, offset: String(offset) })
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

/** Bytes of its own: a slice would keep all that was fetched with it for as long as it waits. */
function own(input: RecordBatch | Unreadable): RecordBatch | Unreadable {
  if ('reason' in input) return input
  const batch = Buffer.allocUnsafeSlow(input.batch.length)
  input.batch.copy(batch)
  return { ...input, batch }
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
