// However much one command or one plan asks for, an event does a part of it: what it changes is bounded, and what is left
// is in state.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ErrorClass } from '#proto/wellspring/contract/v1/errors_pb.ts'
import type { Command } from '#proto/wellspring/record/v1/input_pb.ts'
import { isAdopting } from '../../coordinator/core/adopt.ts'
import { loadPipeline } from '../../coordinator/core/pipeline/check.ts'
import { PLAN_LIMITS } from '../../coordinator/core/plan-limits.ts'
import { takeChanges } from '../../coordinator/core/state.ts'
import { pipeline as levelsSpec } from '../pipelines/echo-levels.ts'
import { PLATE, story, type Story } from './plate.ts'

const levels = loadPipeline(levelsSpec)
const SITES = Array.from({ length: 250 }, (_, at) => at + 1)
const WELL = `${PLATE}/A01/t0`
/** Sites that one event takes up (story), or redrives: 400 images of two a site; and the well and the plate. */
const ADOPTED_MAX = 100 + 3
const REDRIVEN_MAX = 200 + 3

const names = SITES.flatMap((site) => ['DNA', 'RNA'].map((name) => `A01/t0/s${site}/z0/${name}`))

const redrive = (entity: string, step = ''): Command['action'] => ({
  case: 'redrive',
  value: { $typeName: 'wellspring.record.v1.Redrive', entity, step },
})

/** A well of 250 sites, of which every image failed for good. */
function failed(): Story {
  const plate = story(levels)
  plate.plan(0.5, SITES)
  plate.announce(names)
  for (const call of plate.calls.slice())
    plate.fail(call, { class: ErrorClass.POISON, reason: 'BAD_DATA' })
  takeChanges(plate.task())
  return plate
}

/** Fires timers until the plate has no more to do by itself; returns what each turn changed. */
function turns(plate: Story, isOver: () => boolean): number[] {
  const sizes: number[] = []
  for (let turn = 0; turn < 50 && !isOver(); turn += 1) {
    plate.fire()
    sizes.push(takeChanges(plate.task()).length)
    if (turn === 1) plate.takeOver()
  }
  return sizes
}

const isSwept = (plate: Story) => (): boolean => plate.task().plates.get(PLATE)?.sweep === undefined

test('a well of 250 sites that came before its plan is taken up over several events', () => {
  const plate = story(levels)
  plate.announce(names)
  plate.answerAll()
  takeChanges(plate.task())
  plate.plan(0.5, SITES)
  const first = takeChanges(plate.task()).length
  const sizes = [first, ...turns(plate, () => !isAdopting(plate.task(), PLATE))]
  assert.ok(sizes.length > 2 && Math.max(...sizes) <= ADOPTED_MAX, sizes.join())
  plate.answerAll()
  const [well] = plate.closes().filter(({ entity }) => entity === WELL)
  assert.deepEqual([well?.done, well?.expected], [250, 250])
})

test('a redrive of a large well is done over several events, each image once, over a take-over', () => {
  const plate = failed()
  plate.command(redrive(WELL))
  const again = new Set(plate.calls.map(({ entity }) => entity))
  const sizes = [takeChanges(plate.task()).length]
  for (let turn = 0; turn < 50 && !isSwept(plate)(); turn += 1) {
    if (turn === 0) plate.takeOver()
    plate.fire()
    sizes.push(takeChanges(plate.task()).length)
  }
  for (const { entity } of plate.calls) again.add(entity)
  assert.equal(again.size, 500)
  assert.ok(sizes.length > 1 && Math.max(...sizes) <= REDRIVEN_MAX, sizes.join())
  plate.answerAll()
  assert.equal(plate.task().plates.get(PLATE)?.parked, 0)
  const [last] = plate
    .closes()
    .filter(({ entity }) => entity === WELL)
    .slice(-1)
  assert.equal(last?.done, 250)
})

test('commands wait for the one under way, and what is too many is refused by name', () => {
  const plate = failed()
  plate.command(redrive(PLATE, 'echo-image'))
  for (const step of ['echo-site', 'echo-well', 'echo-plate', ''])
    plate.command(redrive(PLATE, step))
  plate.command(redrive(PLATE, 'echo-site'))
  const letters = plate.letters().length
  plate.command(redrive(PLATE, 'another'))
  const { failure } = plate.letters().at(-1) ?? {}
  assert.deepEqual([plate.letters().length, failure?.reason], [letters + 1, 'COMMANDS_UNDER_WAY'])
  assert.match(failure?.message ?? '', /E\/P\/a1 is still busy with commands/)
  turns(plate, isSwept(plate))
  assert.equal(plate.task().plates.get(PLATE)?.sweepsWaiting.length, 0)
  assert.equal(plate.calls.length, 500)
  plate.answerAll()
  assert.equal(plate.task().plates.get(PLATE)?.parked, 0)
})

test('before the plan, what no plan could name is set aside by name, and taken in under its plan', () => {
  const plate = story(levels)
  const reasons = (): string[] => plate.letters().map((one) => one.failure?.reason ?? '')
  const { imagesPerSiteMax, sitesPerWellMax, membersMax } = PLAN_LIMITS
  plate.announce(Array.from({ length: imagesPerSiteMax }, (_, z) => `A01/t0/s1/z${z}/DNA`))
  plate.announce(Array.from({ length: sitesPerWellMax }, (_, at) => `A02/t0/s${at}/z0/DNA`))
  const known = plate.task().plates.get(PLATE)
  assert.ok(known)
  assert.deepEqual([known.earlyWells, reasons()], [2, []])
  known.earlyWells = membersMax - 1
  plate.announce(['A03/t0/s1/z0/DNA'])
  assert.deepEqual(reasons(), [])
  plate.announce(['A01/t0/s1/z999/DNA', `A02/t0/s${sitesPerWellMax}/z0/DNA`, 'A04/t0/s1/z0/DNA'])
  assert.deepEqual(reasons(), Array(3).fill('TOO_MANY_BEFORE_PLAN'))
  assert.deepEqual(
    plate
      .letters()
      .map(({ failure }) =>
        failure?.message.replace(
          ', and no plan names any: that is the most that a plan can name',
          '',
        ),
      ),
    [
      `site ${PLATE}/A01/t0/s1 has 384 images already`,
      `well ${PLATE}/A02/t0 has 256 sites already`,
      `${PLATE} has 100000 wells already`,
    ],
  )
  assert.match(plate.letters()[0]?.failure?.hint ?? '', /announce the plan of E\/P\/a1 first/)
  // What is there goes on: the same again is known, and another site of a well has room.
  plate.announce(['A01/t0/s1/z0/DNA', 'A01/t0/s2/z0/DNA'])
  assert.equal(reasons().length, 3)
  assert.equal(plate.task().plates.get(PLATE)?.duplicate, 1)
})
