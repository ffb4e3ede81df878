// A task that was just restored takes up what was under way: calls, back-offs, deadlines, sweeps.
import { RunState } from '#proto/wellspring/journal/v1/state_pb.ts'
import { isAdopting } from './adopt.ts'
import { groupOf, imageName, placeOf, type Context, type Place } from './context.ts'
import type { Effect } from './event.ts'
import { restart } from './follow.ts'
import { plateOf } from '@wellspring/lab/entity.ts'
import { arm } from './levels.ts'
import { markPlates } from './losses.ts'
import { goOn } from './runs.ts'
import { during, isStopped, type Task } from './state.ts'

/** What a task that was just restored has to take up again: calls, back-offs, deadlines. */
export function restored(task: Task, now: number, dice: () => number): Effect[] {
  const cx: Context = { task, now, dice, effects: [] }
  const stopped = new Set([...task.plates.keys()].filter((key) => isStopped(task, key)))
  const each = (keys: Iterable<string>, takeUpOne: (cx: Context, key: string) => void): void => {
    for (const key of keys)
      if (stopped.size === 0 || !stopped.has(plateOf(key))) during(task, () => takeUpOne(cx, key))
  }
  each(task.sites.keys(), takeUpSite)
  each(task.wells.keys(), takeUpGroup)
  each(task.plates.keys(), takeUpPlate)
  markPlates(cx)
  return cx.effects
}

/** The same of one plate, which was stopped. */
export function resume(cx: Context, plate: string): void {
  const { sites, wells } = cx.task
  const isBelow = (key: string): boolean => key.startsWith(`${plate}/`)
  for (const key of [...sites.keys()].filter(isBelow)) takeUpSite(cx, key)
  for (const key of [...wells.keys()].filter(isBelow)) takeUpGroup(cx, key)
  takeUpPlate(cx, plate)
}

function takeUpSite(cx: Context, key: string): void {
  for (const image of cx.task.sites.get(key)?.images ?? [])
    takeUp(cx, placeOf(cx.task, `${key}/${imageName(image)}`))
  takeUpGroup(cx, key)
}

function takeUpPlate(cx: Context, key: string): void {
  takeUpGroup(cx, key)
  const plate = cx.task.plates.get(key)
  const isForgotten = plate?.retired?.nextWell !== undefined
  if (plate?.sweep || isForgotten || isAdopting(cx.task, key))
    cx.effects.push({ kind: 'timer', entity: key, atMs: cx.now, completeness: false })
}

function takeUpGroup(cx: Context, key: string): void {
  const group = groupOf(cx.task, key)
  // Its last owner's clock was ahead: what never comes would be waited for until then.
  if (group && group.lastArrivalMs > cx.now) {
    group.lastArrivalMs = cx.now
    placeOf(cx.task, key)?.touch()
  }
  takeUp(cx, placeOf(cx.task, key))
  arm(cx, key)
}

/** Spread over which overdue back-offs fire after a restore. */
const RESTORE_JITTER_MS = 1_000

function takeUp(cx: Context, place: Place | undefined): void {
  if (!place) return
  for (const step of cx.task.pipeline.at(place.level)) {
    const run = place.runs.find((one) => one.step === step.index)
    if (run?.state === RunState.RUNNING && !goOn(cx, place, step)) restart(cx, place)
    if (run?.state !== RunState.BACKOFF) continue
    // The same clock: so long a wait was meant.
    const aheadMs = Math.max(0, (run.attempts.at(-1)?.endedMs ?? 0) - cx.now)
    const dueMs = run.dueMs - aheadMs
    const atMs = dueMs > cx.now ? dueMs : cx.now + Math.floor(cx.dice() * RESTORE_JITTER_MS)
    run.dueMs = atMs
    cx.effects.push({ kind: 'timer', entity: place.key, atMs, completeness: false })
  }
}
