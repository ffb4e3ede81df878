// A finished plate is retired: its wells and sites are forgotten, a few at a time, and a small summary is kept. State
// then follows open work, not history. A retired plate stays retired: nothing that arrives for it is taken in, so its
// revisions, and those of everything below it, are never counted again.
import { create, toBinary, toJson } from '@bufbuild/protobuf'
import { TimestampSchema, timestampFromMs } from '@bufbuild/protobuf/wkt'
import { RetiredSchema, StepRunSchema } from '#proto/wellspring/journal/v1/state_pb.ts'
import { PlatePlanSchema, type PlatePlan } from '#proto/wellspring/lab/v1/plan_pb.ts'
import { imageName, type Context } from './context.ts'
import type { Position } from './event.ts'
import { plateOf, wellOf } from '@wellspring/lab/entity.ts'
import { sha256 } from './keys.ts'
import { objectsOf, ownObjects } from './objects.ts'
import { forgetPayload } from './payload.ts'
import { refuse } from './refuse.ts'
import { sameBytes } from './runs.ts'
import { BOUNDED_VERSION, RETIRING_VERSION, changesOf, needsVersion, type Task } from './state.ts'

/** Retires a plate that is at rest, or given up as it is. */
export function retire(cx: Context, key: string): void {
  const { task } = cx
  const plate = task.plates.get(key)
  const shape = task.shape(key)
  if (!plate) return
  plate.retired = create(RetiredSchema, {
    atMs: cx.now,
    nextWell: 0,
    planDigest: shape ? planDigest(shape.plan) : new Uint8Array(),
    imagesExpected: shape?.imagesExpected ?? 0,
    objects: ownObjects(task, key) ?? 0,
    countsMembers: ownObjects(task, key) === undefined,
  })
  for (const run of plate.runs) forgetPayload(task, { key, run })
  plate.runs = plate.runs.map(({ step, state, generation, revision, endedMs, verdict }) =>
    create(StepRunSchema, { step, state, generation, revision, endedMs, verdict }),
  )
  delete plate.sweep
  delete plate.adopting
  plate.sweepsWaiting = []
  plate.seen = []
  needsVersion(task, RETIRING_VERSION)
  forget(cx, key)
}

/**
 * Forgets some more wells of a plate that is retired, and in the end its plan. A flush is bounded, and other plates'
 * events go in between.
 */
export function forget(cx: Context, key: string): void {
  const { task } = cx
  const plate = task.plates.get(key)
  const retired = plate?.retired
  if (!plate || retired?.nextWell === undefined) return
  const planned = task.shape(key)?.members ?? []
  const spent = (): boolean => changesOf(task).records - before >= task.bounds.recordsPerEvent
  const before = changesOf(task).records
  while (!spent() && retired.nextWell !== undefined) {
    // Behind the planned ones: wells that came before the plan, and that it does not name.
    const name: string | undefined = planned[retired.nextWell] ?? task.wellsOf(key)[0]
    if (name === undefined) {
      plate.members = new Uint8Array()
      delete retired.nextWell
      task.dropPlan(key)
      break
    }
    const wellKey = `${key}/${name}`
    if (retired.countsMembers && !retired.nextIsCounted) retired.objects += objectsOf(task, wellKey)
    retired.nextIsCounted = !forgetWell(task, wellKey, spent)
    if (!retired.nextIsCounted) retired.nextWell += 1
    else needsVersion(task, BOUNDED_VERSION)
  }
  task.plates.touch(key, plate)
  if (retired.nextWell !== undefined)
    cx.effects.push({ kind: 'timer', entity: key, atMs: cx.now, completeness: false })
}

/** False: it has more sites than may be forgotten now. */
function forgetWell(task: Task, wellKey: string, spent: () => boolean): boolean {
  const name = wellOf(wellKey)
  const well = task.wells.get(wellKey)
  const planned = task.shape(plateOf(wellKey))?.sites(name) ?? []
  // Sites that came before the plan, and that it does not name.
  for (const site of new Set([...planned, ...(well?.seen ?? [])])) {
    const siteKey = `${wellKey}/s${site}`
    if (!task.sites.has(siteKey)) continue
    if (spent()) return false
    forgetSite(task, siteKey)
  }
  if (!well) return true
  for (const run of well.runs) forgetPayload(task, { key: wellKey, run })
  task.wells.drop(wellKey)
  return true
}

function forgetSite(task: Task, siteKey: string): void {
  if (task.payloads.size() > 0) {
    const site = task.sites.get(siteKey)
    for (const run of site?.runs ?? []) forgetPayload(task, { key: siteKey, run })
    for (const image of site?.images ?? [])
      for (const run of image.runs)
        forgetPayload(task, { key: `${siteKey}/${imageName(image)}`, run })
  }
  task.sites.drop(siteKey)
}

/** Whether a plan is the one that a retired plate had. */
export function isRetiredPlan(task: Task, key: string, plan: PlatePlan): boolean {
  const known = task.plates.get(key)?.retired?.planDigest
  return known !== undefined && sameBytes(known, planDigest(plan))
}

function planDigest(plan: PlatePlan): Uint8Array {
  return sha256(toBinary(PlatePlanSchema, plan, { writeUnknownFields: false })).subarray(0, 16)
}

/**
 * Sets what arrives for a retired plate aside. An image that was taken in before cannot be told from a new one any
 * more, since its digest is forgotten: it is set aside too, never taken for known and never processed again.
 */
export function refuseRetired(
  cx: Context,
  event: { at: Position; bytes: Uint8Array },
  entity: string,
): void {
  const plate = plateOf(entity)
  const atMs = cx.task.plates.get(plate)?.retired?.atMs ?? 0
  refuse(cx, event, {
    entity,
    reason: 'PLATE_RETIRED',
    message:
      `${plate} was finished and retired at ${toJson(TimestampSchema, timestampFromMs(atMs))}: its images are forgotten, so that one announced again ` +
      'cannot be told from a new one, and its steps are not run again; its results stand',
    hint: 'announce new images under another acquisition; a longer WELLSPRING_RETIRE_AFTER_MS keeps finished plates open longer',
  })
}
