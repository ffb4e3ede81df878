// A slice of `npm run faults`: real processes under faults of a fixed seed and of a fresh one, judged by every invariant.
import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { test } from 'node:test'
import { boundsFor } from './bounds.ts'
import { echoLevels } from './pipelines.ts'
import { run, type RunResult } from './run.ts'
import { schedule } from './schedule.ts'

const MINUTES = 0.5
const TASKS = 4
const RATE = 24

async function judged(seed: number): Promise<RunResult> {
  const drawn = {
    seed,
    minutes: MINUTES,
    coordinators: 2,
    brokers: 1,
    sessionTimeoutMs: 3_000,
    tasks: TASKS,
  }
  const result = await run({
    ...drawn,
    pipeline: 'echo-levels.ts',
    judged: echoLevels,
    imagesPerSecond: RATE,
    faults: schedule({ ...drawn, withBrokerKills: false }),
    sampleEveryMs: 1_000,
    bounds: boundsFor(RATE),
    digestEvery: 1,
    say: () => {},
  })
  assert.deepEqual(
    result.complaints,
    [],
    `again: npm run faults -- --seed ${seed} --minutes ${MINUTES} --coordinators 2 --tasks ${TASKS} --rate ${RATE} ` +
      '--session-timeout-ms 3000 --no-broker-kills',
  )
  assert.ok(
    result.report.done > 100,
    `only ${result.report.done} results: too little to prove anything`,
  )
  return result
}

test('coordinators are killed, stopped and cut off, and every invariant holds (seed 2)', async () => {
  const { events, injected } = await judged(2)
  assert.ok(injected.length > 10)
  assert.ok(events.some((one) => one.kind === 'ended' && one.how === 'SIGKILL'))
})

test('the same under a seed that nobody has seen', async (t) => {
  const seed = randomInt(1_000_000)
  t.diagnostic(`seed ${seed}`)
  await judged(seed)
})
