import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createCallRegistry, type CallRegistry } from '../../coordinator/calls/registry.ts'
import type { Outcome } from '../../coordinator/calls/port.ts'
import { echoRequest } from './requests.ts'

const timing = { startedMs: 0, endedMs: 0, replica: 'r' }
const done: Outcome = { kind: 'done', output: new Uint8Array(), timing }

/** A registry whose time only moves when told. */
function bench(): { registry: CallRegistry; pass: (ms: number) => void } {
  let nowMs = 0
  let timers: { atMs: number; run: () => void }[] = []
  const registry = createCallRegistry({
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
  return { registry, pass }
}

const first = echoRequest({ key: 1 })
const second = echoRequest({ key: 2 })

test('a held outcome is told once, to the last who asked, when call() has returned', () => {
  const { registry, pass } = bench()
  assert.ok(registry.take(first, () => {}))
  registry.settle(first.idempotencyKey, done)
  let told = 0
  assert.ok(!registry.take(first, () => assert.fail('replaced before it was told')))
  assert.ok(!registry.take(first, () => (told += 1)))
  assert.equal(told, 0)
  pass(0)
  assert.equal(told, 1)
})

test('who asks again by the same key before the flush is confirmed is told all the same', () => {
  const { registry, pass } = bench()
  registry.take(first, () => {})
  registry.settle(first.idempotencyKey, done)
  let told = 0
  registry.take(first, () => (told += 1))
  registry.release(first.idempotencyKey)
  pass(0)
  assert.equal(told, 1)
  registry.release(first.idempotencyKey)
  assert.ok(!registry.knows(first.idempotencyKey))
})

test('a second outcome of the same call is nothing', () => {
  const { registry } = bench()
  let told = 0
  registry.take(first, () => (told += 1))
  registry.settle(first.idempotencyKey, done)
  registry.settle(first.idempotencyKey, done)
  registry.settle('unknown', done)
  assert.equal(told, 1)
})

test('the 30 s of a lost task count from the loss, or from the outcome that came later', () => {
  const { registry, pass } = bench()
  registry.take(first, () => {})
  registry.settle(first.idempotencyKey, done)
  registry.take(second, () => assert.fail('told'))
  registry.detach(first.task)
  pass(20_000)
  registry.settle(second.idempotencyKey, done)
  pass(9_999)
  assert.ok(registry.knows(first.idempotencyKey))
  pass(1)
  assert.ok(!registry.knows(first.idempotencyKey))
  pass(19_999)
  assert.ok(registry.knows(second.idempotencyKey))
  pass(1)
  assert.ok(!registry.knows(second.idempotencyKey))
})

test('a task that came back keeps what it asked for again', () => {
  const { registry, pass } = bench()
  registry.take(first, () => {})
  registry.settle(first.idempotencyKey, done)
  registry.detach(first.task)
  pass(10_000)
  registry.take(first, () => {})
  pass(0)
  registry.detach(first.task)
  pass(20_000)
  assert.ok(registry.knows(first.idempotencyKey), '30 s from the second loss, not from the first')
  registry.take(first, () => {})
  pass(60_000)
  assert.ok(registry.knows(first.idempotencyKey))
})

test('a call that attaches under a later number is known by that number', () => {
  const { registry } = bench()
  registry.take(first, () => {})
  assert.ok(!registry.knows(first.idempotencyKey, 2))
  assert.ok(!registry.take({ ...first, attempt: 2 }, () => {}))
  assert.ok(registry.knows(first.idempotencyKey, 2))
})

test('a call that never started is forgotten', () => {
  const { registry } = bench()
  registry.take(first, () => {})
  registry.detach(first.task)
  assert.ok(!registry.isWanted(first.idempotencyKey))
  registry.drop(first.idempotencyKey)
  assert.ok(!registry.knows(first.idempotencyKey))
})

test('told outcomes that nobody confirms do not pile up', () => {
  const { registry, pass } = bench()
  registry.take(first, () => {})
  registry.settle(first.idempotencyKey, done)
  pass(599_999)
  registry.take(second, () => {})
  assert.ok(registry.knows(first.idempotencyKey))
  pass(1)
  registry.take(echoRequest({ key: 3 }), () => {})
  assert.ok(!registry.knows(first.idempotencyKey))
  assert.ok(registry.knows(second.idempotencyKey))
})
