// Data that ends its program is found out; what was in hand with it is not blamed.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { ErrorClass } from '#proto/wellspring/contract/v1/errors_pb.ts'
import { StepFailureSchema } from '#proto/wellspring/step/v1/failure_pb.ts'
import { loadPipeline } from '../../coordinator/core/pipeline/check.ts'
import type { Call } from '../../coordinator/core/event.ts'
import { pipeline as levelsSpec } from '../pipelines/echo-levels.ts'
import { pipeline as onceSpec } from '../pipelines/echo-once.ts'
import { IMAGES, PLATE, story } from './plate.ts'

const levels = loadPipeline(levelsSpec)
const HOUR_MS = 3_600_000
const { RETRYABLE, POISON, AMBIGUOUS, OVERLOADED } = ErrorClass
const [killer, ...innocents] = IMAGES.map((name) => `${PLATE}/${name}`)

type Told = ReturnType<typeof story>

/** The program ends over all of these calls; whoever had it to itself is told so. */
function ends(plate: Told, calls: readonly Call[], errorClass: ErrorClass = RETRYABLE): void {
  for (const call of calls)
    plate.answer(call, {
      kind: 'failed',
      failure: create(StepFailureSchema, {
        class: errorClass,
        reason: 'BACKEND_DOWN',
        message: `socket closed ${call.attempt}`,
      }),
      programEnded: calls.length === 1 ? 'alone' : 'among-others',
    })
  plate.later(60_000)
  plate.fire()
}

function opened(attemptsMax = 5): Told {
  const pipeline = loadPipeline({
    ...levelsSpec,
    steps: levels.steps.map((step) => step),
  })
  const steps = pipeline.steps.map((step) => ({
    ...step,
    policy: { ...step.policy, attemptsMax, totalTimeoutMs: HOUR_MS },
  }))
  const at: typeof pipeline.at = (level) => steps.filter((step) => step.policy.level === level)
  const plate = story({ ...pipeline, steps, at })
  plate.plan()
  return plate
}

function callOf(plate: Told, entity: string | undefined): Call {
  const call = plate.calls.find((one) => one.entity === entity)
  assert.ok(call, `${entity} is not called`)
  return call
}

test('what ends the program each time is poison; what was there with it is done', () => {
  const plate = opened()
  plate.announce(IMAGES)
  assert.deepEqual(new Set(plate.calls.map(({ alone }) => alone)), new Set([false]))
  ends(plate, plate.calls.slice())
  // Once may be anybody's doing: all again, together.
  assert.deepEqual([plate.calls.length, plate.calls.some(({ alone }) => alone)], [4, false])
  ends(plate, plate.calls.slice())
  assert.deepEqual([plate.calls.length, plate.calls.every(({ alone }) => alone)], [4, true])
  const killing = callOf(plate, killer)
  ends(plate, [killing])
  for (const entity of innocents) assert.equal(callOf(plate, entity).attempt, 3)
  ends(plate, [callOf(plate, killer)])
  assert.equal(
    plate.calls.some(({ entity }) => entity === killer),
    false,
  )
  plate.answerAll()
  const [letter, ...others] = plate.letters()
  assert.deepEqual([letter?.entity, letter?.attempts, others.length], [killer, 4, 0])
  assert.deepEqual([letter?.failure?.class, letter?.failure?.reason], [POISON, 'ENDS_PROGRAM'])
  assert.equal(
    letter?.failure?.message,
    'this image ended the program 4 times; the last time: socket closed 4',
  )
  assert.equal(plate.results().filter(({ step }) => step === 'echo-image').length, 3)
})

test('what was there each time, but never alone, is not blamed', () => {
  const plate = opened(4)
  plate.announce(IMAGES.slice(0, 2))
  for (let attempt = 1; attempt <= 4; attempt += 1) ends(plate, plate.calls.slice())
  assert.deepEqual(
    plate.letters().map(({ failure }) => [failure?.class, failure?.reason]),
    [
      [RETRYABLE, 'BACKEND_DOWN'],
      [RETRYABLE, 'BACKEND_DOWN'],
    ],
  )
})

test('a program that was its own each time, as a command line is: three times', () => {
  const plate = opened()
  plate.announce(IMAGES.slice(0, 1))
  for (let attempt = 1; attempt <= 3; attempt += 1) ends(plate, [callOf(plate, killer)])
  assert.match(
    plate.letters()[0]?.failure?.message ?? '',
    /^this image ended the program 3 times; /,
  )
})

test('with few attempts the second is alone, and the last decides', () => {
  const plate = opened(2)
  plate.announce(IMAGES.slice(0, 2))
  ends(plate, plate.calls.slice())
  assert.deepEqual([plate.calls.length, plate.calls.every(({ alone }) => alone)], [2, true])
  ends(plate, [callOf(plate, killer)])
  plate.answerAll()
  assert.deepEqual(
    plate.letters().map(({ entity, failure }) => [entity, failure?.class, failure?.message]),
    [[killer, POISON, 'this image ended the program 2 times; the last time: socket closed 2']],
  )
})

test('one end is nobody’s fault, even with one attempt', () => {
  const plate = opened(1)
  plate.announce(IMAGES.slice(0, 1))
  ends(plate, [callOf(plate, killer)])
  assert.deepEqual(plate.letters()[0]?.failure?.class, RETRYABLE)
})

test('other failures between do not clear it, a take-over neither; being put off is no end', () => {
  const plate = opened()
  plate.announce(IMAGES.slice(0, 1))
  ends(plate, [callOf(plate, killer)])
  plate.takeOver()
  plate.fail(callOf(plate, killer), { class: OVERLOADED, reason: 'BUSY' })
  plate.later(60_000)
  plate.fire()
  ends(plate, [callOf(plate, killer)])
  plate.fail(callOf(plate, killer), { class: RETRYABLE, reason: 'NOT_YET' })
  plate.later(60_000)
  plate.fire()
  plate.takeOver()
  assert.equal(callOf(plate, killer).alone, true)
  ends(plate, [callOf(plate, killer)])
  assert.match(plate.letters()[0]?.failure?.message ?? '', /ended the program 3 times/)
})

test('a redrive begins anew', () => {
  const plate = opened()
  plate.announce(IMAGES.slice(0, 1))
  for (let attempt = 1; attempt <= 3; attempt += 1) ends(plate, [callOf(plate, killer)])
  plate.command({
    case: 'redrive',
    value: { $typeName: 'wellspring.record.v1.Redrive', entity: PLATE, step: '' },
  })
  plate.fire()
  assert.equal(callOf(plate, killer).alone, false)
  plate.answerAll()
  assert.equal(plate.results()[0]?.entity, killer)
})

test('a step that must not run twice is asked about at its first end, as ever', () => {
  const plate = story(loadPipeline(onceSpec))
  plate.plan()
  plate.announce(IMAGES.slice(0, 1))
  ends(plate, plate.calls.slice(), AMBIGUOUS)
  assert.deepEqual(plate.letters()[0]?.failure?.class, AMBIGUOUS)
})
