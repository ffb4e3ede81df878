import assert from 'node:assert/strict'
import { test } from 'node:test'
import { RunState, type StepRun } from '#proto/wellspring/journal/v1/state_pb.ts'
import { runTime, shareTime } from '../../coordinator/core/timeline.ts'
import { noon, run } from '../control/plate.ts'

test('a run is tiled by what it waited for and what it did', () => {
  assert.deepEqual(drawn(run(0, 0, RunState.BACKOFF), 20_000), [
    'queue 0..100 a1',
    'work 100..1100 a1',
    'backoff 1100..5000 a2',
    'work 5000..6000 a2',
    'backoff 6000..20000',
  ])
  assert.deepEqual(drawn(run(0, 0, RunState.RUNNING), 700), ['work 0..700 a1'])
})

test('an attempt that never left its queue only waited', () => {
  const attempts = [{ number: 1, askedMs: noon + 10, startedMs: 0, endedMs: noon + 500 }]
  const parked = run(0, 0, RunState.PARKED, { attempts, endedMs: noon + 500 })
  assert.deepEqual(drawn(parked, 900), ['queue 0..500 a1'])
})

test('a run parked at the end of its time waited until then', () => {
  const parked = run(0, 0, RunState.PARKED, { endedMs: noon + 9_000 })
  assert.equal(drawn(parked, 50_000).at(-1), 'backoff 6000..9000')
})

test('clocks that disagree never make time overlap or run backwards', () => {
  const attempts = [
    { number: 1, askedMs: noon - 50, startedMs: noon + 400, endedMs: noon + 300 },
    { number: 2, askedMs: noon + 200, startedMs: noon + 250, endedMs: noon + 600 },
  ]
  const odd = run(0, 0, RunState.DONE, { attempts, endedMs: noon + 600 })
  assert.deepEqual(drawn(odd, 900), ['queue 0..300 a1', 'work 300..600 a2'])
})

test('where runs overlap, work counts first; what nothing covers is the queue', () => {
  const { DONE, BACKOFF } = RunState
  const intervals = [run(0, 0, DONE), run(1, 0, BACKOFF)].flatMap(
    (one) => runTime(one, noon + 10_000).intervals,
  )
  const waiting = { kind: 'siblings', fromMs: noon + 11_000, toMs: noon + 12_000 } as const
  assert.deepEqual(shareTime([...intervals, waiting], noon, noon + 12_500), {
    work: 2_000,
    queue: 100 + 1_000 + 500,
    backoff: 7_900,
    siblings: 1_000,
  })
})

function drawn(one: StepRun, nowMs: number): string[] {
  return runTime(one, noon + nowMs).intervals.map(({ kind, fromMs, toMs, attempt }) =>
    `${kind} ${fromMs - noon}..${toMs - noon} ${attempt ? `a${attempt.number}` : ''}`.trim(),
  )
}
