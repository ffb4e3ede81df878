// A failing run is told by its seed, so the schedule must be the seed's alone.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { POINTS } from './points.ts'
import { LIES, pointsLeftOut, POISONS, schedule } from './schedule.ts'

const options = {
  seed: 7,
  minutes: 15,
  coordinators: 3,
  brokers: 1,
  tasks: 6,
  sessionTimeoutMs: 6_000,
  withBrokerKills: true,
} as const

test('the same seed is the same schedule, another seed another', () => {
  assert.deepEqual(schedule(options), schedule(options))
  assert.notDeepEqual(schedule(options), schedule({ ...options, seed: 8 }))
})

test('it is in order of time and ends with the run', () => {
  const times = schedule(options).map(({ atMs }) => atMs)
  assert.deepEqual(
    times,
    times.toSorted((a, b) => a - b),
  )
  assert.ok((times.at(-1) ?? 0) < 15.2 * 60_000)
})

test('a run of 15 minutes has every point, lie and poison; one of a minute says which points it leaves out', () => {
  for (const seed of [1, 2, 3]) {
    const planned = schedule({ ...options, seed })
    assert.deepEqual(pointsLeftOut(planned), [])
    const faults = planned.map(({ fault }) => fault)
    for (const lie of LIES) assert.ok(faults.some((one) => one.kind === 'lie' && one.lie === lie))
    for (const poison of POISONS)
      assert.ok(faults.some((one) => one.kind === 'poison' && one.poison === poison))
    for (const kind of ['kill', 'zombie', 'hand-over', 'broker-kill', 'clock'])
      assert.ok(
        faults.some((one) => one.kind === kind),
        kind,
      )
  }
  const short = pointsLeftOut(schedule({ ...options, minutes: 1 }))
  assert.ok(short.length > 0 && short.length < POINTS.length)
})

test('a long run kills and hands over now and then with nothing else going on', () => {
  const planned = schedule(options)
  const calm = planned.filter(({ atMs }) =>
    planned.every(
      (other) => other.atMs === atMs || other.atMs < atMs - 25_000 || other.atMs > atMs + 9_000,
    ),
  )
  assert.deepEqual(
    calm.map(({ fault }) => fault.kind),
    ['kill', 'hand-over', 'kill', 'hand-over', 'kill'],
  )
})

test('no fault names a coordinator that is not there', () => {
  for (const { fault } of schedule({ ...options, coordinators: 2 }))
    if ('coordinator' in fault) assert.ok(fault.coordinator < 2)
})

test('of three brokers each is killed and stopped, and leaders move, besides all else', () => {
  const three = schedule({ ...options, brokers: 3, minutes: 30 }).map(({ fault }) => fault)
  for (const broker of [0, 1, 2])
    for (const kind of ['broker-kill', 'broker-stop'])
      assert.ok(
        three.some((fault) => fault.kind === kind && 'broker' in fault && fault.broker === broker),
      )
  assert.ok(three.some(({ kind }) => kind === 'leader-move'))
})

test('a stopped process comes back only when its session has ended', () => {
  for (const { fault } of schedule(options))
    if (fault.kind === 'zombie') assert.ok(fault.forMs > options.sessionTimeoutMs)
})
