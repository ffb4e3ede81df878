// When a flush leaves: at once when the task was idle, spaced under load. What nobody waits for, because it puts
// nothing on any topic but state, may keep company for a while: it is found again in the inputs if it is lost.
import type { Clock } from '../clock.ts'
import { flushSpacingMs, type Budget, type Limits } from './limits.ts'

export type Pacer = {
  /** Something is to be flushed. An urgent wish brings a patient one forward. */
  want(isUrgent: boolean): void
  /** A flush leaves now. */
  left(): void
  cancel(): void
}

export type PacerOptions = {
  readonly task: number
  readonly clock: Clock
  readonly limits: Limits
  readonly budget: Budget
  flush(): void
}

export function pacer(options: PacerOptions): Pacer {
  const { task, clock, limits, budget } = options
  let leftAtMs = -Infinity
  let dueAtMs = Infinity
  let stop: (() => void) | undefined

  function cancel(): void {
    stop?.()
    stop = undefined
    dueAtMs = Infinity
  }

  return {
    cancel,
    want(isUrgent) {
      const now = clock.monotonicMs()
      const soonestMs = Math.max(now, leftAtMs + flushSpacingMs(budget, now, limits))
      const wantedMs = isUrgent ? soonestMs : Math.max(soonestMs, now + limits.flushPatienceMs)
      if (wantedMs >= dueAtMs) return
      cancel()
      dueAtMs = wantedMs
      stop = clock.after(wantedMs - now, () => {
        cancel()
        options.flush()
      })
    },
    left() {
      cancel()
      leftAtMs = clock.monotonicMs()
      budget.flushedAtMs.set(task, leftAtMs)
    },
  }
}
