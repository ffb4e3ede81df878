import assert from 'node:assert/strict'
import { test } from 'node:test'
import { audit, isClean, type AuditReport } from '../../cli/audit.ts'
import type { TopicRecord } from '../../cli/ledger.ts'
import { verifyText } from '../../cli/verify.ts'
import {
  closed,
  deadLetter,
  IMAGE,
  perfectLog,
  PIPELINE,
  plan,
  PLATE,
  refused,
  result,
  SITE,
  stopped,
  WELL,
} from './records.ts'

type Counts = Partial<
  Record<'planned' | 'done' | 'parked' | 'holes' | 'missing' | 'duplicate' | 'unplanned', number>
>

function expect(records: readonly TopicRecord[], counts: Counts): AuditReport {
  const found = audit(records, PIPELINE)
  const { planned, done, parked, holes, missing, duplicate, unplanned } = found
  assert.deepEqual(
    { planned, done, parked, holes, missing, duplicate, unplanned },
    { planned: 5, done: 0, parked: 0, holes: 0, missing: 0, duplicate: 0, unplanned: 0, ...counts },
  )
  return found
}

/** The perfect log without the records of some keys. */
const without = (...parts: readonly string[]): TopicRecord[] =>
  perfectLog().filter(({ key }) => !parts.some((part) => key.startsWith(part)))

test('a perfect log is clean', () => {
  assert.equal(isClean(expect(perfectLog(), { done: 5 })), true)
})

test('no log at all plans nothing and is clean', () => {
  expect([], { planned: 0 })
})

for (const lost of [
  `${IMAGE}/check`,
  `${IMAGE}/clean`,
  `${SITE}/count`,
  `${WELL}/profile`,
  `${PLATE}/judge`,
])
  test(`a lost result of ${lost} is missing, by name`, () => {
    const found = expect(without(lost), { done: 4, missing: 1 })
    assert.deepEqual(found.names.missing, [lost])
    assert.equal(isClean(found), false)
  })

test('a plan alone: everything is missing', () => {
  expect([plan()], { missing: 5 })
})

test('a parked step run is parked, the step after it on the same image is a hole of the site', () => {
  const log = without(`${IMAGE}/`)
  const hole = { entity: IMAGE, reason: 'TRUNCATED', step: 'check' }
  expect([...log, deadLetter(IMAGE, 'check'), closed(SITE, { revision: 2, holes: [hole] })], {
    done: 3,
    parked: 1,
    holes: 1,
  })
})

test('an image that never came is covered by the hole its site names, for all its steps', () => {
  const log = without(`${IMAGE}/`, `${SITE}/close`)
  const site = closed(SITE, { holes: [{ entity: IMAGE, reason: 'NEVER_ARRIVED' }] })
  expect([...log, site], { done: 3, holes: 2 })
})

test('a hole covers everything below it', () => {
  const log = without(`${IMAGE}/`, `${SITE}/`)
  const well = closed(WELL, { revision: 2, holes: [{ entity: SITE, reason: 'NEVER_ARRIVED' }] })
  expect([...log, well], { done: 2, holes: 3 })
})

test('only the latest close counts: a hole that it no longer names covers nothing', () => {
  const log = without(`${IMAGE}/check`, `${SITE}/close`)
  const before = closed(SITE, { revision: 1, holes: [{ entity: IMAGE, reason: 'NEVER_ARRIVED' }] })
  const after = closed(SITE, { revision: 2 })
  expect([...log, before, after], { done: 4, missing: 1 })
  expect([...log, after, before], { done: 4, missing: 1 })
})

test('a close covers only what is below it', () => {
  const other = `${PLATE}/B03/t0`
  const stray = closed(other, { holes: [{ entity: IMAGE, reason: 'NEVER_ARRIVED' }] })
  expect([...without(`${IMAGE}/check`), stray], { done: 4, missing: 1, unplanned: 1 })
})

test('a skipped step is covered by the close of its own level only', () => {
  const skipped = [{ step: 'count', reason: 'INPUT_MISSING' }]
  const log = without(`${SITE}/count`, `${SITE}/close`)
  expect([...log, closed(SITE, { skipped })], { done: 4, holes: 1 })
  expect([...log, closed(SITE), closed(WELL, { revision: 2, skipped })], { done: 4, missing: 1 })
})

test('revisions are no duplicates, the latest one is the end', () => {
  expect([...perfectLog(), result(SITE, 'count', { revision: 2 })], { done: 5 })
})

