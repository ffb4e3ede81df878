// Images that came before the plan of their plate: when it comes, their wells are taken up, a few at a time, so that a
// flush is bounded. The wells that are still to be taken up stand at the end of PlateState.seen.
import type { PlateState } from '#proto/wellspring/journal/v1/state_pb.ts'
import type { Context } from './context.ts'
import { plateOf, wellOf } from './ids.ts'
import { arm, settle } from './levels.ts'
import { standings } from './members.ts'
import { ADOPTING_VERSION, Member, changesOf } from './state.ts'
import type { Task } from './state.ts'

/** State and outputs that one event adds, give or take a well. */
const BYTES_PER_EVENT = 100_000

/** The plan has come: notes which wells are there, and takes up the first. */
export function startAdopting(cx: Context, key: string, plate: PlateState): void {
  const shape = cx.task.shape(key)
  if (!shape) return
  const isPlanned = (name: string): boolean => shape.memberIndex.has(name)
  plate.members = new Uint8Array(shape.members.length)
  for (const name of plate.seen) {
    const index = shape.memberIndex.get(name)
    if (index !== undefined) plate.members[index] = Member.OPEN
  }
  // What no plan names never closes; its wells are kept by name, to be forgotten with the plate.
  const strays = plate.seen.filter((name) => !isPlanned(name))
  plate.seen = [...strays, ...plate.seen.filter(isPlanned).toReversed()]
  adopt(cx, key)
}

/** Takes up some more wells of a plate whose plan came late. */
export function adopt(cx: Context, key: string): void {
  const { task, effects } = cx
  const plate = task.plates.get(key)
  if (!plate || !isAdopting(task, key)) return
  task.plates.touch(key, plate)
  const spentBefore = bytesOf(cx)
  for (let records = 0; records < task.bounds.recordsPerEvent;) {
    if (!isAdopting(task, key) || bytesOf(cx) - spentBefore > BYTES_PER_EVENT) break
    records += adoptWell(cx, `${key}/${plate.seen.pop() ?? ''}`)
  }
  if (!isAdopting(task, key)) return
  task.journalVersion = Math.max(task.journalVersion, ADOPTING_VERSION)
  effects.push({ kind: 'timer', entity: key, atMs: cx.now, completeness: false })
}

/** Whether wells of the plate are still to be taken up. */
export function isAdopting(task: Task, key: string): boolean {
  const last = task.plates.get(key)?.seen.at(-1)
  return last !== undefined && task.shape(key)?.memberIndex.has(last) === true
}

/** Returns how many records that may take. What happened to the well since the plan stays as it is. */
function adoptWell(cx: Context, wellKey: string): number {
  const shape = cx.task.shape(plateOf(wellKey))
  const well = cx.task.wells.get(wellKey)
  if (!shape || !well) return 0
  const name = wellOf(wellKey)
  well.members = standings(shape, wellKey, well)
  cx.task.wells.touch(wellKey, well)
  const sites = well.seen.filter((site) => shape.sites(name).includes(site))
  for (const site of sites) {
    settle(cx, `${wellKey}/s${site}`)
    arm(cx, `${wellKey}/s${site}`)
  }
  arm(cx, wellKey)
  return 1 + sites.length
}

function bytesOf({ task, effects }: Context): number {
  const outputs = effects.flatMap((effect) => (effect.kind === 'output' ? effect.value.length : []))
  return outputs.reduce((sum, bytes) => sum + bytes, changesOf(task).bytes)
}
