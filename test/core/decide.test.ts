// Stories of one plate, event by event.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ErrorClass } from '#proto/wellspring/contract/v1/errors_pb.ts'
import { ClosedBy } from '#proto/wellspring/record/v1/output_pb.ts'
import { loadPipeline } from '../../coordinator/core/pipeline/check.ts'
import { Member, changesOf } from '../../coordinator/core/state.ts'
import { pipeline as levelsSpec } from '../pipelines/echo-levels.ts'
import { pipeline as onceSpec } from '../pipelines/echo-once.ts'
import { DEADLINE_MS, IMAGES, PLATE, QUORUM_MS, story } from './plate.ts'

const levels = loadPipeline(levelsSpec)
const once = loadPipeline(onceSpec)
const HOUR_MS = 3_600_000
const well = `${PLATE}/A01/t0`

/** "echo-site s1#1" for results below the plate. */
function told(plate: ReturnType<typeof story>): string[] {
  return plate
    .results()
    .map((one) => `${one.step} ${one.entity.slice(PLATE.length + 1)}#${one.revision}`)
}

test('a plate closes level by level as its images are done', () => {
  const plate = story(levels)
  plate.plan()
  plate.announce(IMAGES)
  plate.answerAll()
  assert.deepEqual(told(plate), [
    ...IMAGES.map((name) => `echo-image ${name}#1`),
    'echo-site A01/t0/s1#1',
    'echo-site A01/t0/s2#1',
    'echo-well A01/t0#1',
    'echo-plate #1',
  ])
  assert.deepEqual(
    plate
      .closes()
      .map(({ entity, closedBy, expected, done, holes }) => [
        entity,
        closedBy,
        expected,
        done,
        holes.length,
      ]),
    [
      [`${well}/s1`, ClosedBy.ALL, 2, 2, 0],
      [`${well}/s2`, ClosedBy.ALL, 2, 2, 0],
      [well, ClosedBy.ALL, 2, 2, 0],
      [PLATE, ClosedBy.ALL, 1, 1, 0],
    ],
  )
  assert.ok(plate.keys().includes('plate-events.v1 E'))
  assert.equal(plate.completed.at(-1), `${PLATE}#1`)
})

test('before the plan nothing above the image closes; the plan takes up what came', () => {
  const plate = story(levels)
  plate.announce(IMAGES)
  plate.answerAll()
  assert.equal(plate.results().length, 4)
  assert.equal(plate.closes().length, 0)
  plate.plan()
  plate.answerAll()
  assert.equal(told(plate).at(-1), 'echo-plate #1')
})

test('the same image again is counted, another under its name is refused, one outside the plan too', () => {
  const plate = story(levels)
  plate.plan()
  plate.announce(IMAGES.slice(0, 1))
  plate.announce(IMAGES.slice(0, 1))
  plate.announce(IMAGES.slice(0, 1), 'changed')
  plate.announce(['C03/t0/s1/z0/DNA'])
  const state = plate.task().plates.get(PLATE)
  assert.deepEqual([state?.arrived, state?.duplicate], [1, 1])
  assert.deepEqual(
    plate.letters().map((one) => one.failure?.reason),
    ['IDENTITY_CONFLICT', 'NOT_IN_PLAN'],
  )
  assert.equal(Buffer.from(plate.letters()[0]?.originValue ?? []).toString(), IMAGES[0])
  assert.equal(plate.calls.length, 1)
})

test('an image that never comes: the quorum closes without it, and names the hole', () => {
  const plate = story(levels)
  plate.plan()
  plate.announce(IMAGES.slice(0, 3))
  plate.answerAll()
  plate.later(QUORUM_MS - 1)
  plate.fire()
  assert.equal(plate.closes().length, 1, 'only the whole site')
  plate.later(1)
  plate.fire()
  plate.answerAll()
  const site = plate.closes().find((one) => one.entity === `${well}/s2`)
  assert.deepEqual(
    site?.holes.map(({ entity, reason }) => [entity, reason]),
    [[`${PLATE}/${IMAGES[3]}`, 'NEVER_ARRIVED']],
  )
  assert.equal(site?.closedBy, ClosedBy.QUORUM)
  assert.equal(plate.closes().at(-1)?.closedBy, ClosedBy.QUORUM, 'the plate says so too')
  assert.equal(plate.task().plates.get(PLATE)?.missing, 1)
})

test('below the quorum only the deadline closes', () => {
  const plate = story(levels, 3)
  plate.plan()
  plate.announce(IMAGES)
  plate.answerAll()
  plate.later(QUORUM_MS)
  plate.fire()
  assert.ok(!plate.closes().some((one) => one.entity === PLATE), 'one well of three is no quorum')
  plate.later(DEADLINE_MS - QUORUM_MS)
  plate.fire()
  plate.answerAll()
  const close = plate.closes().at(-1)
  assert.equal(close?.closedBy, ClosedBy.DEADLINE)
  assert.deepEqual(
    close?.holes.map((one) => one.entity),
    [`${PLATE}/A02/t0`, `${PLATE}/A03/t0`],
  )
  assert.equal(plate.task().plates.get(PLATE)?.missing, 8)
})

