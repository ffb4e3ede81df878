// The memory twin of the log: a broker with transactions, fencing and groups in one process. It resolves nothing by
// itself; every reply goes through `reply`, so that the simulator decides when, and whether, it arrives.
import type {
  InputTopic,
  Log,
  LogRecord,
  NewRecord,
  Offsets,
  OutputTopic,
  Positions,
} from './port.ts'
import type { GroupListener, Writer } from './port.ts'
import { INPUT_TOPICS, LogError } from './port.ts'

export type World = {
  /** Runs `work` when the broker gets the request, and answers later; the fate is the world's. */
  request<T>(member: string, what: string, work: () => T): Promise<T>
  /** Milliseconds that only move forward. */
  monotonicMs(): number
}

type Stored = LogRecord & { readonly producerId: number; state: 'open' | 'committed' | 'aborted' }
type Transaction = { readonly epoch: number; readonly openedMs: number; readonly records: Stored[] }
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
  /** Committed records of a topic in log order, over all partitions. */
  committed(topic: InputTopic | OutputTopic): LogRecord[]
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
  open(member: string, world: World): Log
  /** The process is gone: nothing is delivered to it any more. */
  remove(member: string): void
  generationMembers(): readonly string[]
}

export function memoryBroker(tasks: number): MemoryBroker {
  const partitions = new Map<string, Stored[]>()
  const epochs = new Map<string, { producerId: number; epoch: number; open?: Transaction }>()
  const members = new Map<string, Member>()
  const reading = new Map<string, Map<string, number>>()
  const flushes: Stored[][] = []
  let generation = 0
  let producers = 0

  const partition = (topic: string, number: number): Stored[] => {
    const name = `${topic}/${number}`
    const found = partitions.get(name) ?? []
    partitions.set(name, found)
    return found
  }

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
      state: producerId === 0 ? 'committed' : 'open',
    }
    log.push(stored)
    return stored
  }

  function end(id: string, state: 'committed' | 'aborted'): void {
    const entry = epochs.get(id)
    for (const record of entry?.open?.records ?? []) record.state = state
    if (entry?.open && state === 'committed') flushes.push(entry.open.records)
    if (entry) delete entry.open
  }

  /** InitProducerId: ends the older writer's transaction and bumps the epoch. */
  function init(id: string): { producerId: number; epoch: number } {
    end(id, 'aborted')
    const known = epochs.get(id)
    const next = known
      ? { producerId: known.producerId, epoch: known.epoch + 1 }
      : { producerId: (producers += 1), epoch: 0 }
    epochs.set(id, { ...next })
    return next
  }

  function guard(
    id: string,
    epoch: number,
  ): { producerId: number; epoch: number; open?: Transaction } {
    const entry = epochs.get(id)
    if (!entry || entry.epoch !== epoch)
      throw new LogError('fenced', `INVALID_PRODUCER_EPOCH: ${id} ${epoch}`)
    return entry
  }

  function openWriter(id: string, member: string, world: World): Promise<Writer> {
    return world
      .request(member, 'InitProducerId', () => init(id))
      .then((writer) => {
        let isBroken = false
        return {
          id: writer,
          async commit(records) {
            if (isBroken) throw new LogError('unknown', 'this writer failed before: open a new one')
            isBroken = true
            await world.request(member, 'Produce', () => {
              const entry = guard(id, writer.epoch)
              entry.open ??= { epoch: writer.epoch, openedMs: world.monotonicMs(), records: [] }
              for (const record of records)
                entry.open.records.push(append(record, entry.producerId))
            })
            await world.request(member, 'EndTxn', () => {
              guard(id, writer.epoch)
              end(id, 'committed')
            })
            isBroken = false
          },
          close: () => Promise.resolve(),
        }
      })
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
            if (record.state === 'committed' && onRecord(record)) return at
          }
        }
        return at
      },
      inputOffsets: (task) =>
        world.request(member, 'ListOffsets', () => {
          const offsets = (topic: InputTopic): Offsets => ({
            low: 0,
            high: partition(topic, task).length,
          })
          return { 'images.v1': offsets('images.v1'), 'commands.v1': offsets('commands.v1') }
        }),
      owners: () => new Map(),
      close() {
        positions = new Map()
        members.delete(member)
        return Promise.resolve()
      },
    }
  }

  return {
    tasks,
    produce: (topic, number, key, value) =>
      void append({ topic, partition: number, key, value, headers: {} }, 0),
    committed: (topic) =>
      [...partitions]
        .filter(([name]) => name.startsWith(`${topic}/`))
        .flatMap(([, log]) => log.filter((record) => record.state === 'committed')),
    flushes: () => flushes,
    hasOpenTransaction: () => [...epochs.values()].some((entry) => entry.open !== undefined),
    expire(beforeMs) {
      for (const [id, { open, producerId, epoch }] of epochs) {
        if (!open || open.openedMs >= beforeMs) continue
        end(id, 'aborted')
        epochs.set(id, { producerId, epoch: epoch + 1 })
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
        const records = partition(topic, Number(task)).slice(at, at + recordsMax)
        if (records.length === 0) continue
        positions.set(place, at + records.length)
        member.listener.records(Number(task), records)
        return true
      }
      return false
    },
    open: openLog,
    remove(name) {
      members.delete(name)
      reading.delete(name)
    },
    generationMembers: () =>
      [...members.values()].filter((one) => one.generation === generation).map((one) => one.name),
  }
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
