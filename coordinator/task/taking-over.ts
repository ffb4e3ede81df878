// Takes a task over, again and again until it succeeds: what failed is told apart by what must be waited for. What does
// not pass by itself keeps the task down, with growing pauses, and a person is told why; the other tasks run.
import { emptyTask } from '../core/state.ts'
import { pause } from '../clock.ts'
import { LogError, asLogError } from '@wellspring/kafka/errors.ts'
import { lookAgain, nothingRead, takeOver, type Restored } from './restore.ts'
import { troubleOf, type Trouble } from './trouble.ts'
import type { TaskOptions } from './options.ts'
import { inTask } from './scope.ts'

/** A task that cannot run. Times are UTC milliseconds. */
export type Down = {
  readonly trouble: Trouble
  readonly sinceMs: number
  readonly tries: number
  readonly nextTryMs: number
}

/** An input cannot be read on: what is lost, if anything is, is found out by taking the task over again. */
export const OUT_OF_RANGE = new LogError('unknown', 'an input is outside the log')

export type TakingOver = {
  /** Takes the task over. `failed`: why it was given up just now; then what that asks for is waited for first. */
  begin(failed?: unknown): void
  /** The group confirmed the assignment by a heartbeat sent at this monotonic moment, or by a new generation. */
  confirmed(sentAtMs: number): void
  /** Nothing that is under way counts any more. */
  end(): void
  /** Why the task is down. */
  down(): Down | undefined
  /** What went wrong last, of a task that is being taken over and not down. */
  lastError(): string
}

/** `taken` is called once for each begin(), unless end() comes before. */
export function takingOver(options: TaskOptions, taken: (restored: Restored) => void): TakingOver {
  const { task, log, pipeline, owner, standby, clock, limits, logger } = options
  /** Counts what was begun. */
  let life = 0
  let waiting: { readonly afterMs: number; readonly resolve: () => void } | undefined
  let down: Down | undefined
  let lastError = ''
  /** Kept while the task runs again, until it has done so for long: what comes back at once waits longer. */
  let troubles = { count: 0, sinceMs: 0, lastMs: -Infinity }
  let told = { words: '', atMs: -Infinity }

  async function run(born: number, before: unknown): Promise<void> {
    const isWanted = (): boolean => born === life
    let failed = before
    for (let tries = 0; ; tries += 1) {
      if (failed !== undefined) await waitedFor(failed, tries, isWanted)
      if (!isWanted()) return
      try {
        // Once: what a failed try has read on is not trusted.
        const copy = standby?.take(task)
        const back = copy ?? nothingRead(emptyTask(owner.application, pipeline, limits))
        const restored = await takeOver({
          log,
          task,
          back,
          owner,
          isWanted,
          nowMs: () => clock.nowMs(),
        })
        if (!isWanted()) return await restored.writer.close()
        down = undefined
        lastError = ''
        tellTaken(restored)
        return taken(restored)
      } catch (error) {
        if (!isWanted()) return
        failed = error
      }
    }
  }

  async function waitedFor(failed: unknown, tries: number, isWanted: () => boolean): Promise<void> {
    const trouble = troubleOf(failed)
    if (trouble) return stayDown(trouble, isWanted)
    const { kind, message } = asLogError(failed)
    lastError = message
    if (tries > 0) logger('info', 'take-over failed', { task, kind, error: message })
    if (kind === 'fenced') return confirmation()
    // What Kafka lists and what it fetches may disagree for a while.
    if (failed === OUT_OF_RANGE) return pause(clock, limits.downPauseMinMs)
    // A flush whose outcome is unknown is read back at once.
    if (tries === 0) return
    const pauseMs = limits.takeOverPauseMinMs * 2 ** (tries - 1)
    await pause(clock, Math.min(limits.takeOverPauseMaxMs, pauseMs))
  }

  /** Until it is worth a try, and the group says that the task is still ours. */
  async function stayDown(first: Trouble, isWanted: () => boolean): Promise<void> {
    for (let trouble: Trouble | undefined = first; trouble && isWanted();) {
      const pauseMs = note(trouble)
      await pause(clock, pauseMs)
      if (!isWanted()) return
      trouble = await lookAgain(log, task, trouble).catch(() => trouble)
    }
    // A try claims the task: who has lost it without a word yet must not take it from who runs it.
    if (isWanted()) await confirmation()
  }

  /** Counts the trouble, says it, and tells how long to wait. */
  function note(trouble: Trouble): number {
    const nowMs = clock.nowMs()
    const isFresh = clock.monotonicMs() - troubles.lastMs > limits.downForgetMs
    const { count, sinceMs } = isFresh ? { count: 0, sinceMs: nowMs } : troubles
    troubles = { count: count + 1, sinceMs, lastMs: clock.monotonicMs() }
    const maxMs = trouble.lost.length > 0 ? limits.lossLookMaxMs : limits.downPauseMaxMs
    const pauseMs = Math.min(maxMs, limits.downPauseMinMs * 2 ** count)
    down = { trouble, sinceMs, tries: count, nextTryMs: nowMs + pauseMs }
    tell(trouble)
    return pauseMs
  }

  function tell({ reason, message, hint }: Trouble): void {
    const words = `${reason} ${message}`
    const atMs = clock.monotonicMs()
    if (words === told.words && atMs - told.atMs < limits.downLogEveryMs) return
    told = { words, atMs }
    logger('error', 'task is down: the others go on', { task, reason, error: message, hint })
  }

  function tellTaken({ writer, flushSeq, beganLate, next }: Restored): void {
    logger('info', 'task taken over', { task, epoch: writer.id.epoch, flushSeq })
    for (const topic of beganLate)
      logger('warn', 'the first records of an input were deleted before this application began', {
        task,
        topic,
        next: next[topic],
      })
  }

  /** Until the group says anew that the task is ours: without this wait two owners fence each other in turns. */
  function confirmation(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    waiting = { afterMs: clock.monotonicMs(), resolve }
    return promise
  }

  function release(): void {
    waiting?.resolve()
    waiting = undefined
  }

  return {
    begin(failed) {
      life += 1
      inTask(task, () => void run(life, failed))
    },
    confirmed(sentAtMs) {
      if (!waiting || sentAtMs <= waiting.afterMs) return
      release()
    },
    end() {
      life += 1
      release()
    },
    down: () => down,
    lastError: () => lastError,
  }
}
