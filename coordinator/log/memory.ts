// The memory twin of the log: a broker with transactions, fencing and groups in one process. It resolves nothing by
// itself; every reply goes through `reply`, so that the simulator decides when, and whether, it arrives.
import { rangeOf } from '@wellspring/kafka/fetched.ts'
import { lend } from './lent-record.ts'
import {
  lastOf,
  type Input,
  type InputSettings,
  type LogRecord,
  type NewRecord,
  type Offsets,
} from '@wellspring/kafka/records.ts'
import { INPUT_TOPICS, type InputTopic, type OutputTopic } from '@wellspring/kafka/topic-names.ts'
import type { Log, Positions, GroupListener, Writer } from './port.ts'
import { LogError } from '@wellspring/kafka/errors.ts'
import { batchesOf } from '@wellspring/kafka/record-decoder.ts'
import { refuseUnwritable, writable } from './writable.ts'

export type World = {
  /** Runs `work` when the broker gets the request, and answers later; the fate is the world's. */
  request<T>(member: string, what: string, work: () => T): Promise<T>
  /** Runs what the broker does by itself after it has answered; without it that is done at once. */
  later?(work: () => void): void
  /** Milliseconds that only move forward. */
  monotonicMs(): number
}

type Stored = LogRecord & {
  readonly producerId: number
  readonly atMs: number
  state: 'open' | 'committed' | 'aborted'
  /** What covers this offset, and others, instead of a record. */
  set?: { readonly bytes: Buffer; readonly end: number }
}
type Entry = {
  readonly producerId: number
  readonly epoch: number
  /** Records of the open transaction. */
  open?: Stored[]
  openedMs?: number
  /** Writes the markers of a transaction whose end was answered; readers see nothing of it before. */
  ending?: () => void
}
type Member = {
  readonly name: string
  readonly listener: GroupListener
  tasks: number[]
  generation: number
}

export type MemoryBroker = {
  readonly tasks: number
  /** Appends an input record, as an instrument does. */
  produce(topic: InputTopic, partition: number, key: string, value: Uint8Array | null): void
  /** Appends batches as they lie in a log, made for the offset they come to, that cover so many offsets. */
  produceBatches(
    topic: InputTopic,
    partition: number,
    covers: number,
    batches: (firstOffset: number) => Buffer,
  ): void
  /** Time stamp of what is appended from here on, UTC ms. */
  stampMs: number
  /** Input below this offset is gone, as after its retention; told apart from here on only. */
  deleteBelow(topic: InputTopic, partition: number, offset: number): void
  /** The partition of an input is empty, and its next record is the first, as of a topic that was made anew. */
  makeAnew(topic: InputTopic, partition: number): void
  /** Appends a record to state.v1 that no owner wrote. */
  spoil(partition: number, key: string, value: Uint8Array | null): void
  /** How the inputs are said to be kept. */
  settings: Readonly<Record<InputTopic, InputSettings>>
  /** Committed records of a topic in log order, over all partitions. */
  committed(topic: InputTopic | OutputTopic): LogRecord[]
  /** Every record of a topic in log order over all partitions, also those of open and aborted transactions. */
  written(topic: InputTopic | OutputTopic): readonly Readonly<Stored>[]
  /** Committed transactions in order, each with its records in the order they were sent. */
  flushes(): readonly (readonly LogRecord[])[]
  /** Whether any transaction is open. */
  hasOpenTransaction(): boolean
  /** Aborts and fences what was begun before a moment and never ended, as a broker does after a time-out. */
  expire(beforeMs: number): void
  /** A new generation: tasks dealt to these members; a member that is not told keeps believing the old one. */
  rebalance(assignment: ReadonlyMap<string, readonly number[]>, deaf?: ReadonlySet<string>): void
  /** Answers a heartbeat of every member of the current generation. */
  heartbeat(): void
  /** Lets members fetch: delivers what they have not read. */
  deliver(member: string, recordsMax: number): boolean
  /** Whether there is something to deliver. */
  hasUnread(member: string): boolean
  open(member: string, world: World): Log
  /** The process is gone: nothing is delivered to it any more. */
  remove(member: string): void
  generationMembers(): readonly string[]
}

