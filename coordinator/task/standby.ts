// A standby follows the changelog of tasks that other processes own, so that taking one over reads only what came last.
// It holds what was committed, nothing else: the barrier and the read up to it are as without a standby.
import type { Task } from '../core/state.ts'
import type { Logger } from '@wellspring/kafka/logger.ts'
import type { Clock } from '../clock.ts'
import { asLogError } from '@wellspring/kafka/errors.ts'
import type { Log } from '../log/port.ts'
import { apply, nothingRead, type ReadBack } from './restore.ts'

const limits = {
  everyMs: 1_000,
  pauseAfterErrorMs: 5_000,
  /** Half of delete.retention.ms (topics.ts): a copy that stood still longer may have missed a tombstone. */
  staleMs: 43_200_000,
} as const

export type Standby = {
  /** The tasks that this process owns: they are not followed. */
  owned(tasks: readonly number[]): void
  /** What was read of a task; the standby lets go of it. */
  take(task: number): ReadBack | undefined
  close(): void
}

export type StandbyOptions = {
  /** A log of its own: fetches on one connection wait for each other. */
  readonly log: Pick<Log, 'tasks' | 'readState'>
  /** An empty state. */
  readonly empty: () => Task
  readonly clock: Clock
  readonly logger: Logger
}

export function openStandby(options: StandbyOptions): Standby {
  const { log, empty, clock, logger } = options
  const copies = new Map<number, ReadBack>()
  /** When the reading began that a copy has ended with, by the monotonic clock. */
  const readAtMs = new WeakMap<ReadBack, number>()
  let own = new Set<number>()
  let isClosed = false

  const fresh = (task: number): ReadBack | undefined => {
    const copy = copies.get(task)
    const ageMs = clock.monotonicMs() - ((copy && readAtMs.get(copy)) ?? 0)
    return ageMs < limits.staleMs ? copy : undefined
  }

  async function follow(task: number): Promise<void> {
    const copy = fresh(task) ?? nothingRead(empty())
    const beganMs = clock.monotonicMs()
    if (!readAtMs.has(copy)) readAtMs.set(copy, beganMs)
    copies.set(task, copy)
    const isOurs = (): boolean => !isClosed && copies.get(task) === copy
    const next = await log.readState(task, copy.from, (record) => {
      // Given away meanwhile: its new owner reads on by itself.
      if (!isOurs()) return true
      apply(copy, record)
      copy.from = record.offset + 1
      return false
    })
    if (!isOurs()) return
    copy.from = next
    if (fresh(task) === copy) readAtMs.set(copy, beganMs)
  }

  async function round(): Promise<void> {
    let pauseMs: number = limits.everyMs
    for (let task = 0; task < log.tasks && !isClosed; task += 1) {
      if (own.has(task)) continue
      try {
        await follow(task)
      } catch (error) {
        // Without a copy a take-over reads from the start.
        copies.delete(task)
        pauseMs = limits.pauseAfterErrorMs
        logger('info', 'standby stopped', { task, error: asLogError(error).message })
      }
    }
    if (!isClosed) clock.after(pauseMs, () => void round())
  }

  clock.after(0, () => void round())
  return {
    owned(tasks) {
      own = new Set(tasks)
      for (const task of tasks) copies.delete(task)
    },
    take(task) {
      const copy = fresh(task)
      copies.delete(task)
      own.add(task)
      return copy
    },
    close() {
      isClosed = true
      copies.clear()
    },
  }
}