test('a redriven run that succeeds is done', () => {
  const log = without(`${IMAGE}/check`)
  const redriven = [deadLetter(IMAGE, 'check'), result(IMAGE, 'check', { generation: 2 })]
  expect([...log, ...redriven], { done: 5 })
  expect([...log, ...redriven.toReversed()], { done: 5 })
})

test('a redriven run that fails again is parked once', () => {
  const log = without(`${IMAGE}/check`)
  const twice = [deadLetter(IMAGE, 'check'), deadLetter(IMAGE, 'check', { generation: 2 })]
  expect([...log, ...twice], { done: 4, parked: 1 })
})

test('late data whose revision is parked overtakes the older result', () => {
  expect([...perfectLog(), deadLetter(SITE, 'count', { revision: 2 })], { done: 4, parked: 1 })
})

test('a result key twice is a duplicate', () => {
  const found = expect([...perfectLog(), result(IMAGE, 'check')], { done: 5, duplicate: 1 })
  assert.deepEqual(found.names.duplicate, [`${IMAGE}/check@test-1#1`])
})

test('a close key twice is a duplicate', () => {
  expect([...perfectLog(), closed(WELL)], { done: 5, duplicate: 1 })
})

test('a dead letter twice is a duplicate', () => {
  const log = without(`${IMAGE}/check`)
  expect([...log, deadLetter(IMAGE, 'check'), deadLetter(IMAGE, 'check')], {
    done: 4,
    parked: 1,
    duplicate: 1,
  })
})

test('a result and a dead letter of one revision and generation are a duplicate', () => {
  expect([...perfectLog(), deadLetter(IMAGE, 'check')], { done: 5, duplicate: 1 })
  expect([deadLetter(IMAGE, 'check'), ...perfectLog()], { done: 4, parked: 1, duplicate: 1 })
})

const strangers: readonly [string, TopicRecord][] = [
  ['an image outside the plan', result(`${SITE}/z0/RNA`, 'check')],
  ['a plate without a plan', result('E/P2/a1', 'judge')],
  ['a step that the pipeline lacks', result(IMAGE, 'guess')],
  ['a step at the wrong level', result(SITE, 'check')],
  ['a dead letter of a well outside the plan', deadLetter(`${PLATE}/C07/t0`, 'profile')],
  ['a close outside the plan', closed(`${PLATE}/C07/t0`)],
  ['another time point', result(`${PLATE}/B02/t1`, 'profile')],
]
for (const [what, record] of strangers)
  test(`${what} is unplanned`, () => {
    expect([...perfectLog(), record], { done: 5, unplanned: 1 })
  })

test('records of another pipeline are counted apart, not judged', () => {
  const other = { pipeline: 'test-2' }
  const log = [
    ...perfectLog(),
    result(IMAGE, 'check', other),
    deadLetter('E/P9/a1', 'judge', other),
  ]
  assert.equal(expect(log, { done: 5 }).otherPipelines, 2)
})

test('a plan that was refused plans nothing', () => {
  const wider = plan({ sites: [1, 2] })
  const found = expect([...perfectLog(), wider, refused(wider)], { done: 5 })
  assert.equal(found.refusedInputs, 1)
  expect([...perfectLog(), wider], { planned: 8, done: 5, missing: 3 })
})

test('the same plan twice plans once', () => {
  expect([plan(), ...perfectLog()], { done: 5 })
})

test('a sparse plan expects the sites that its well names', () => {
  const sparse = plan({ sites: [1, 2, 3], wells: [{ well: 'B02', sites: [1] }] })
  expect([sparse, ...perfectLog().slice(1)], { done: 5 })
})

test('planned images that never came, and that no close names, are missing', () => {
  const log = [
    plan({ zPlanes: [0, 1], channels: [{ name: 'DNA' }, { name: 'Cy5' }] }),
    ...perfectLog().slice(1),
  ]
  expect(log, { planned: 11, done: 5, missing: 6 })
  const holes = ['z0/Cy5', 'z1/DNA', 'z1/Cy5'].map((image) => ({
    entity: `${SITE}/${image}`,
    reason: 'NEVER_ARRIVED',
  }))
  expect([...log, closed(SITE, { revision: 2, holes })], { planned: 11, done: 5, holes: 6 })
})

test('holes that a long list left out are believed up to their number', () => {
  const sites = Array.from({ length: 4 }, (_, at) => at + 1)
  const log = [plan({ sites }), ...perfectLog().slice(1)]
  const hole = { entity: `${WELL}/s2`, reason: 'NEVER_ARRIVED' }
  const close = (holesLeftOut: number): TopicRecord =>
    closed(WELL, { revision: 2, holes: [hole], holesLeftOut })
  expect([...log, close(2)], { planned: 14, done: 5, holes: 9 })
  expect([...log, close(1)], { planned: 14, done: 5, holes: 3, missing: 6 })
})

