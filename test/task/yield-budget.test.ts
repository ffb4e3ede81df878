// Many inputs are taken in by turns of the event loop, and tasks take turns too.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createYieldBudget } from '../../coordinator/task/yield-budget.ts'
import type { Clock } from '../../coordinator/clock.ts'

test('each turn takes so many inputs, of one task after the other', () => {
  const turns: (() => void)[] = []
  const clock: Clock = {
    nowMs: () => 0,
    monotonicMs: () => 0,
    after(_delayMs, run) {
      turns.push(run)
      return () => {}
    },
  }
  const yieldBudget = createYieldBudget({ clock, limits: { inputsPerTurnMax: 16 } })
  const seen: string[] = []
  const task = (name: string, inputs: number) => {
    let left = inputs
    const take = (): void => {
      let taken = 0
      while (left > 0 && yieldBudget.spend(take)) {
        left -= 1
        taken += 1
      }
      if (taken > 0) seen.push(`${name}${taken}`)
    }
    return take
  }
  for (const take of [task('a', 40), task('b', 20), task('c', 2)]) take()
  for (let next = turns.shift(); next; next = turns.shift()) {
    assert.equal(turns.length, 0, 'one turn at a time')
    seen.push('|')
    next()
  }
  assert.equal(seen.join(' '), 'a16 | a16 | b16 | c2 a8 b4 |')
})
