// Takes a task over, again and again until it succeeds: what failed is told apart by what must be waited for.
import { emptyTask } from './core/state.ts'
import { pause } from './log/clock.ts'
import type { LogError } from './log/port.ts'
import { asLogError } from './log/port.ts'
import type { Restored } from './log/restore.ts'
import { nothingRead, takeOver } from './log/restore.ts'
import type { TaskOptions } from './task-options.ts'

export type TakingOver = {
  /** Takes the task over. `failed`: why it was given up just now; then what that asks for is waited for first. */
  begin(failed?: LogError): void
  /** The group confirmed the assignment by a heartbeat sent at this monotonic moment, or by a new generation. */
  confirmed(sentAtMs: number): void
  /** Whatever is under way is nobody's. */
  end(): void
}

/** `taken` is called once for each begin(), unless end() comes before. */
export function takingOver(options: TaskOptions, taken: (restored: Restored) => void): TakingOver {
  const { task, log, pipeline, owner, standby, clock, limits, logger } = options
  /** Counts what was begun. */
  let life = 0
  let waiting: { readonly afterMs: number; readonly resolve: () => void } | undefined

  async function run(born: number, before: LogError | undefined): Promise<void> {
    if (before?.kind === 'fenced') await confirmation()
    const isWanted = (): boolean => born === life
    for (let tries = 0; isWanted(); tries += 1) {
      try {
        // Once: what a failed try has read on is not trusted.
        const copy = standby?.take(task)
        const back = copy ?? nothingRead(emptyTask(owner.application, pipeline, limits))
        const restored = await takeOver({ log, task, back, owner, isWanted })
        if (isWanted()) return taken(restored)
        return await restored.writer.close()
      } catch (error) {
        if (!isWanted()) return
        const failed = asLogError(error)
        if (failed.kind === 'fatal') return options.fatal(failed)
        logger('info', 'take-over failed', { task, kind: failed.kind, error: failed.message })
        if (failed.kind === 'fenced') await confirmation()
        else
          await pause(
            clock,
            Math.min(limits.takeOverPauseMaxMs, limits.takeOverPauseMinMs * 2 ** tries),
          )
      }
    }
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
      void run(life, failed)
    },
    confirmed(sentAtMs) {
      if (!waiting || sentAtMs <= waiting.afterMs) return
      release()
    },
    end() {
      life += 1
      release()
    },
  }
}
