// Long looks at state, taken in slices: the coordinator's other work goes on in between.
import { setImmediate } from 'node:timers/promises'

const sliceMs = 5

/** Drives a generator to its end, giving way every 5 ms, and returns what it returns. */
export async function sliced<T>(work: Generator<unknown, T>, signal?: AbortSignal): Promise<T> {
  let giveWayAt = performance.now() + sliceMs
  for (;;) {
    const next = work.next()
    if (next.done) return next.value
    if (performance.now() < giveWayAt) continue
    await setImmediate()
    signal?.throwIfAborted()
    giveWayAt = performance.now() + sliceMs
  }
}
