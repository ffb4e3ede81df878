// Stories of plates that are finished, rest, and are retired.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ErrorClass } from '#proto/wellspring/contract/v1/errors_pb.ts'
import type { Command } from '#proto/wellspring/record/v1/input_pb.ts'
import { ClosedBy, Verdict } from '#proto/wellspring/record/v1/output_pb.ts'
import { loadPipeline } from '../../coordinator/core/pipeline/check.ts'
import { explain } from '../../coordinator/core/view/explain.ts'
import { takeChanges } from '../../coordinator/core/state.ts'
import { plateStatus, plateView } from '../../coordinator/core/view/view.ts'
import { pipeline as levelsSpec } from '../pipelines/echo-levels.ts'
import { DEADLINE_MS, IMAGES, PLATE, QUORUM_MS, story } from './plate.ts'

const levels = loadPipeline(levelsSpec)
const AFTER_MS = 3_600_000

type Plate = ReturnType<typeof story>

const redrive = (entity: string): Command['action'] => ({
  case: 'redrive',
  value: { $typeName: 'wellspring.record.v1.Redrive', entity, step: '' },
})
const close: Command['action'] = {
  case: 'close',
  value: { $typeName: 'wellspring.record.v1.ClosePlate', entity: PLATE },
}

/** What the task holds: plans, plates, wells, sites. */
function sizes(plate: Plate): number[] {
  takeChanges(plate.task())
  const { plans, plates, wells, sites } = plate.task()
  return [plans, plates, wells, sites].map((map) => map.size())
}

/** Until no timer is due any more. */
function settle(plate: Plate): void {
  for (let turn = 0; turn < 10_000; turn += 1) {
    const before = plate.timers.length
    plate.fire()
    if (plate.timers.length === 0 || (before === 1 && plate.timers.length === 1)) return
  }
}

function retired(wells = 1): Plate {
  const plate = story(levels, wells, AFTER_MS)
  plate.plan()
  for (let well = 1; well <= wells; well += 1)
    plate.announce(IMAGES.map((name) => name.replace('A01', `A0${well}`)))
  plate.answerAll()
  plate.later(AFTER_MS)
  for (let turn = 0; turn < 5; turn += 1) plate.fire()
  return plate
}

const reasons = (plate: Plate): (string | undefined)[] =>
  plate.letters().map((one) => one.failure?.reason)

test('a finished plate rests for its time, then only a summary of it is left', () => {
  const plate = story(levels, 2, AFTER_MS)
  plate.plan()
  plate.announce(IMAGES.flatMap((name) => [name, name.replace('A01', 'A02')]))
  plate.answerAll()
  plate.later(AFTER_MS - 1)
  plate.fire()
  assert.deepEqual(sizes(plate), [1, 1, 2, 4])
  const before = plateStatus(plate.task(), PLATE, 0)
  plate.later(1)
  settle(plate)
  assert.deepEqual(sizes(plate), [0, 1, 0, 0])
  const [summary] = plate.task().plates.all()
  assert.ok(summary && summary[1].length < 200, `${summary?.[1].length} bytes`)
  const after = plateStatus(plate.task(), PLATE, 0)
  assert.ok(after.retiredAt)
  delete after.retiredAt
  assert.deepEqual(after, before, 'what is told of it is what was told before')
  assert.equal(plate.timers.length, 0)
})

