// A coordinator is asked to end while calls run, and another one joins: tasks move, calls go on, none is made twice.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { imageRecords, openStage, planOf, planRecord } from './stage.ts'

type Line = { readonly key: string; readonly entity: string; readonly start: number }

/** From SIGTERM until every plate began something new, beside the time that lies between two of its images. */
const goesOnWithinMs = 2_000

test('SIGTERM and a newcomer hand tasks over within 2 s, and no call is made twice', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'wellspring-hand-over-'))
  const log = join(dir, 'calls.jsonl')
  const stage = await openStage({
    pipeline: 'echo-levels.ts',
    tasks: 4,
    echo: { WELLSPRING_ECHO_DELAY_MS: '400', WELLSPRING_ECHO_LOG: log },
  })
  try {
    const [first] = await Promise.all([
      stage.coordinator('c1'),
      stage.coordinator('c2', { WELLSPRING_STANDBY: '1' }),
    ])
    const plans = ['P1', 'P2', 'P3', 'P4', 'P5', 'P6'].map((name) =>
      planOf(name, { wells: 10, sites: 2, channels: 3 }),
    )
    await stage.client.produce(plans.map(planRecord))
    // In turn over the plates, so that every task has something to begin at any moment.
    const perPlate = plans.map(imageRecords)
    let termMs = 0
    let newcomer: Promise<unknown> = Promise.resolve()
    for (let at = 0; at < 60; at += 1) {
      await stage.client.produce(perPlate.flatMap((plate) => plate.slice(at, at + 1)))
      if (at === 20) {
        process.kill(first.pid, 'SIGTERM')
        termMs = Date.now()
      }
      if (at === 40) newcomer = stage.coordinator('c3', { WELLSPRING_STANDBY: '1' })
      await sleep(100)
    }
    await newcomer
    const { missing, duplicate, unplanned, holes } = await stage.untilDone(60_000)
    assert.deepEqual([missing, duplicate, unplanned, holes], [0, 0, 0, 0])
    const lines = readFileSync(log, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Line)
    const gaps = plans.map(({ plate }) => longestGapMs(lines, `E/${plate}/`, termMs))
    console.log(`longest time without a new call per plate: ${gaps.join(', ')} ms`)
    for (const gap of gaps) assert.ok(gap <= goesOnWithinMs + 100, `${gap} ms`)
    const twice = [...Map.groupBy(lines, ({ key }) => key).values()].filter((same) => same[1])
    assert.deepEqual(twice, [])
  } finally {
    await stage.close()
    await rm(dir, { recursive: true, force: true })
  }
})

/** Longest time between two calls for images of a plate that began around and after a moment. */
function longestGapMs(lines: readonly Line[], plate: string, fromMs: number): number {
  const starts = lines
    .filter(({ entity }) => entity.startsWith(plate) && entity.split('/').length === 8)
    .map(({ start }) => start)
    .toSorted((a, b) => a - b)
  const at = starts.findLastIndex((start) => start <= fromMs)
  return Math.max(...starts.slice(at).map((start, index, all) => start - (all[index - 1] ?? start)))
}
