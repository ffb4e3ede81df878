// Time and chance at the edge: the core gets them as arguments, the simulator brings its own.

export interface Clock {
  /** Whole UTC milliseconds: wall clock at start plus monotonic time since, so that it never runs backwards. */
  nowMs(): number
  /** Milliseconds of a clock that only moves forward, for intervals. */
  monotonicMs(): number
  /** Calls back once, later; the returned function cancels. */
  after(delayMs: number, run: () => void): () => void
}

export function systemClock(): Clock {
  const startedMs = Date.now() - performance.now()
  return {
    nowMs: () => Math.floor(startedMs + performance.now()),
    monotonicMs: () => performance.now(),
    after(delayMs, run) {
      if (delayMs <= 0) {
        const immediate = setImmediate(run)
        return () => clearImmediate(immediate)
      }
      const timer = setTimeout(run, Math.min(delayMs, 2_147_483_647))
      return () => clearTimeout(timer)
    },
  }
}

/** Resolves after delayMs of the clock. */
export function pause(clock: Clock, delayMs: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  clock.after(delayMs, resolve)
  return promise
}
