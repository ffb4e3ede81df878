// What cannot be is not committed: each assertion is shown a state that breaks it.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { ErrorClass } from '#proto/wellspring/contract/v1/errors_pb.ts'
import { InvariantBroken } from '../../coordinator/core/invariant.ts'
import { loadPipeline } from '../../coordinator/core/pipeline/check.ts'
import { emptyTask } from '../../coordinator/core/state.ts'
import { addRecord, emptyBatch, flushRecords } from '../../coordinator/task/batch.ts'
import { root } from '../../dev/tools.ts'
import { pipeline } from '../pipelines/echo-levels.ts'
import { PLATE, story } from './plate.ts'

const levels = loadPipeline(pipeline)
const IMAGES = ['s1/z0/DNA', 's1/z0/RNA', 's2/z0/DNA', 's2/z0/RNA'].map((name) => `A01/t0/${name}`)

function begun(): ReturnType<typeof story> {
  const plate = story(levels)
  plate.plan()
  plate.announce(IMAGES)
  return plate
}

const breaks = (invariant: string, at: string) => (error: unknown) => {
  assert.ok(error instanceof InvariantBroken)
  assert.deepEqual([error.invariant, error.at], [invariant, at])
  assert.match(error.message, new RegExp(`^invariant ${invariant} is broken at `))
  return true
}

test('I1: no more runs go on than were set aside', () => {
  const plate = begun()
  const [call] = plate.calls
  assert.ok(call)
  plate.fail(call, { class: ErrorClass.POISON, reason: 'TRUNCATED' })
  const state = plate.task().plates.get(PLATE)
  assert.equal(state?.parked, 1)
  state.parked = 0
  assert.throws(
    () => plate.command({ case: 'redrive', value: { entity: call.entity } } as never),
    breaks('I1', call.entity),
  )
})

test('I1: no more images are taken up again than had ended', () => {
  const plate = begun()
  const [call] = plate.calls
  assert.ok(call)
  plate.fail(call, { class: ErrorClass.POISON, reason: 'TRUNCATED' })
  const state = plate.task().plates.get(PLATE)
  assert.equal(state?.failed, 1)
  state.failed = 0
  assert.throws(
    () => plate.command({ case: 'redrive', value: { entity: call.entity } } as never),
    breaks('I1', call.entity),
  )
})

test('I2: a result is of an attempt that was made', () => {
  const plate = begun()
  const [call] = plate.calls
  assert.ok(call)
  const site = plate.task().sites.get(`${PLATE}/A01/t0/s1`)
  for (const image of site?.images ?? []) for (const run of image.runs) run.attempts = []
  assert.throws(
    () => plate.answer(call, { kind: 'done', output: new Uint8Array() }),
    breaks('I2', call.entity),
  )
})

test('I1: an outcome that is told twice ends its run once', () => {
  const plate = begun()
  const [call] = plate.calls
  assert.ok(call)
  plate.answerAll()
  const before = plate.results().length
  plate.answer(call, { kind: 'done', output: new Uint8Array() })
  assert.equal(plate.results().length, before)
})

test('I4: an image that the plan does not name is not among the members that are done', () => {
  const plate = story(levels)
  plate.announce(['A01/t0/s1/z0/GFP', ...IMAGES])
  plate.plan()
  plate.answerAll()
  const closes = plate.closes().filter(({ entity }) => entity === `${PLATE}/A01/t0/s1`)
  assert.deepEqual(
    closes.map(({ done, expected }) => [done, expected]),
    closes.map(() => [2, 2]),
  )
  assert.ok(closes.length > 0)
})

test('T2: a flush writes to the partitions of its task alone', () => {
  const batch = emptyBatch()
  const head = {
    task: 3,
    flushSeq: 1,
    next: { 'images.v1': 0, 'commands.v1': 0 },
    writer: { producerId: 1, epoch: 0 },
    withStateDigest: false,
    crashGuard: { began: [], strikes: 0 },
  }
  const record = { topic: 'results.v1', key: 'k', value: null, headers: {} } as const
  addRecord(batch, { ...record, partition: 3 })
  addRecord(batch, { ...record, topic: 'plate-events.v1', partition: 7 })
  assert.equal(flushRecords(batch, emptyTask('test', levels), head).length, 3)
  addRecord(batch, { ...record, partition: 4 })
  assert.throws(() => flushRecords(batch, emptyTask('test', levels), head), breaks('T2', 'task 3'))
})

test('every number that code asserts is defined in INVARIANTS.md', () => {
  const source = readFileSync(join(root, 'coordinator/core/invariant.ts'), 'utf8')
  const listed = readFileSync(join(root, 'coordinator/INVARIANTS.md'), 'utf8')
  const union = /type InvariantId =([^\n]+)/.exec(source)?.[1] ?? ''
  const numbers = [...union.matchAll(/'([TI]\d+)'/g)].map(([, number = '']) => number)
  assert.ok(numbers.length >= 5)
  for (const number of numbers) assert.match(listed, new RegExp(`^${number} `, 'm'), number)
})
