// One way to ask again: while what went wrong passes by itself, with growing pauses, for so long.
import { setTimeout as sleep } from 'node:timers/promises'

/** Pauses double from the first to the longest; no try begins after the total. */
export type Patience = {
  readonly firstMs: number
  readonly maxMs: number
  readonly totalMs: number
}

/** Rejects with the error of the last try: one that does not pass, or the first after the total. */
export async function retried<T>(
  work: () => Promise<T>,
  { firstMs, maxMs, totalMs }: Patience,
  isPassing: (error: unknown) => boolean,
): Promise<T> {
  const endMs = performance.now() + totalMs
  for (let waitMs = firstMs; ; waitMs = Math.min(waitMs * 2, maxMs)) {
    try {
      return await work()
    } catch (error) {
      if (!isPassing(error) || performance.now() > endMs) throw error
    }
    await sleep(waitMs)
  }
}
