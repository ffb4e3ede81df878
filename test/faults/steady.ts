// A run without faults that must hold as much at its end as at its beginning: plates come, are finished, and are retired.
import { steadyBoundsFor } from './bounds.ts'
import { echoLevels } from './pipelines.ts'
import { run, type RunResult } from './run.ts'

const limits = {
  coordinators: 2,
  tasks: 4,
  sessionTimeoutMs: 6_000,
  retireAfterMs: 5_000,
  /** A short run is looked at often enough to have a trend. */
  samplesMin: 24,
  sampleEveryMsMax: 5_000,
} as const

export type SoakOptions = {
  readonly seed: number
  readonly minutes: number
  readonly imagesPerSecond: number
  readonly say: (line: string) => void
}

export function soak({ seed, minutes, imagesPerSecond, say }: SoakOptions): Promise<RunResult> {
  const { coordinators, tasks, sessionTimeoutMs, retireAfterMs } = limits
  const lengthMs = minutes * 60_000
  return run({
    seed,
    minutes,
    coordinators,
    brokers: 1,
    tasks,
    imagesPerSecond,
    sessionTimeoutMs,
    retireAfterMs,
    pipeline: 'echo-levels.ts',
    judged: echoLevels,
    faults: [],
    digestEvery: 0,
    sampleEveryMs: Math.min(limits.sampleEveryMsMax, lengthMs / limits.samplesMin),
    bounds: steadyBoundsFor(lengthMs, imagesPerSecond),
    say,
  })
}