test('an image in work is waited for, however late the deadline', () => {
  const plate = story(levels)
  plate.plan()
  plate.announce(IMAGES)
  const [slow] = plate.calls
  assert.ok(slow)
  for (const call of plate.calls.slice(1))
    plate.answer(call, { kind: 'done', output: new Uint8Array() })
  plate.later(10 * DEADLINE_MS)
  plate.fire()
  assert.ok(!plate.closes().some((one) => one.entity === well))
  plate.answerAll()
  assert.equal(plate.closes().at(-1)?.closedBy, ClosedBy.ALL)
})

test('late data makes the next revision of what it changes, and of nothing else', () => {
  const plate = story(levels, 2)
  plate.plan()
  plate.announce([...IMAGES.slice(0, 3), ...IMAGES.map((name) => name.replace('A01', 'A02'))])
  plate.answerAll()
  plate.later(QUORUM_MS)
  plate.fire()
  plate.answerAll()
  const before = told(plate).length
  plate.announce(IMAGES.slice(3))
  plate.answerAll()
  assert.deepEqual(told(plate).slice(before), [
    `echo-image ${IMAGES[3]}#1`,
    'echo-site A01/t0/s2#2',
    'echo-well A01/t0#2',
    'echo-plate #2',
  ])
  assert.equal(plate.results().at(-1)?.supersedesRevision, 1)
  assert.equal(plate.task().plates.get(PLATE)?.missing, 0)
})

test('data that arrives while a group runs makes one next revision', () => {
  const plate = story(levels)
  plate.plan()
  plate.announce(IMAGES.slice(0, 1))
  plate.announce(IMAGES.slice(2, 3))
  plate.answerAll()
  plate.later(QUORUM_MS)
  plate.fire()
  const running = plate.calls.filter((call) => call.step.name === 'echo-site')
  assert.equal(running.length, 2)
  plate.announce([IMAGES[1], IMAGES[3]])
  for (const call of plate.calls.filter((one) => one.step.name === 'echo-image'))
    plate.answer(call, { kind: 'done', output: new Uint8Array() })
  assert.equal(plate.calls.length, 2, 'no second run beside the first')
  plate.answerAll()
  const sites = told(plate).filter((one) => one.startsWith('echo-site A01/t0/s1'))
  assert.deepEqual(sites, ['echo-site A01/t0/s1#1', 'echo-site A01/t0/s1#2'])
})

test('poison is parked at once, the group goes on with a hole, and a redrive makes it whole', () => {
  const plate = story(levels)
  plate.plan()
  plate.announce(IMAGES)
  const [bad] = plate.calls
  assert.ok(bad)
  plate.fail(bad, { class: ErrorClass.POISON, reason: 'BAD_DATA' })
  plate.answerAll()
  const site = plate.closes().find((one) => one.entity === `${well}/s1`)
  assert.deepEqual(
    site?.holes.map(({ reason, step }) => [reason, step]),
    [['BAD_DATA', 'echo-image']],
  )
  assert.equal(site?.closedBy, ClosedBy.ALL)
  assert.equal(plate.letters().length, 1)
  const state = () => plate.task().plates.get(PLATE)
  assert.deepEqual([state()?.done, state()?.failed, state()?.parked], [3, 1, 1])

  plate.command({
    case: 'redrive',
    value: { $typeName: 'wellspring.record.v1.Redrive', entity: PLATE, step: '' },
  })
  plate.fire()
  const again = plate.calls[0]
  assert.equal(again?.entity, `${PLATE}/${IMAGES[0]}`)
  assert.equal(again?.generation, 2)
  assert.notEqual(again?.idempotencyKey, bad.idempotencyKey)
  assert.equal(plate.task().wells.get(well)?.members[0], Member.OPEN, 'its site is awaited anew')
  assert.equal(state()?.members[0], Member.OPEN, 'and so is its well')
  plate.answerAll()
  assert.deepEqual([state()?.done, state()?.failed, state()?.parked], [4, 0, 0])
  assert.equal(told(plate).at(-1), 'echo-plate #2')
})

test('transient failures are tried again under one key until the attempts are spent', () => {
  const plate = story(levels)
  plate.plan()
  plate.announce(IMAGES.slice(0, 1))
  const keys = new Set<string>()
  for (let attempt = 1; attempt <= 5; attempt += 1) {
    const call = plate.calls[0]
    assert.equal(call?.attempt, attempt)
    if (!call) return
    keys.add(call.idempotencyKey)
    plate.fail(call, { class: ErrorClass.RETRYABLE, reason: 'NOT_YET' })
    plate.later(5_000)
    plate.fire()
  }
  assert.equal(keys.size, 1)
  assert.equal(plate.calls.length, 0)
  assert.deepEqual(
    plate.letters().map((one) => [one.attempts, one.failure?.reason]),
    [[5, 'NOT_YET']],
  )
})

