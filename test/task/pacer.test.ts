// When flushes leave: at once when idle, spaced under load, patient when nobody waits.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Clock } from '../../coordinator/clock.ts'
import { limits, newBudget } from '../../coordinator/task/limits.ts'
import { pacer } from '../../coordinator/task/pacer.ts'

/** A clock moved by hand, and a pacer of task 0 that says when it flushed. */
function stage() {
  let now = 10_000
  const due: { atMs: number; run: () => void }[] = []
  const clock: Clock = {
    nowMs: () => now,
    monotonicMs: () => now,
    after(delayMs, run) {
      const entry = { atMs: now + delayMs, run }
      due.push(entry)
      return () => void due.splice(due.indexOf(entry), 1)
    },
  }
  const budget = newBudget()
  const flushedAt: number[] = []
  const own = pacer({
    task: 0,
    clock,
    limits,
    budget,
    flush() {
      flushedAt.push(now)
      own.left()
    },
  })
  return {
    own,
    budget,
    flushedAt,
    until: (ms: number): void => {
      for (;;) {
        const next = due.toSorted((a, b) => a.atMs - b.atMs)[0]
        if (!next || next.atMs > ms) break
        due.splice(due.indexOf(next), 1)
        now = Math.max(now, next.atMs)
        next.run()
      }
      now = ms
    },
  }
}

test('an idle task flushes at once, then keeps its distance', () => {
  const { own, until, flushedAt } = stage()
  own.want(true)
  until(10_000)
  own.want(true)
  own.want(true)
  until(11_000)
  assert.deepEqual(flushedAt, [10_000, 10_000 + limits.flushSpacingMinMs])
})

test('what nobody waits for is patient, and comes forward with what somebody waits for', () => {
  const { own, until, flushedAt } = stage()
  own.want(false)
  until(10_000 + limits.flushPatienceMs - 1)
  assert.deepEqual(flushedAt, [])
  until(10_000 + limits.flushPatienceMs)
  assert.equal(flushedAt.length, 1)
  until(11_000)
  own.want(false)
  until(11_010)
  own.want(true)
  until(12_000)
  assert.deepEqual(flushedAt.slice(1), [11_010])
})

test('the distance grows with the busy tasks, up to its limit', () => {
  const { own, budget, until, flushedAt } = stage()
  own.want(true)
  until(10_000)
  for (let task = 1; task < 16; task += 1) budget.flushedAtMs.set(task, 10_000)
  own.want(true)
  until(11_000)
  assert.deepEqual(flushedAt, [10_000, 10_000 + limits.flushSpacingMaxMs])
})
