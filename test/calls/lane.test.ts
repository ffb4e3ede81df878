import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { laneLimits, openLane, type Ended, type Lane } from '../../coordinator/calls/lane.ts'
import type { CallRequest } from '../../coordinator/calls/port.ts'
import { echoRequest } from './requests.ts'

type Bench = {
  readonly lane: Lane
  readonly started: CallRequest[]
  readonly paused: boolean[]
  /** Moves time on and fires timers. */
  readonly pass: (ms: number) => void
  readonly push: (...keys: number[]) => void
  readonly end: (how: Ended['ending'], retryAfterMs?: number) => boolean
}

function bench(t: TestContext, limit: number): Bench {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  let nowMs = 1_000
  const started: CallRequest[] = []
  const paused: boolean[] = []
  const leftMs = new Map<CallRequest, number>()
  const lane = openLane({
    limits: laneLimits,
    nowMs: () => nowMs,
    start(request) {
      started.push(request)
      leftMs.set(request, nowMs)
      return true
    },
    onPause: (now) => paused.push(now),
  })
  lane.resize(limit, limit)
  let ended = 0
  return {
    lane,
    started,
    paused,
    pass(ms) {
      nowMs += ms
      t.mock.timers.tick(ms)
    },
    push(...keys) {
      for (const key of keys) assert.ok(lane.push(echoRequest({ key })))
    },
    end(ending, retryAfterMs) {
      const request = started[ended++]
      assert.ok(request, 'nothing runs')
      return lane.ended(request, { ending, leftMs: leftMs.get(request) ?? 0, retryAfterMs })
    },
  }
}

test('no more calls than the limit, the next at once when one ends', (t) => {
  const { lane, started, push, end } = bench(t, 2)
  push(1, 2, 3, 4)
  assert.equal(started.length, 2)
  end('answered')
  assert.equal(started.length, 3)
  assert.deepEqual(lane.state, { paused: false, inFlight: 2, queued: 1, limit: 2 })
})

test('nothing starts before a replica is there', (t) => {
  const { lane, started, push } = bench(t, 0)
  push(1, 2)
  assert.equal(started.length, 0)
  lane.resize(8, 8)
  assert.equal(started.length, 2)
})

test('overload halves the limit once per round trip, answers win it back', (t) => {
  const { lane, push, end, pass } = bench(t, 8)
  push(1, 2, 3, 4, 5, 6, 7, 8)
  pass(5)
  for (let n = 0; n < 8; n += 1) end('overloaded')
  assert.equal(lane.state.limit, 4)
  pass(5)
  push(9)
  pass(5)
  end('overloaded')
  assert.equal(lane.state.limit, 2)
  for (let n = 0; n < 60; n += 1) {
    push(100 + n)
    end('answered')
  }
  assert.equal(lane.state.limit, 8)
})

test('the wish of the service holds the queue, but not for ever', (t) => {
  const { started, push, end, pass } = bench(t, 4)
  push(1)
  end('overloaded', 500)
  push(2)
  assert.equal(started.length, 1)
  pass(499)
  assert.equal(started.length, 1)
  pass(1)
  assert.equal(started.length, 2)
  end('overloaded', 1e9)
  push(3)
  pass(laneLimits.pauseMaxMs)
  assert.equal(started.length, 3)
})

test('five entities that fail PERMANENT in a row pause the lane', (t) => {
  const { lane, started, paused, push, end, pass } = bench(t, 1)
  push(1, 2, 3, 4, 5, 6, 7)
  for (let n = 0; n < 5; n += 1) assert.equal(end('permanent'), false)
  assert.deepEqual(paused, [true])
  assert.equal(started.length, 5)
  pass(laneLimits.probeEveryMs)
  assert.equal(started.length, 6)
  assert.equal(end('permanent'), true, 'a failed probe goes back into the queue')
  assert.equal(lane.state.queued, 2)
  pass(laneLimits.probeEveryMs - 1)
  assert.equal(started.length, 6)
  pass(1)
  assert.equal(started[6], started[5], 'the same call is the next probe')
  assert.equal(end('answered'), false)
  assert.deepEqual(paused, [true, false])
  assert.equal(started.length, 8)
})

test('what was under way when the lane paused is taken back, too', (t) => {
  const { lane, push, end } = bench(t, 7)
  push(1, 2, 3, 4, 5, 6, 7)
  for (let n = 0; n < 5; n += 1) end('permanent')
  assert.equal(end('permanent'), true)
  assert.equal(end('answered'), false)
  assert.equal(lane.state.paused, false)
})

test('one entity that fails again and again, or an answer in between, does not pause', (t) => {
  const { paused, lane, push, end } = bench(t, 1)
  for (let n = 0; n < 10; n += 1) {
    push(1)
    end('permanent')
  }
  for (let n = 0; n < 20; n += 1) {
    push(n)
    end(n % 4 === 3 ? 'answered' : 'permanent')
  }
  assert.deepEqual(paused, [])
  assert.equal(lane.state.paused, false)
})

test('a call nobody wants any more takes no slot', () => {
  const started: string[] = []
  const lane = openLane({
    limits: laneLimits,
    nowMs: () => 0,
    start(request) {
      started.push(request.idempotencyKey)
      return false
    },
    onPause: () => {},
  })
  lane.resize(1, 1)
  lane.push(echoRequest({ key: 1 }))
  lane.push(echoRequest({ key: 2 }))
  assert.equal(started.length, 2)
  assert.equal(lane.state.inFlight, 0)
})
