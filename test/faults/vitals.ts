// Preload of a coordinator: tells what only the process itself can see, its heap and how late its event loop is, to the
// file that FAULTS_VITALS names. What can be seen from outside is not asked of it (watch.ts).
import { writeFileSync } from 'node:fs'
import { monitorEventLoopDelay } from 'node:perf_hooks'

const EVERY_MS = 2_000

/** What the file holds, as JSON; the delay is that of the last 2 s. */
export type Vitals = {
  readonly pid: number
  readonly heapBytes: number
  readonly loopDelayP99Ms: number
}

const file = process.env['FAULTS_VITALS']

if (file !== undefined) {
  const delays = monitorEventLoopDelay({ resolution: 10 })
  delays.enable()
  setInterval(() => {
    const vitals: Vitals = {
      pid: process.pid,
      heapBytes: process.memoryUsage().heapUsed,
      loopDelayP99Ms: Math.round(delays.percentile(99) / 1e6),
    }
    delays.reset()
    writeFileSync(file, JSON.stringify(vitals))
  }, EVERY_MS).unref()
}
