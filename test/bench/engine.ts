// The production tasks in this process, over a log that forgets and services that answer at once: what is left is the
// engine itself.
import { setTimeout as sleep } from 'node:timers/promises'
import { create, toBinary, type DescMethod } from '@bufbuild/protobuf'
import type { Caller } from '../../coordinator/calls/port.ts'
import type { Pipeline } from '../../coordinator/core/pipeline/pipeline.ts'
import { taskOf } from '@wellspring/kafka/partition.ts'
import { host, type Host } from '../../coordinator/task/host.ts'
import type { OutgoingRecord } from '@wellspring/kafka/client.ts'
import { lendBuffer } from '../../coordinator/lent-buffer.ts'
import { systemClock } from '../../coordinator/clock.ts'
import { OWNER_KEY } from '../../coordinator/task/batch.ts'
import { limits } from '../../coordinator/task/limits.ts'
import type { InputTopic } from '@wellspring/kafka/topic-names.ts'
import type { Log } from '../../coordinator/log/port.ts'
import type { LogRecord } from '@wellspring/kafka/records.ts'

/** Looking all the time would count as the engine's work. */
const POLL_MS = 5

export type Engine = {
  readonly host: Host
  /** Records of an input topic, in order; resolves when all that followed from them is committed. */
  take(records: readonly OutgoingRecord[]): Promise<void>
  /** From now on finished plates are kept for so long. */
  retireAfter(ms: number): void
  close(): Promise<void>
}

export type EngineOptions = {
  readonly tasks: number
  readonly pipeline: Pipeline
  /** The answer of a method, fresh bytes every time. */
  readonly answer: (method: DescMethod) => Uint8Array
}

export async function openEngine({ tasks, pipeline, answer }: EngineOptions): Promise<Engine> {
  lendBuffer()
  const ends = new Map<string, number>()
  const clock = systemClock()
  const bounds = { ...limits }
  const running = host({
    log: forgetfulLog(tasks, ends),
    caller: instantCaller(answer, () => clock.nowMs()),
    pipeline,
    owner: { application: 'bench', instance: 'bench', controlAddress: '' },
    clock,
    random: Math.random,
    limits: bounds,
    logger: () => {},
    fatal: (error) => {
      throw error
    },
  })
  running.assigned(
    Array.from({ length: tasks }, (_, task) => task),
    new Set(),
  )
  while (running.running().length < tasks) await idle()
  return {
    host: running,
    async take(records) {
      for (const record of records) {
        const partition = taskOf(record.key, tasks)
        const offset = ends.get(`${record.topic}/${partition}`) ?? 0
        ends.set(`${record.topic}/${partition}`, offset + 1)
        running.records(partition, [inputOf(record, partition, offset)])
      }
      const isBusy = (): boolean =>
        running.running().some((task) => {
          const { calls, inputs, isFlushing } = task.load()
          return calls > 0 || inputs > 0 || isFlushing
        })
      while (isBusy()) await sleep(POLL_MS)
    },
    retireAfter: (ms) => Object.assign(bounds, { retireAfterMs: ms }),
    close: () => running.close(),
  }
}

function inputOf(record: OutgoingRecord, partition: number, offset: number): LogRecord {
  const { topic, key, value, headers } = record
  return {
    topic,
    partition,
    offset,
    key: Buffer.from(key),
    value: value && Buffer.from(value),
    headers,
  }
}

/** Default values are no valid answer where the contract asks for more: the caller does not look. */
export function emptyAnswer(method: DescMethod): Uint8Array {
  return toBinary(method.output, create(method.output))
}

function instantCaller(answer: EngineOptions['answer'], nowMs: () => number): Caller {
  return {
    call({ step }, onOutcome) {
      const startedMs = nowMs()
      setImmediate(() => {
        const timing = { startedMs, endedMs: nowMs(), replica: '127.0.0.1:50051' }
        onOutcome({ kind: 'done', output: answer(step.method), timing })
      })
    },
    knows: () => false,
    release: () => {},
    detach: () => {},
    close: () => Promise.resolve(),
  }
}

/** Keeps nothing but the barrier that a take-over reads back. */
function forgetfulLog(tasks: number, ends: ReadonlyMap<string, number>): Log {
  const barriers = new Map<number, LogRecord>()
  const offsets = (topic: InputTopic, task: number) => ({
    low: 0,
    high: ends.get(`${topic}/${task}`) ?? 0,
  })
  return {
    tasks,
    join: () => Promise.resolve(),
    resume: () => {},
    pause: () => {},
    fence: (task) =>
      Promise.resolve({
        id: { producerId: task, epoch: 0 },
        async commit(records) {
          await idle()
          const owner = records.find(({ topic, key }) => topic === 'state.v1' && key === OWNER_KEY)
          if (owner?.value)
            barriers.set(task, {
              ...owner,
              offset: 0,
              key: Buffer.from(owner.key),
              value: Buffer.from(owner.value),
            })
        },
        close: () => Promise.resolve(),
      }),
    readState(task, from, onRecord) {
      const barrier = barriers.get(task)
      if (barrier) onRecord(barrier)
      return Promise.resolve(from + 1)
    },
    inputOffsets: (task) =>
      Promise.resolve({
        'images.v1': offsets('images.v1', task),
        'commands.v1': offsets('commands.v1', task),
      }),
    readCommands: () => Promise.resolve(),
    inputTime: () => Promise.resolve(undefined),
    inputSettings: () => Promise.resolve(undefined),
    owners: () => new Map(),
    close: () => Promise.resolve(),
  }
}

function idle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