test('a close that left holes out does not cover its own entity', () => {
  const log = [...without(`${WELL}/profile`), closed(WELL, { revision: 2, holesLeftOut: 5 })]
  expect(log, { done: 4, missing: 1 })
})

test('the counts of each plate add up', () => {
  const other = plan({ plate: 'P2' })
  const found = expect([...perfectLog(), other], { planned: 10, done: 5, missing: 5 })
  assert.deepEqual(found.plates, [
    { plate: PLATE, planned: 5, done: 5, parked: 0, holes: 0, missing: 0 },
    { plate: 'E/P2/a1', planned: 5, done: 0, parked: 0, holes: 0, missing: 5 },
  ])
})

test('a plate that was stopped says why it lacks something, and no more when it has all', () => {
  const lacks = expect([...without(`${PLATE}/judge`), stopped(PLATE)], { done: 4, missing: 1 })
  assert.deepEqual(
    [lacks.stopped, lacks.names.stopped, lacks.refusedInputs, isClean(lacks)],
    [1, [`${PLATE}: STATE_TOO_LARGE: a record is too large`], 0, false],
  )
  assert.match(
    verifyText(lacks, 'x'),
    /1 plates were stopped.*\n {2}stopped {2}E\/P1\/a1: STATE_TOO/,
  )
  const has = expect([...perfectLog(), stopped(PLATE)], { done: 5 })
  assert.deepEqual([has.stopped, isClean(has)], [0, true])
})

test('82,944 images are audited within seconds', () => {
  const sites = Array.from({ length: 9 }, (_, at) => at + 1)
  const wells = Array.from({ length: 16 * 24 }, (_, at) => ({
    well: String.fromCharCode(65 + Math.floor(at / 24)) + String((at % 24) + 1).padStart(2, '0'),
  }))
  const zPlanes = [0, 1, 2, 3]
  const channels = Array.from({ length: 6 }, (_, at) => ({ name: `w${at + 1}` }))
  const startedMs = performance.now()
  const found = audit([plan({ wells, sites, zPlanes, channels })], PIPELINE)
  assert.equal(found.missing, 82_944 * 2 + 384 * 9 + 384 + 1)
  assert.equal(found.names.missing.length, 1_000)
  assert.ok(performance.now() - startedMs < 10_000)
})

test('a log without the header wellspring-type is judged as with it: the topic says what its records are', () => {
  const untyped = (records: readonly TopicRecord[]): TopicRecord[] =>
    records.map((one) => ({ ...one, type: '' }))
  expect(untyped(perfectLog()), { done: 5 })
  const parked = [...without(`${IMAGE}/check`), deadLetter(IMAGE, 'check')]
  expect(untyped(parked), { done: 4, parked: 1 })
  const close = closed(WELL, { holes: [{ entity: SITE }] })
  const holes = [...without(IMAGE, SITE, `${WELL}/close`), close]
  expect(untyped(holes), { done: 2, holes: 3 })
})

test('what cannot be read is counted and named, and the rest is judged', () => {
  const odd = (topic: string, value: string, more: Partial<TopicRecord> = {}): TopicRecord => ({
    topic,
    partition: 3,
    offset: 7,
    key: '',
    type: '',
    value: Buffer.from(value),
    ...more,
  })
  const found = expect(
    [
      odd('results.v1', '\xff\xff'),
      odd('dead-letters.v1', 'x', { unreadable: 'offsets 7 to 9: no codec has the number 6' }),
      // The coordinator's to refuse.
      odd('commands.v1', '\xff\xff'),
      ...perfectLog(),
    ],
    { done: 5 },
  )
  assert.equal(found.unreadable, 2)
  const [first = '', second] = found.names.unreadable
  assert.match(first, /^results.v1\/3 at 7: /)
  assert.equal(second, 'dead-letters.v1/3 at 7: offsets 7 to 9: no codec has the number 6')
  assert.ok(isClean(found))
})

test('a plan in a batch that was set aside whole plans nothing', () => {
  const one = plan()
  const { partition, offset } = one
  const origin = { topic: 'commands.v1', partition, offset: offset - 2 }
  expect([one, refused(origin, offset)], { planned: 0 })
  expect([one, refused(origin, offset - 1)], { missing: 5 })
  expect([one, refused({ ...origin, partition: 9 }, offset)], { missing: 5 })
})
