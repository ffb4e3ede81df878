// Stories of plates whose plan comes after their images.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ClosedBy } from '#proto/wellspring/record/v1/output_pb.ts'
import { isAdopting } from '../../coordinator/core/adopt.ts'
import { loadPipeline } from '../../coordinator/core/pipeline/check.ts'
import { BOUNDED_VERSION, takeChanges } from '../../coordinator/core/state.ts'
import { pipeline as levelsSpec } from '../pipelines/echo-levels.ts'
import { PLATE, story, wellsOf, type Story } from './plate.ts'

const levels = loadPipeline(levelsSpec)
/** Wells and sites that one event takes up (story), and what else it may change: a last well and the plate. */
const RECORDS_PER_EVENT = 100

const numbers = (count: number): number[] => Array.from({ length: count }, (_, at) => at + 1)

const namesOf = (wells: readonly string[], sites: readonly number[]): string[] =>
  wells.flatMap((well) =>
    sites.flatMap((site) => ['DNA', 'RNA'].map((name) => `${well}/t0/s${site}/z0/${name}`)),
  )

/** Entities and whether they had all, in the order of their names. */
const closesOf = (plate: Story): string[] =>
  plate
    .closes()
    .map(({ entity, revision, closedBy, done, expected, holes }) =>
      [entity, revision, closedBy, done, expected, ...holes.map((one) => one.entity)].join(' '),
    )
    .toSorted()

/** Images arrive and are processed, well by well. */
function process(plate: Story, wells: readonly string[], sites: readonly number[]): void {
  for (const well of wells) {
    plate.announce(namesOf([well], sites))
    plate.answerAll()
    takeChanges(plate.task())
  }
}

/** Timers fire and calls are answered until nothing is to be done any more. */
function finish(plate: Story): void {
  for (let turn = 0; turn < 1_000; turn += 1) {
    plate.fire()
    plate.answerAll()
    if (plate.closes().at(-1)?.entity === PLATE && plate.calls.length === 0) return
  }
}

/** Twelve wells of 40 sites, all processed, then their plan: most wells are still to be taken up. */
function late(names = namesOf(wellsOf(12), numbers(40))): Story {
  const plate = story(levels, 12)
  plate.announce(names)
  plate.answerAll()
  plate.plan(0.5, numbers(40))
  assert.ok(isAdopting(plate.task(), PLATE))
  return plate
}

test('5,000 sites that came before their plan are taken up in slices, over take-overs, and close as if it had come first', () => {
  const [wells, sites] = [wellsOf(384), numbers(13)]
  const [early, plate] = [story(levels, 384), story(levels, 384)]
  early.plan(0.5, sites)
  process(early, wells, sites)
  process(plate, wells, sites)
  const slices: number[] = []
  plate.plan(0.5, sites)
  for (let turn = 0; turn < 100 && isAdopting(plate.task(), PLATE); turn += 1) {
    const outputs = plate.keys().length
    slices.push(takeChanges(plate.task()).length)
    if (turn === 5) plate.takeOver()
    plate.fire()
    assert.ok(plate.keys().length - outputs <= RECORDS_PER_EVENT + sites.length)
  }
  assert.ok(Math.max(...slices) <= RECORDS_PER_EVENT + sites.length + 3, slices.join())
  assert.ok(!isAdopting(plate.task(), PLATE))
  finish(plate)
  assert.deepEqual(closesOf(plate), closesOf(early))
  assert.equal(plate.task().journalVersion, BOUNDED_VERSION)
})

test('a plan that comes after a few sites takes them up at once', () => {
  const plate = story(levels, 12)
  plate.announce(namesOf(wellsOf(12), [1, 2]))
  plate.answerAll()
  plate.plan()
  assert.ok(!isAdopting(plate.task(), PLATE))
  assert.equal(plate.task().journalVersion, BOUNDED_VERSION, 'early wells are found by their keys')
})

test('images go on arriving in wells that are not taken up yet', () => {
  const all = namesOf(wellsOf(12), numbers(40))
  const missing = ['A01/t0/s1/z0/DNA', 'A12/t0/s1/z0/DNA', 'A12/t0/s40/z0/RNA']
  const plate = late(all.filter((name) => !missing.includes(name)))
  plate.announce(missing)
  plate.answerAll()
  finish(plate)
  const whole = late(all)
  finish(whole)
  assert.deepEqual(closesOf(plate), closesOf(whole))
})

test('a deadline that passes before a well is taken up gives up only what never came', () => {
  const all = namesOf(wellsOf(12), numbers(40))
  const hole = ['DNA', 'RNA'].map((name) => `A12/t0/s7/z0/${name}`)
  const plate = late(all.filter((name) => !hole.includes(name)))
  plate.later(3_600_000)
  plate.takeOver()
  // The deadline first.
  plate.timers.reverse()
  finish(plate)
  const [well] = plate.closes().filter(({ entity }) => entity === `${PLATE}/A12/t0`)
  assert.deepEqual(
    [well?.done, well?.expected, ...(well?.holes ?? []).map(({ entity }) => entity)],
    [39, 40, `${PLATE}/A12/t0/s7`],
  )
  assert.deepEqual(plate.closes().at(-1)?.done, 12)
})

test('an operator who closes the plate meanwhile gives up only what never came', () => {
  const all = namesOf(wellsOf(12), numbers(40))
  const plate = late(all.filter((name) => !name.startsWith('A12/t0/s7/')))
  plate.command({
    case: 'close',
    value: { $typeName: 'wellspring.record.v1.ClosePlate', entity: PLATE },
  })
  finish(plate)
  assert.deepEqual(
    plate.closes().flatMap(({ holes }) => holes.map(({ entity }) => entity)),
    [`${PLATE}/A12/t0/s7`],
  )
  assert.equal(plate.closes().at(-1)?.closedBy, ClosedBy.OPERATOR)
})