/** `recordBytesMax`: how large a record may be, as of now. */
export function memoryBroker(
  tasks: number,
  recordBytesMax = (): number => writable.recordBytesMax,
): MemoryBroker {
  const partitions = new Map<string, Stored[]>()
  const epochs = new Map<string, Entry>()
  const members = new Map<string, Member>()
  const reading = new Map<string, Map<string, number>>()
  /** First offset that is there, of inputs from which something was deleted. */
  const lows = new Map<string, number>()
  const flushes: Stored[][] = []
  let generation = 0
  let producers = 0

  const partition = (topic: string, number: number): Stored[] => {
    const name = `${topic}/${number}`
    const found = partitions.get(name) ?? []
    partitions.set(name, found)
    return found
  }

  const written = (topic: string): Stored[] =>
    [...partitions].filter(([name]) => name.startsWith(`${topic}/`)).flatMap(([, log]) => log)

  function append(
    record: NewRecord | (Omit<NewRecord, 'topic'> & { topic: InputTopic }),
    producerId: number,
  ): Stored {
    const log = partition(record.topic, record.partition)
    const stored: Stored = {
      topic: record.topic,
      partition: record.partition,
      offset: log.length,
      key: Buffer.from(record.key),
      value: record.value === null ? null : Buffer.from(record.value),
      headers: record.headers,
      producerId,
      atMs: broker.stampMs,
      state: producerId === 0 ? 'committed' : 'open',
    }
    log.push(stored)
    return stored
  }

  /** The end of a transaction is decided when it is answered; its markers, and readers, come later. */
  function end(entry: Entry | undefined, state: 'committed' | 'aborted', world?: World): void {
    const records = entry?.open
    if (!entry || !records) return
    delete entry.open
    const ending = (): void => {
      if (entry.ending !== ending) return
      delete entry.ending
      for (const record of records) record.state = state
      if (state === 'committed') flushes.push(records)
    }
    entry.ending = ending
    if (world?.later) world.later(ending)
    else ending()
  }

  /** InitProducerId: ends the older writer's transaction and bumps the epoch. */
  function init(id: string, world: World): { producerId: number; epoch: number } {
    const known = epochs.get(id)
    end(known, 'aborted', world)
    // Kafka refuses until the markers are written, and the client asks again until then.
    known?.ending?.()
    const next = known
      ? { producerId: known.producerId, epoch: known.epoch + 1 }
      : { producerId: (producers += 1), epoch: 0 }
    epochs.set(id, { ...next })
    return next
  }

  function guard(id: string, epoch: number): Entry {
    const entry = epochs.get(id)
    if (!entry || entry.epoch !== epoch)
      throw new LogError('fenced', `INVALID_PRODUCER_EPOCH: ${id} ${epoch}`)
    return entry
  }

  function openWriter(id: string, member: string, world: World): Promise<Writer> {
    return world
      .request(member, 'InitProducerId', () => init(id, world))
      .then((writer) => {
        let isBroken = false
        return {
          id: writer,
          async commit(records) {
            if (isBroken) throw new LogError('unknown', 'this writer failed before: open a new one')
            refuseUnwritable(records, recordBytesMax())
            isBroken = true
            await world.request(member, 'Produce', () => {
              const entry = guard(id, writer.epoch)
              entry.ending?.()
              entry.openedMs = entry.open ? (entry.openedMs ?? 0) : world.monotonicMs()
              entry.open ??= []
              for (const record of records) entry.open.push(append(record, entry.producerId))
            })
            await world.request(member, 'EndTxn', () =>
              end(guard(id, writer.epoch), 'committed', world),
            )
            isBroken = false
          },
          close: () => Promise.resolve(),
        }
      })
  }

  function offsetsOf(topic: InputTopic, task: number): Offsets {
    return { low: lows.get(`${topic}/${task}`) ?? 0, high: partition(topic, task).length }
  }

  function openLog(member: string, world: World): Log {
    let positions = new Map<string, number>()
    reading.set(member, positions)
    return {
      tasks,
      join(listener) {
        members.set(member, { name: member, listener, tasks: [], generation: 0 })
        return Promise.resolve()
      },
      resume(task, next) {
        for (const topic of INPUT_TOPICS) positions.set(`${topic}/${task}`, next[topic])
      },
      pause(task) {
        for (const topic of INPUT_TOPICS) positions.delete(`${topic}/${task}`)
      },
      fence: (task) => openWriter(`plate-${task}`, member, world),
      async readState(task, from, onRecord) {
        const high = await world.request(
          member,
          'ListOffsets',
          () => partition('state.v1', task).length,
        )
        let at = from
        while (at < high) {
          const batch = await world.request(member, 'Fetch', () =>
            fetchState(partition('state.v1', task), at, high),
          )
          if (batch.length === 0) continue
          for (const record of batch) {
            at = record.offset + 1
            if (record.state === 'committed' && lend(record, onRecord)) return at
          }
        }
        return at
      },
      inputOffsets: (task) =>
        world.request(member, 'ListOffsets', () => ({
          'images.v1': offsetsOf('images.v1', task),
          'commands.v1': offsetsOf('commands.v1', task),
        })),
      async readCommands(task, from, onRecord) {
        const records = await world.request(member, 'Fetch', () =>
          partition('commands.v1', task).slice(Math.max(from, offsetsOf('commands.v1', task).low)),
        )
        for (const record of records) onRecord(record)
      },
      inputTime: (task, topic, offset) =>
        world.request(
          member,
          'Fetch',
          () => partition(topic, task)[Math.max(offset, offsetsOf(topic, task).low)]?.atMs,
        ),
      inputSettings: () => world.request(member, 'DescribeConfigs', () => broker.settings),
      owners: () => new Map(),
      close() {
        positions = new Map()
        members.delete(member)
        return Promise.resolve()
      },
    }
  }

  const broker: MemoryBroker = {
    tasks,
    settings: { 'images.v1': KEPT_FOR_EVER, 'commands.v1': KEPT_FOR_EVER },
    deleteBelow: (topic, number, offset) => void lows.set(`${topic}/${number}`, offset),
    makeAnew(topic, number) {
      partition(topic, number).length = 0
      lows.delete(`${topic}/${number}`)
    },
    spoil: (number, key, value) =>
      void append({ topic: 'state.v1', partition: number, key, value, headers: {} }, 0),
    stampMs: 0,
    produceBatches(topic, number, covers, batches) {
      const first = partition(topic, number).length
      const set = { bytes: batches(first), end: first + covers }
      for (let left = covers; left > 0; left -= 1)
        append({ topic, partition: number, key: '', value: null, headers: {} }, 0).set = set
    },
    produce: (topic, number, key, value) =>
      void append({ topic, partition: number, key, value, headers: {} }, 0),
    committed: (topic) => written(topic).filter((record) => record.state === 'committed'),
    written,
    flushes: () => flushes,
    hasOpenTransaction: () =>
      [...epochs.values()].some((entry) => entry.open !== undefined || entry.ending !== undefined),
    expire(beforeMs) {
      for (const [id, entry] of epochs) {
        if (!entry.open || (entry.openedMs ?? 0) >= beforeMs) continue
        end(entry, 'aborted')
        entry.ending?.()
        epochs.set(id, { producerId: entry.producerId, epoch: entry.epoch + 1 })
      }
    },
    rebalance(assignment, deaf = new Set()) {
      generation += 1
      for (const [name, wanted] of assignment) {
        const member = members.get(name)
        if (!member || deaf.has(name)) continue
        const isNext = member.generation === generation - 1
        const kept = new Set(isNext ? wanted.filter((task) => member.tasks.includes(task)) : [])
        member.tasks = [...wanted]
        member.generation = generation
        const positions = reading.get(name)
        positions?.clear()
        const next: Positions = member.listener.assigned(wanted, kept)
        for (const [task, at] of next)
          if (kept.has(task))
            for (const topic of INPUT_TOPICS) positions?.set(`${topic}/${task}`, at[topic])
      }
    },
    heartbeat() {
      for (const member of members.values())
        if (member.generation === generation) member.listener.confirmed(Number.MAX_SAFE_INTEGER)
    },
    deliver(name, recordsMax) {
      const positions = reading.get(name)
      const member = members.get(name)
      if (!positions || !member) return false
      for (const [place, at] of positions) {
        const [topic = '', task = ''] = place.split('/')
        const { low, high } = offsetsOf(topic as InputTopic, Number(task))
        if (at < low || at > high) {
          positions.delete(place)
          member.listener.outOfRange(Number(task))
          return true
        }
        const { inputs, next } = fetchInputs(partition(topic, Number(task)), at, recordsMax)
        if (next === at) continue
        positions.set(place, next)
        if (inputs.length > 0) member.listener.records(Number(task), inputs)
        const last = inputs.at(-1)
        if (!last || lastOf(last) < next - 1)
          member.listener.passed(Number(task), topic as InputTopic, next)
        return true
      }
      return false
    },
    hasUnread: (name) =>
      members.has(name) &&
      [...(reading.get(name) ?? [])].some(
        ([place, at]) => at !== (partitions.get(place)?.length ?? 0),
      ),
    open: openLog,
    remove(name) {
      members.delete(name)
      reading.delete(name)
    },
    generationMembers: () =>
      [...members.values()].filter((one) => one.generation === generation).map((one) => one.name),
  }
  return broker
}

const KEPT_FOR_EVER: InputSettings = {
  retentionMs: undefined,
  retentionBytes: undefined,
  misfits: [],
}

/** What a fetch of an input returns: records, or what lies there as batches. */
function fetchInputs(
  log: readonly Stored[],
  from: number,
  recordsMax: number,
): { inputs: readonly Input[]; next: number } {
  const [first, ...more] = log.slice(from, from + recordsMax)
  if (!first) return { inputs: [], next: from }
  const { topic, partition, set } = first
  if (set) {
    const messages = batchesOf(set.bytes)
    const data = { partition, highWatermark: String(set.end), abortedTransactions: null, messages }
    return rangeOf(topic, data, { position: from, checked: true })
  }
  const end = more.findIndex((record) => record.set)
  const inputs = [first, ...(end < 0 ? more : more.slice(0, end))]
  return { inputs, next: from + inputs.length }
}

/** What a read_committed fetch returns: nothing at or behind the first open transaction. */
function fetchState(log: readonly Stored[], from: number, high: number): Stored[] {
  const batch: Stored[] = []
  for (const record of log.slice(from, Math.min(high, from + 64))) {
    if (record.state === 'open') break
    batch.push(record)
  }
  return batch
}
