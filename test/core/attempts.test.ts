// What is kept of a run's attempts is bounded, however often and in however many words they fail, and what is told of them
// stays true.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { ErrorClass } from '#proto/wellspring/contract/v1/errors_pb.ts'
import { RunState, StepRunSchema, type StepRun } from '#proto/wellspring/journal/v1/state_pb.ts'
import { StepFailureSchema, type StepFailure } from '#proto/wellspring/step/v1/failure_pb.ts'
import {
  attemptFailed,
  attemptFailure,
  beginAttempt,
  endAttempt,
  failureOf,
} from '../../coordinator/core/attempts.ts'
import { loadPipeline } from '../../coordinator/core/pipeline/check.ts'
import { takeChanges } from '../../coordinator/core/state.ts'
import { cutBytes, traceparentIn } from '../../coordinator/core/text.ts'
import { runTime } from '../../coordinator/core/timeline.ts'
import { pipeline as levels } from '../pipelines/echo-levels.ts'
import { PLATE, story } from './plate.ts'

const failure = (reason: string, message: string, of: ErrorClass = ErrorClass.RETRYABLE) =>
  create(StepFailureSchema, { class: of, reason, message })

/** One attempt that takes a second, and fails. */
function failOnce(run: StepRun, number: number, atMs: number, why: StepFailure): void {
  run.attempt = number
  beginAttempt(run, atMs)
  endAttempt(run, { startedMs: atMs + 100, endedMs: atMs + 1_000, replica: 'r:1' })
  attemptFailed(run, why)
}

test('twelve attempts that fail for one reason hold its words once, and the last of them', () => {
  const run = create(StepRunSchema)
  for (let number = 1; number <= 12; number += 1)
    failOnce(run, number, number * 10_000, failure('GONE', `attempt ${number} found nothing`))
  assert.deepEqual(
    (run.trouble?.failures ?? []).map(({ message }) => message),
    ['attempt 12 found nothing'],
  )
  assert.deepEqual(
    run.attempts.map(({ number }) => number),
    [5, 6, 7, 8, 9, 10, 11, 12],
  )
  assert.equal(run.trouble?.attemptsLeftOut, 4)
  for (const attempt of run.attempts) assert.equal(attemptFailure(run, attempt)?.reason, 'GONE')
  assert.equal(failureOf(run)?.message, 'attempt 12 found nothing')
})

test('of many reasons the last three are kept with their words, and no attempt looks as if it had gone well', () => {
  const run = create(StepRunSchema)
  for (const [at, reason] of ['A', 'B', 'C', 'A', 'D', 'B', 'A'].entries())
    failOnce(run, at + 1, at * 10_000, failure(reason, `${reason} ${at}`))
  assert.deepEqual(
    (run.trouble?.failures ?? []).map(({ message }) => message),
    ['D 4', 'B 5', 'A 6'],
  )
  assert.deepEqual(
    run.attempts.map((one) => [one.number, attemptFailure(run, one)?.reason]),
    [
      [1, 'A'],
      [4, 'A'],
      [5, 'D'],
      [6, 'B'],
      [7, 'A'],
    ],
  )
  assert.equal(run.trouble?.attemptsLeftOut, 2)
})

test('put off a thousand times is one entry: since when, until when, how often; its time is told as back-off', () => {
  const run = create(StepRunSchema, { readyMs: 0, state: RunState.BACKOFF })
  const busy = failure('BUSY', 'full', ErrorClass.OVERLOADED)
  for (let time = 0; time < 1_000; time += 1) failOnce(run, 1, time * 2_000, busy)
  failOnce(run, 1, 2_000_000, failure('GONE', 'nothing'))
  failOnce(run, 2, 2_010_000, busy)
  assert.deepEqual(
    run.attempts.map(({ number, times, askedMs, endedMs }) => [number, times, askedMs, endedMs]),
    [
      [1, 1_000, 0, 1_999_000],
      [1, 0, 2_000_000, 2_001_000],
      [2, 0, 2_010_000, 2_011_000],
    ],
  )
  const { intervals, toMs } = runTime(run, 2_020_000)
  assert.equal(
    intervals.reduce((sum, one) => sum + one.toMs - one.fromMs, 0),
    toMs,
  )
  assert.deepEqual(
    intervals.slice(0, 2).map(({ kind, fromMs, toMs: end }) => [kind, fromMs, end]),
    [
      ['backoff', 0, 1_998_100],
      ['work', 1_998_100, 1_999_000],
    ],
  )
})

test('a service that is busy for hours makes a record of state no larger', () => {
  const plate = story(loadPipeline(levels))
  plate.plan()
  plate.announce(['A01/t0/s1/z0/DNA'])
  const sizes: number[] = []
  for (let time = 0; time < 500; time += 1) {
    const [call] = plate.calls
    assert.ok(call)
    plate.fail(call, { class: ErrorClass.OVERLOADED, reason: 'BUSY' }, 1)
    plate.later(2_000)
    plate.fire()
    for (const [key, bytes] of takeChanges(plate.task()))
      if (key === `${PLATE}/A01/t0/s1`) sizes.push(bytes?.length ?? 0)
  }
  assert.equal(sizes.length, 500)
  assert.ok(Math.max(...sizes) < 400, `${Math.max(...sizes)} bytes`)
})

test('what journal version 3 kept whole is bounded as soon as the run goes on', () => {
  const old = (number: number, reason: string, of: ErrorClass = ErrorClass.RETRYABLE) => ({
    number,
    askedMs: number * 10,
    startedMs: number * 10 + 1,
    endedMs: number * 10 + 2,
    failure: failure(reason, `${reason} `.repeat(500), of),
  })
  const run = create(StepRunSchema, {
    attempt: 31,
    attempts: [
      ...Array.from({ length: 20 }, () => old(1, 'BUSY', ErrorClass.OVERLOADED)),
      ...Array.from({ length: 11 }, (_, at) => old(at + 1, 'GONE')),
    ],
    failure: failure('GONE', 'the last words'),
  })
  assert.equal(failureOf(run)?.message, 'the last words')
  beginAttempt(run, 1_000)
  assert.equal(run.failure, undefined)
  assert.equal(failureOf(run)?.message, 'the last words')
  assert.deepEqual([run.attempts.length, (run.trouble?.failures ?? []).length], [8, 2])
  assert.ok(run.attempts.every((attempt) => attempt.failure === undefined))
  assert.equal(run.trouble?.attemptsLeftOut, 20 + 11 + 1 - 19 - 8)
})

test('text is cut in bytes, at a character, and marked', () => {
  assert.equal(cutBytes('plain', 5), 'plain')
  assert.equal(cutBytes('plainly', 6), 'pla…')
  assert.equal(cutBytes('äöü', 6), 'äöü')
  assert.equal(cutBytes('äöüß', 7), 'äö…')
  assert.equal(cutBytes('🍎🍎', 7), '🍎…')
  assert.equal(cutBytes('\ud800', 10), '\ufffd')
  for (let max = 3; max < 40; max += 1)
    assert.ok(Buffer.byteLength(cutBytes('a🍎ä苹'.repeat(10), max)) <= max)
})

test('of a header only a traceparent is kept', () => {
  const parent = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`
  assert.equal(traceparentIn(parent), parent)
  assert.equal(traceparentIn(`${parent}-${'x'.repeat(300_000)}`), parent)
  for (const other of ['', 'x', ` ${parent}`, parent.toUpperCase()])
    assert.equal(traceparentIn(other), '')
})
