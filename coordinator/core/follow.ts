// What follows when a run of an image or group has ended.
import { Level } from '#proto/wellspring/contract/v1/options_pb.ts'
import { groupOf, placeOf, plateStateOf, type Context, type Place } from './context.ts'
import { parentOf, plateOf } from '@wellspring/lab/entity.ts'
import { invariant } from './invariant.ts'
import { arm, settle } from './levels.ts'
import { standing } from './members.ts'
import { advance } from './runs.ts'
import { traceNumber } from './timeline.ts'

/** Starts what comes next at the place, and lets the level above see how it stands. */
export function afterRun(cx: Context, place: Place): void {
  if (place.level === Level.IMAGE) {
    advance(cx, place)
    return afterImage(cx, place)
  }
  // Members that moved meanwhile make the next close; its steps start from there.
  if (!isChanged(cx, place.key)) advance(cx, place)
  settle(cx, place.key)
}

/** Counts an image whose steps have all ended, and lets its site see it. */
export function afterImage(cx: Context, place: Place): void {
  const stands = standing(cx.task, Level.IMAGE, place.runs)
  const siteKey = parentOf(place.key) ?? ''
  // Its site waits for it since it came, or came back.
  if (stands === 'open') return
  countImage(cx, place.key, stands, 1)
  cx.effects.push({ kind: 'completed', entity: place.key, trace: traceNumber(place) })
  const site = cx.task.sites.open(siteKey)
  site.changed = true
  cx.task.sites.touch(siteKey, site)
  settle(cx, siteKey)
  // An image that the plan does not name may have been all that a closed plate waited for to be at rest.
  const plateKey = plateOf(siteKey)
  if (cx.task.plates.get(plateKey)?.close?.completed) arm(cx, plateKey)
}

export function countImage(cx: Context, key: string, stands: 'done' | 'failed', by: 1 | -1): void {
  const plate = plateStateOf(cx, key)
  const wellKey = parentOf(parentOf(key) ?? '') ?? ''
  const well = cx.task.wells.open(wellKey)
  plate[stands] += by
  well[stands] += by
  invariant(
    plate[stands] >= 0 && well[stands] >= 0,
    'I1',
    'no more images are taken up again than had ended',
    key,
  )
  cx.task.wells.touch(wellKey, well)
}

/** A run that was given up because its inputs moved. */
export function restart(cx: Context, place: Place): void {
  if (place.level === Level.IMAGE) return afterRun(cx, place)
  change(cx, place.key)
  settle(cx, place.key)
}

/** Marks a group as changed: its next close starts its steps anew where their inputs differ. */
export function change(cx: Context, key: string): void {
  const group = groupOf(cx.task, key)
  if (group) group.changed = true
  placeOf(cx.task, key)?.touch()
}

function isChanged(cx: Context, key: string): boolean {
  return groupOf(cx.task, key)?.changed ?? false
}
