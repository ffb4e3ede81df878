// Images that came before the plan of their plate: when it comes, their wells are taken up, a few sites at a time, so that
// a flush is bounded.
import { create } from '@bufbuild/protobuf'
import {
  CursorSchema,
  type Cursor,
  type PlateState,
} from '#proto/wellspring/journal/v1/state_pb.ts'
import type { Context } from './context.ts'
import { plateOf, wellOf } from '@wellspring/lab/entity.ts'
import { arm, settle } from './levels.ts'
import { standings } from './members.ts'
import { BOUNDED_VERSION, Member, changesOf, needsVersion, type Task } from './state.ts'

/** State and outputs that one event adds, give or take a site. */
export const BYTES_PER_EVENT = 100_000

/** The plan has come: notes which wells are there, and takes up the first. */
export function startAdopting(cx: Context, key: string, plate: PlateState): void {
  const shape = cx.task.shape(key)
  if (!shape) return
  plate.members = new Uint8Array(shape.members.length)
  plate.seen = []
  // What no plan names never closes; its wells are found by their keys, to be forgotten with the plate.
  for (const name of cx.task.wellsOf(key)) {
    const index = shape.memberIndex.get(name)
    if (index === undefined) continue
    plate.members[index] = Member.OPEN
    plate.adopting = create(CursorSchema)
  }
  adopt(cx, key)
}

/** Takes up some more wells of a plate whose plan came late. */
export function adopt(cx: Context, key: string): void {
  const { task, effects } = cx
  const plate = task.plates.get(key)
  if (!plate || !isAdopting(task, key)) return
  task.plates.touch(key, plate)
  // Journal version 3 lists what is left; what is taken up twice stays as it is.
  plate.seen = []
  plate.adopting ??= create(CursorSchema)
  if (adoptSome(cx, key, plate.adopting)) {
    delete plate.adopting
    return
  }
  needsVersion(task, BOUNDED_VERSION)
  effects.push({ kind: 'timer', entity: key, atMs: cx.now, completeness: false })
}

/** Whether wells of the plate are still to be taken up. */
export function isAdopting(task: Task, key: string): boolean {
  const plate = task.plates.get(key)
  if (plate?.adopting) return true
  const last = plate?.seen.at(-1)
  return last !== undefined && task.shape(key)?.memberIndex.has(last) === true
}

/** What one event may still take up. */
type Budget = { isSpent(): boolean; take(): void }

function budgetOf(cx: Context): Budget {
  const before = bytesOf(cx)
  let left = cx.task.bounds.recordsPerEvent
  return {
    isSpent: () => left <= 0 || bytesOf(cx) - before > BYTES_PER_EVENT,
    take: () => void (left -= 1),
  }
}

/** True: all wells are taken up. */
function adoptSome(cx: Context, key: string, at: Cursor): boolean {
  const budget = budgetOf(cx)
  for (; ; at.nextWell += 1) {
    const name = cx.task.shape(key)?.members[at.nextWell]
    if (name === undefined) return true
    const wellKey = `${key}/${name}`
    if (!cx.task.wells.has(wellKey)) continue
    if (budget.isSpent() || !adoptWell(cx, wellKey, at, budget)) return false
  }
}

/** Takes up the sites of a well from the cursor on. True: that is all. What happened to it since the plan stays as it is. */
function adoptWell(cx: Context, wellKey: string, at: Cursor, budget: Budget): boolean {
  const shape = cx.task.shape(plateOf(wellKey))
  const well = cx.task.wells.get(wellKey)
  if (!shape || !well) return true
  const planned = shape.sites(wellOf(wellKey))
  well.members = standings(shape, wellKey, well)
  cx.task.wells.touch(wellKey, well)
  budget.take()
  const sites = well.seen.filter((site) => planned.includes(site))
  for (const site of sites.slice(at.nextSite)) {
    if (budget.isSpent()) return false
    settle(cx, `${wellKey}/s${site}`)
    arm(cx, `${wellKey}/s${site}`)
    at.nextSite += 1
    budget.take()
  }
  at.nextSite = 0
  arm(cx, wellKey)
  return true
}

/** State and outputs of an event so far, about. */
export function bytesOf({ task, effects }: Context): number {
  const outputs = effects.flatMap((effect) => (effect.kind === 'output' ? effect.value.length : []))
  return outputs.reduce((sum, bytes) => sum + bytes, changesOf(task).bytes)
}
