// A standby that stood still: what was deleted meanwhile may have left no trace in the changelog.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { loadPipeline } from '../../coordinator/core/pipeline/check.ts'
import { emptyTask } from '../../coordinator/core/state.ts'
import { openStandby } from '../../coordinator/task/standby.ts'
import { pipeline as levels } from '../pipelines/echo-levels.ts'

const HOUR_MS = 3_600_000

test('a standby that was stopped for longer than tombstones are kept begins anew', async () => {
  const pipeline = loadPipeline(levels)
  let nowMs = 5 * 24 * HOUR_MS
  let round: (() => void) | undefined
  const from: number[] = []
  const standby = openStandby({
    log: {
      tasks: 1,
      readState: (_task, at) => {
        from.push(at)
        return Promise.resolve(100)
      },
    },
    empty: () => emptyTask('standby', pipeline),
    clock: {
      nowMs: () => nowMs,
      monotonicMs: () => nowMs,
      after: (_, run) => {
        round = run
        return () => {}
      },
    },
    logger: () => {},
  })
  const next = async (): Promise<void> => {
    const run = round
    round = undefined
    run?.()
    while (round === undefined) await new Promise(setImmediate)
  }
  await next()
  nowMs += 11 * HOUR_MS
  await next()
  nowMs += 13 * HOUR_MS
  await next()
  assert.deepEqual(from, [0, 100, 0])
  assert.equal(standby.take(0)?.from, 100)

  standby.owned([])
  await next()
  nowMs += 13 * HOUR_MS
  assert.equal(standby.take(0), undefined, 'a stale copy is not handed over')
})