test('a full service costs no attempt, and its own wish is kept', () => {
  const plate = story(levels)
  plate.plan()
  plate.announce(IMAGES.slice(0, 1))
  for (let time = 0; time < 20; time += 1) {
    const call = plate.calls[0]
    assert.equal(call?.attempt, 1)
    if (!call) return
    plate.fail(call, { class: ErrorClass.OVERLOADED, reason: 'BUSY' }, 3_000)
    plate.later(2_999)
    plate.fire()
    assert.equal(plate.calls.length, 0)
    plate.later(1)
    plate.fire()
  }
  assert.equal(plate.letters().length, 0)
})

test('a take-over calls again what was under way, under the old key and number', () => {
  const plate = story(levels)
  plate.plan()
  plate.announce(IMAGES)
  const before = plate.calls.map((call) => `${call.idempotencyKey} ${call.attempt}`)
  plate.takeOver()
  assert.deepEqual(
    plate.calls.map((call) => `${call.idempotencyKey} ${call.attempt}`).toSorted(),
    before.toSorted(),
  )
  plate.answerAll()
  assert.equal(told(plate).at(-1), 'echo-plate #1')
})

test('what was under way when nobody ran for longer than its total time-out is given the time of an attempt', () => {
  const plate = story(levels)
  plate.plan()
  plate.announce(IMAGES)
  const [first] = plate.calls
  assert.ok(first)
  plate.later(HOUR_MS)
  plate.takeOver()
  const [again] = plate.calls
  assert.equal(again?.timeoutMs, first.step.policy.attemptTimeoutMs)
  assert.ok(first.step.policy.totalTimeoutMs < HOUR_MS)
})

test('a call that is asked for again by a take-over changes no state, however many there are', () => {
  const plate = story(levels)
  plate.plan()
  plate.announce(IMAGES)
  plate.takeOver()
  assert.equal(plate.calls.length, IMAGES.length)
  assert.equal(changesOf(plate.task()).records, 0)
})

test('what an owner whose clock was an hour ahead wrote down is waited for as long as was meant', () => {
  const plate = story(levels)
  plate.plan(1)
  plate.later(HOUR_MS)
  plate.announce(IMAGES.slice(0, 2))
  const [failing, other] = plate.calls
  assert.ok(failing && other)
  plate.fail(failing, { class: ErrorClass.RETRYABLE, reason: 'AGAIN' })
  plate.later(-HOUR_MS)
  plate.takeOver()
  plate.answerAll()
  plate.later(5_000)
  plate.fire()
  assert.equal(plate.calls.length, 1, 'its back-off has passed')
  plate.answerAll()
  plate.later(DEADLINE_MS)
  plate.fire()
  plate.answerAll()
  assert.deepEqual(
    plate.closes().map(({ entity }) => entity.slice(PLATE.length)),
    ['/A01/t0/s1', '/A01/t0', ''],
  )
})

test('what must not run twice waits for its intent, and after a take-over only attaches', () => {
  const plate = story(once)
  plate.plan()
  plate.announce(IMAGES.slice(0, 1))
  assert.deepEqual([plate.calls[0]?.afterCommit, plate.calls[0]?.attachOnly], [true, false])
  plate.takeOver()
  assert.deepEqual([plate.calls[0]?.afterCommit, plate.calls[0]?.attachOnly], [false, true])
  const call = plate.calls[0]
  assert.ok(call)
  plate.fail(call, { class: ErrorClass.AMBIGUOUS, reason: 'OUTCOME_UNKNOWN' })
  assert.deepEqual(
    plate.letters().map((one) => one.failure?.reason),
    ['OUTCOME_UNKNOWN'],
  )
})

test('the operator closes a plate with the holes it has', () => {
  const plate = story(levels, 2)
  plate.plan()
  plate.announce(IMAGES.slice(0, 3))
  plate.answerAll()
  plate.command({
    case: 'close',
    value: { $typeName: 'wellspring.record.v1.ClosePlate', entity: PLATE },
  })
  plate.fire()
  plate.fire()
  plate.answerAll()
  const close = plate.closes().at(-1)
  assert.deepEqual([close?.entity, close?.closedBy], [PLATE, ClosedBy.OPERATOR])
  assert.deepEqual(
    close?.holes.map((one) => one.entity),
    [`${PLATE}/A02/t0`],
  )
})

test('a response that no record can hold is parked with the way out, and blocks nothing', () => {
  const plate = story(levels)
  plate.plan()
  plate.announce(IMAGES)
  const [large] = plate.calls
  assert.ok(large)
  plate.answer(large, { kind: 'done', output: new Uint8Array(60_000) })
  assert.deepEqual(
    plate.letters().map((one) => one.failure?.reason),
    ['RESPONSE_TOO_LARGE'],
  )
  plate.answerAll()
  assert.equal(told(plate).at(-1), 'echo-plate #1')
})
