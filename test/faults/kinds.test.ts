// When kinds of trouble come, by seed.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { KINDS, kindFaults, kindsMs, OUTPUTS } from './kinds/draw.ts'
import { phasesOf, schedule } from './schedule.ts'

const options = {
  seed: 7,
  minutes: 5,
  coordinators: 3,
  brokers: 1,
  sessionTimeoutMs: 6_000,
  withBrokerKills: true,
  tasks: 6,
  kinds: KINDS,
} as const

test('a run of five minutes has every kind with nothing else going on, whatever the seed', () => {
  for (let seed = 1; seed < 50; seed += 1) {
    const drawn = { ...options, seed }
    const [fromMs = 0, toMs = 0] = phasesOf(drawn)?.underMs ?? []
    const planned = schedule(drawn)
    const alone = planned.filter(({ atMs }) => fromMs <= atMs && atMs < toMs)
    const kinds = alone.map(({ fault }) => fault.kind)
    assert.deepEqual(kinds.toSorted(), KINDS.toSorted())
    const [lies = 0] = phasesOf(drawn)?.withoutMs ?? []
    const before = planned.filter(({ atMs }) => lies <= atMs && atMs < fromMs)
    for (const { fault } of before) assert.ok(['lie', 'poison'].includes(fault.kind), fault.kind)
  }
})

test('later they come among all other faults', () => {
  const [, toMs = 0] = phasesOf(options)?.underMs ?? []
  const later = schedule(options).filter(({ atMs }) => atMs >= toMs)
  const kinds = later.filter(({ fault }) => KINDS.some((kind) => kind === fault.kind))
  assert.ok(kinds.length >= 6)
  assert.ok(later.length > 3 * kinds.length)
})

test('the same seed draws the same, and no kind changes the other faults that come', () => {
  assert.deepEqual(schedule(options), schedule(options))
  const faults = (planned: ReturnType<typeof schedule>): string[] =>
    planned.map(({ fault }) => fault.kind).filter((kind) => !KINDS.some((one) => one === kind))
  const without = faults(schedule({ ...options, kinds: [] }))
  const [first = '', ...rest] = faults(schedule(options))
  assert.equal(first, without[0])
  assert.ok(rest.length < without.length, 'there is less time for them')
})

test('what is drawn is what there is: partitions, coordinators, outputs by turns', () => {
  const drawn = { ...options, minutes: 60 }
  const faults = kindFaults(drawn, 0).map(({ fault }) => fault)
  for (const fault of faults) {
    if (fault.kind === 'retention') assert.ok(fault.partition < options.tasks)
    if (fault.kind === 'otlp-flood') assert.ok(fault.coordinator < options.coordinators)
  }
  const outputs = faults.flatMap((fault) => (fault.kind === 'fifo-output' ? [fault.output] : []))
  assert.deepEqual(outputs.slice(0, 3).toSorted(), OUTPUTS.toSorted())
  const odd = faults.flatMap((fault) => (fault.kind === 'odd-replica' ? [fault.variant] : []))
  assert.equal(odd[0], 'renumbered')
  assert.ok(odd.includes('grown'))
})

test('a short run has some of them, and for less than a third of it alone', () => {
  assert.equal(kindsMs({ minutes: 0.5, kinds: KINDS }), 8_000)
  const planned = schedule({ ...options, minutes: 0.5, coordinators: 2 })
  const kinds = planned.filter(({ fault }) => KINDS.some((kind) => kind === fault.kind))
  assert.equal(kinds.length, 2)
  assert.equal(phasesOf({ ...options, minutes: 0.5 }), undefined)
})
