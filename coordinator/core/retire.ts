// A finished plate is retired: its wells and sites are forgotten, a few at a time, and a small summary is kept. State
// then follows open work, not history. A retired plate stays retired: nothing that arrives for it is taken in, so its
// revisions, and those of everything below it, are never counted again.
import { create, toBinary, toJson } from '@bufbuild/protobuf'
import { TimestampSchema, timestampFromMs } from '@bufbuild/protobuf/wkt'
import { RetiredSchema, StepRunSchema } from '#proto/wellspring/journal/v1/state_pb.ts'
import type { PlatePlan } from '#proto/wellspring/lab/v1/plan_pb.ts'
import { PlatePlanSchema } from '#proto/wellspring/lab/v1/plan_pb.ts'
import type { Context } from './context.ts'
import type { Position } from './event.ts'
import { plateOf, sha256, wellOf } from './ids.ts'
import { objectsOf, ownObjects } from './objects.ts'
import { refuse } from './refuse.ts'
import { sameBytes } from './runs.ts'
import type { Task } from './state.ts'
import { RETIRING_VERSION } from './state.ts'

/** Retires a plate that is at rest. */
export function retire(cx: Context, key: string): void {
  const { task } = cx
  const plate = task.plates.get(key)
  const shape = task.shape(key)
  if (!plate || !shape) return
  plate.retired = create(RetiredSchema, {
    atMs: cx.now,
    nextWell: 0,
    planDigest: planDigest(shape.plan),
    imagesExpected: shape.imagesExpected,
    objects: ownObjects(task, key) ?? 0,
    countsMembers: ownObjects(task, key) === undefined,
  })
  plate.runs = plate.runs.map(({ step, state, generation, revision, endedMs, verdict }) =>
    create(StepRunSchema, { step, state, generation, revision, endedMs, verdict }),
  )
  task.journalVersion = Math.max(task.journalVersion, RETIRING_VERSION)
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
  const names = [...(task.shape(key)?.members ?? []), ...plate.seen]
  for (let records = 0; records < task.bounds.recordsPerEvent; retired.nextWell += 1) {
    const name = names[retired.nextWell]
    if (name === undefined) {
      plate.members = new Uint8Array()
      plate.seen = []
      delete retired.nextWell
      task.dropPlan(key)
      break
    }
    const wellKey = `${key}/${name}`
    if (retired.countsMembers) retired.objects += objectsOf(task, wellKey)
    records += forgetWell(task, wellKey)
  }
  task.plates.touch(key, plate)
  if (retired.nextWell !== undefined)
    cx.effects.push({ kind: 'timer', entity: key, atMs: cx.now, completeness: false })
}

/** Returns how many records that takes. */
function forgetWell(task: Task, wellKey: string): number {
  const name = wellOf(wellKey)
  const well = task.wells.get(wellKey)
  const planned = task.shape(plateOf(wellKey))?.sites(name) ?? []
  let records = 0
  // Sites that came before the plan, and that it does not name.
  for (const site of new Set([...planned, ...(well?.seen ?? [])])) {
    const siteKey = `${wellKey}/s${site}`
    if (!task.sites.has(siteKey)) continue
    task.sites.drop(siteKey)
    records += 1
  }
  if (!well) return records
  task.wells.drop(wellKey)
  return records + 1
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
