// Preload of a coordinator (`node --import`): how late its event loop is. SIGUSR2 appends what was seen since the last
// one to WELLSPRING_BENCH_DELAYS. Production code knows nothing of it.
import { appendFileSync } from 'node:fs'
import { monitorEventLoopDelay } from 'node:perf_hooks'

export type Delays = {
  readonly p50Ms: number
  readonly p99Ms: number
  readonly maxMs: number
  readonly residentMb: number
  readonly heapMb: number
}

/** A timer of so long is what is late; it counts as nothing. */
const RESOLUTION_MS = 5

const file = process.env['WELLSPRING_BENCH_DELAYS']
if (file !== undefined) {
  const histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
  histogram.enable()
  process.on('SIGUSR2', () => {
    const late = (nanos: number): number =>
      Math.max(0, Math.round(nanos / 1e5 - 10 * RESOLUTION_MS) / 10)
    const { rss, heapUsed } = process.memoryUsage()
    const seen: Delays = {
      p50Ms: late(histogram.percentile(50)),
      p99Ms: late(histogram.percentile(99)),
      maxMs: late(histogram.max),
      residentMb: Math.round(rss / 1e6),
      heapMb: Math.round(heapUsed / 1e6),
    }
    histogram.reset()
    appendFileSync(file, `${JSON.stringify(seen)}\n`)
  })
}
