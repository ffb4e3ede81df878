import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Desk } from '../../coordinator/calls/desk.ts'
import { openDesk } from '../../coordinator/calls/desk.ts'
import type { Outcome } from '../../coordinator/calls/port.ts'
import { echoRequest } from './requests.ts'

const timing = { startedMs: 0, endedMs: 0, replica: 'r' }
const done: Outcome = { kind: 'done', output: new Uint8Array(), timing }

/** A desk whose time only moves when told. */
function bench(): { desk: Desk; pass: (ms: number) => void } {
  let nowMs = 0
  let timers: { atMs: number; run: () => void }[] = []
  const desk = openDesk({
    heldOutcomeMs: 30_000,
    nowMs: () => nowMs,
    after: (delayMs, run) => void timers.push({ atMs: nowMs + delayMs, run }),
  })
  const pass = (ms: number): void => {
    nowMs += ms
    const due = timers.filter(({ atMs }) => atMs <= nowMs)
    timers = timers.filter(({ atMs }) => atMs > nowMs)
    for (const { run } of due) run()
  }
  return { desk, pass }
}

const first = echoRequest({ key: 1 })
const second = echoRequest({ key: 2 })

test('a held outcome is told once, to the last who asked, when call() has returned', () => {
  const { desk, pass } = bench()
  assert.ok(desk.take(first, () => {}))
  desk.settle(first.idempotencyKey, done)
  let told = 0
  assert.ok(!desk.take(first, () => assert.fail('replaced before it was told')))
  assert.ok(!desk.take(first, () => (told += 1)))
  assert.equal(told, 0)
  pass(0)
  assert.equal(told, 1)
})

test('who asks again by the same key before the flush is confirmed is told all the same', () => {
  const { desk, pass } = bench()
  desk.take(first, () => {})
  desk.settle(first.idempotencyKey, done)
  let told = 0
  desk.take(first, () => (told += 1))
  desk.release(first.idempotencyKey)
  pass(0)
  assert.equal(told, 1)
  desk.release(first.idempotencyKey)
  assert.ok(!desk.knows(first.idempotencyKey))
})

test('a second outcome of the same call is nothing', () => {
  const { desk } = bench()
  let told = 0
  desk.take(first, () => (told += 1))
  desk.settle(first.idempotencyKey, done)
  desk.settle(first.idempotencyKey, done)
  desk.settle('unknown', done)
  assert.equal(told, 1)
})

test('the 30 s of a lost task count from the loss, or from the outcome that came later', () => {
  const { desk, pass } = bench()
  desk.take(first, () => {})
  desk.settle(first.idempotencyKey, done)
  desk.take(second, () => assert.fail('told'))
  desk.detach(first.task)
  pass(20_000)
  desk.settle(second.idempotencyKey, done)
  pass(9_999)
  assert.ok(desk.knows(first.idempotencyKey))
  pass(1)
  assert.ok(!desk.knows(first.idempotencyKey))
  pass(19_999)
  assert.ok(desk.knows(second.idempotencyKey))
  pass(1)
  assert.ok(!desk.knows(second.idempotencyKey))
})

test('a task that came back keeps what it asked for again', () => {
  const { desk, pass } = bench()
  desk.take(first, () => {})
  desk.settle(first.idempotencyKey, done)
  desk.detach(first.task)
  pass(10_000)
  desk.take(first, () => {})
  pass(0)
  desk.detach(first.task)
  pass(20_000)
  assert.ok(desk.knows(first.idempotencyKey), '30 s from the second loss, not from the first')
  desk.take(first, () => {})
  pass(60_000)
  assert.ok(desk.knows(first.idempotencyKey))
})

test('a call that attaches under a later number is known by that number', () => {
  const { desk } = bench()
  desk.take(first, () => {})
  assert.ok(!desk.knows(first.idempotencyKey, 2))
  assert.ok(!desk.take({ ...first, attempt: 2 }, () => {}))
  assert.ok(desk.knows(first.idempotencyKey, 2))
})

test('a call that never started is forgotten', () => {
  const { desk } = bench()
  desk.take(first, () => {})
  desk.detach(first.task)
  assert.ok(!desk.isWanted(first.idempotencyKey))
  desk.drop(first.idempotencyKey)
  assert.ok(!desk.knows(first.idempotencyKey))
})

test('told outcomes that nobody confirms do not pile up', () => {
  const { desk, pass } = bench()
  desk.take(first, () => {})
  desk.settle(first.idempotencyKey, done)
  pass(599_999)
  desk.take(second, () => {})
  assert.ok(desk.knows(first.idempotencyKey))
  pass(1)
  desk.take(echoRequest({ key: 3 }), () => {})
  assert.ok(!desk.knows(first.idempotencyKey))
  assert.ok(desk.knows(second.idempotencyKey))
})