test('a retired plate tells its close, its verdicts and its revisions, and no wells', () => {
  const plate = story(levels, 1, AFTER_MS)
  plate.plan()
  plate.announce(IMAGES.slice(0, 3))
  plate.answerAll()
  plate.later(QUORUM_MS)
  plate.fire()
  plate.answerAll()
  plate.announce(IMAGES.slice(3))
  plate.answerAll()
  const run = plate.task().plates.get(PLATE)?.runs[0]
  assert.ok(run)
  run.verdict = Verdict.WARN
  plate.later(AFTER_MS)
  settle(plate)
  plate.takeOver()
  const view = plateView(plate.task(), PLATE, 0)
  assert.deepEqual([view.wells, view.holes], [[], []])
  assert.deepEqual([view.status?.revision, view.status?.closedBy], [2, ClosedBy.ALL])
  assert.deepEqual([view.status?.expected, view.status?.done], [4, 4])
  assert.equal(view.status?.verdict, Verdict.WARN)
  assert.deepEqual(
    view.runs.map((one) => [one.step, one.state, one.revision]),
    [['echo-plate', 'DONE', 2]],
  )
  const about = explain(plate.task(), PLATE, 0)
  assert.equal(about?.state, 'RETIRED')
  assert.match(about?.next ?? '', /retired.*npx wellspring results E\/P\/a1/)
  const below = explain(plate.task(), `${PLATE}/${IMAGES[0]}`, 0)
  assert.deepEqual([below?.state, below?.runs], ['RETIRED', []])
  assert.match(below?.notes.join() ?? '', /plate E\/P\/a1 closed by all, revision 2/)
})

test('an image for a retired plate is set aside with its bytes, known before or not', () => {
  const plate = retired()
  plate.announce(IMAGES.slice(0, 1))
  plate.announce(IMAGES.slice(0, 1), 'changed')
  plate.announce(['C03/t0/s1/z0/DNA'])
  assert.deepEqual(reasons(plate), ['PLATE_RETIRED', 'PLATE_RETIRED', 'PLATE_RETIRED'])
  const [letter] = plate.letters()
  assert.equal(Buffer.from(letter?.originValue ?? []).toString(), IMAGES[0])
  assert.equal(letter?.entity, `${PLATE}/${IMAGES[0]}`)
  assert.match(letter?.failure?.hint ?? '', /another acquisition.*WELLSPRING_RETIRE_AFTER_MS/)
  assert.match(letter?.failure?.message ?? '', /retired at 1970-01-01T01:16:40Z/)
  assert.deepEqual([plate.calls.length, plate.timers.length], [0, 0])
  assert.deepEqual(sizes(plate), [0, 1, 0, 0])
  assert.equal(plate.task().plates.get(PLATE)?.arrived, 4)
})

test('the plan of a retired plate again is nothing, another is refused, and so are redrive and close', () => {
  const plate = retired()
  plate.plan()
  assert.deepEqual(reasons(plate), [])
  plate.plan(0.9)
  plate.command(redrive(PLATE))
  plate.command(redrive(`${PLATE}/${IMAGES[0]}`))
  plate.command(close)
  assert.deepEqual(reasons(plate), Array(4).fill('PLATE_RETIRED'))
  assert.deepEqual([plate.calls.length, plate.timers.length], [0, 0])
  assert.deepEqual(sizes(plate), [0, 1, 0, 0])
})

test('a late image, a redrive or an operator before that begins the rest anew', () => {
  const plate = story(levels, 1, AFTER_MS)
  plate.plan()
  plate.announce(IMAGES.slice(0, 3))
  const bad = plate.calls[0]
  assert.ok(bad)
  plate.fail(bad, { class: ErrorClass.POISON, reason: 'BAD_DATA' })
  plate.answerAll()
  plate.later(DEADLINE_MS)
  plate.fire()
  plate.answerAll()
  plate.later(AFTER_MS - 10)
  plate.announce(IMAGES.slice(3))
  plate.answerAll()
  plate.later(10)
  plate.fire()
  assert.equal(plate.task().plates.get(PLATE)?.retired, undefined, 'a late image')
  plate.later(AFTER_MS - 20)
  plate.command(redrive(PLATE))
  plate.fire()
  plate.later(20)
  plate.fire()
  assert.equal(plate.task().plates.get(PLATE)?.retired, undefined, 'work under way')
  plate.answerAll()
  plate.later(AFTER_MS - 1)
  plate.fire()
  assert.equal(plate.task().plates.get(PLATE)?.retired, undefined, 'a redrive')
  plate.command(redrive(PLATE))
  plate.later(1)
  settle(plate)
  assert.deepEqual(sizes(plate), [0, 1, 0, 0])
})

