// A task with many inputs lets others have their turn.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { breath } from '../../coordinator/log/breath.ts'
import type { Clock } from '../../coordinator/log/clock.ts'
import { limits } from '../../coordinator/log/limits.ts'

test('after so many inputs the rest is taken in another turn, which is asked for once', () => {
  const turns: (() => void)[] = []
  const clock: Clock = {
    nowMs: () => 0,
    monotonicMs: () => 0,
    after(_delayMs, run) {
      turns.push(run)
      return () => {}
    },
  }
  let waiting = 40
  const perTurn: number[] = []
  const own = breath({ clock, limits: { ...limits, inputsPerTurnMax: 16 } }, take)
  function take(): void {
    let taken = 0
    for (; waiting > 0 && own.lasts(taken); taken += 1) waiting -= 1
    perTurn.push(taken)
  }
  take()
  own.lasts(16)
  assert.equal(turns.length, 1)
  for (let next = turns.shift(); next; next = turns.shift()) next()
  assert.deepEqual(perTurn, [16, 16, 8])
})