test('what waits to be tried again, is awaited or never closed keeps its plate', () => {
  const waits = story(levels, 1, AFTER_MS)
  waits.plan()
  waits.announce(IMAGES)
  const [call] = waits.calls
  assert.ok(call)
  waits.fail(call, { class: ErrorClass.OVERLOADED, reason: 'BUSY' }, 10 * AFTER_MS)
  waits.answerAll()
  waits.later(5 * AFTER_MS)
  waits.fire()
  assert.deepEqual(sizes(waits), [1, 1, 1, 2])
  const unplanned = story(levels, 1, AFTER_MS)
  unplanned.announce(IMAGES)
  unplanned.answerAll()
  unplanned.later(5 * AFTER_MS)
  unplanned.takeOver()
  unplanned.fire()
  assert.deepEqual(sizes(unplanned), [0, 1, 1, 2])
})

test('images that came before the plan and that it does not name are waited for, and forgotten with it', () => {
  const plate = story(levels, 1, AFTER_MS)
  plate.announce(['C03/t0/s1/z0/DNA', 'A01/t0/s9/z0/DNA'])
  const strays = [...plate.calls]
  plate.plan()
  plate.announce(IMAGES)
  for (const call of plate.calls.filter((one) => !strays.includes(one)))
    plate.answer(call, { kind: 'done', output: new Uint8Array() })
  while (plate.calls.length > strays.length) {
    const call = plate.calls.find((one) => !strays.includes(one))
    if (call) plate.answer(call, { kind: 'done', output: new Uint8Array() })
  }
  assert.equal(plate.closes().at(-1)?.entity, PLATE)
  plate.later(AFTER_MS)
  plate.fire()
  assert.equal(plate.task().plates.get(PLATE)?.retired, undefined)
  plate.answerAll()
  settle(plate)
  assert.deepEqual(sizes(plate), [0, 1, 0, 0])
})

test('after a take-over a finished plate has its timer again', () => {
  const plate = story(levels, 1, AFTER_MS)
  plate.plan()
  plate.announce(IMAGES)
  plate.answerAll()
  plate.takeOver()
  assert.deepEqual(plate.timers, [
    { kind: 'timer', entity: PLATE, atMs: 1_000_000 + AFTER_MS, completeness: true },
  ])
  plate.later(2 * AFTER_MS)
  plate.takeOver()
  settle(plate)
  assert.deepEqual(sizes(plate), [0, 1, 0, 0])
})

test('a large plate is forgotten in slices, over take-overs, with other events in between', () => {
  const wells = 9
  const plate = story(levels, wells, AFTER_MS)
  const sites = Array.from({ length: 40 }, (_, at) => at + 1)
  plate.plan(0.5, sites)
  for (let well = 1; well <= wells; well += 1)
    plate.announce(
      sites.flatMap((site) => ['DNA', 'RNA'].map((name) => `A0${well}/t0/s${site}/z0/${name}`)),
    )
  plate.answerAll()
  takeChanges(plate.task())
  plate.later(AFTER_MS)
  const slices: number[] = []
  for (let turn = 0; turn < 20 && (turn === 0 || plate.timers.length > 0); turn += 1) {
    plate.fire()
    const changes = takeChanges(plate.task())
    slices.push(changes.filter(([, bytes]) => bytes === null).length)
    if (turn === 1) plate.takeOver()
    plate.announce(['A01/t0/s1/z0/DNA'])
  }
  assert.ok(slices.length > 2 && Math.max(...slices) <= 141, slices.join())
  assert.equal(
    slices.reduce((sum, one) => sum + one, 0),
    wells * 41 + 1,
  )
  assert.deepEqual(sizes(plate), [0, 1, 0, 0])
  assert.deepEqual(new Set(reasons(plate)), new Set(['PLATE_RETIRED']))
})

test('nothing is retired unless told to', () => {
  const plate = story(levels)
  plate.plan()
  plate.announce(IMAGES)
  plate.answerAll()
  assert.ok(!plate.timers.some(({ atMs }) => atMs > 1_000_000 + DEADLINE_MS))
})
