// Commands that change a whole plate, or a large well of it: one well at a time, a few of its sites at a time, so that a
// large plate never makes a large flush. Where a sweep stands is in state.
import { create, equals } from '@bufbuild/protobuf'
import { Level } from '#proto/wellspring/contract/v1/options_pb.ts'
import { SweepSchema, type Sweep } from '#proto/wellspring/journal/v1/state_pb.ts'
import { ClosedBy } from '#proto/wellspring/record/v1/output_pb.ts'
import { BYTES_PER_EVENT, bytesOf } from './adopt.ts'
import { plateStateOf, type Context } from './context.ts'
import { dueOf } from './due.ts'
import { belowPlate, levelOf, plateOf } from '@wellspring/lab/entity.ts'
import { arm, expire } from './levels.ts'
import { redriveGroup, redriveSite, sitesOf } from './redrive.ts'
import { BOUNDED_VERSION, needsVersion } from './state.ts'

export type SweepWish = {
  readonly entity: string
  readonly step: string
  readonly close: boolean
}

/** Images that one event looks at, give or take a site. */
export const IMAGES_PER_EVENT = 400
/** Commands that wait for the sweep under way. */
const WAITING_MAX = 4

/** Begins a sweep, or lets it wait for the one under way. False: too many wait already. */
export function startSweep(cx: Context, wish: SweepWish): boolean {
  const key = plateOf(wish.entity)
  const plate = plateStateOf(cx, key)
  const fresh = create(SweepSchema, wish)
  if (plate.sweep) {
    if (plate.sweepsWaiting.some((one) => equals(SweepSchema, one, fresh))) return true
    if (plate.sweepsWaiting.length >= WAITING_MAX) return false
    plate.sweepsWaiting.push(fresh)
    needsVersion(cx.task, BOUNDED_VERSION)
    return true
  }
  plate.sweep = fresh
  sweep(cx, key)
  return true
}

/** Some sites of a well of the sweep under way. */
export function sweep(cx: Context, key: string): void {
  const plate = cx.task.plates.get(key)
  const wish = plate?.sweep
  if (!plate || !wish) return
  cx.task.plates.touch(key, plate)
  const wellKey = nextWell(cx, key, wish)
  if (wellKey !== undefined) {
    const isDone = sweepWell(cx, wellKey, wish)
    if (isDone) wish.nextWell += 1
    else needsVersion(cx.task, BOUNDED_VERSION)
    if (!isDone || levelOf(wish.entity) === Level.PLATE) return again(cx, key)
  }
  delete plate.sweep
  const waiting = plate.sweepsWaiting.shift()
  if (waiting) {
    plate.sweep = waiting
    again(cx, key)
  }
  if (levelOf(wish.entity) !== Level.PLATE) return
  if (wish.close) expire(cx, key, ClosedBy.OPERATOR)
  else redriveGroup(cx, key, wish.step)
  arm(cx, key)
}

function again(cx: Context, key: string): void {
  cx.effects.push({ kind: 'timer', entity: key, atMs: cx.now, completeness: false })
}

/** The well at the cursor or behind it that has state; undefined: there is none. */
function nextWell({ task }: Context, key: string, wish: Sweep): string | undefined {
  const names =
    levelOf(wish.entity) === Level.WELL
      ? [belowPlate(wish.entity)]
      : (task.shape(key)?.members ?? task.wellsOf(key))
  for (; wish.nextWell < names.length; wish.nextWell += 1) {
    const wellKey = `${key}/${names[wish.nextWell]}`
    if (task.wells.has(wellKey)) return wellKey
    wish.nextSite = 0
  }
  return undefined
}

/** True: the well is done, and the cursor stands at no site. */
function sweepWell(cx: Context, wellKey: string, wish: Sweep): boolean {
  const spentBefore = bytesOf(cx)
  const sites = sitesOf(cx, wellKey)
  let images = 0
  while (wish.nextSite < sites.length) {
    const siteKey = `${wellKey}/s${sites[wish.nextSite]}`
    if (images >= IMAGES_PER_EVENT || bytesOf(cx) - spentBefore > BYTES_PER_EVENT) return false
    wish.nextSite += 1
    images += cx.task.sites.get(siteKey)?.images.length ?? 0
    if (!wish.close) redriveSite(cx, siteKey, wish.step)
    else if (dueOf(cx, siteKey).kind !== 'never') expire(cx, siteKey, ClosedBy.OPERATOR)
  }
  wish.nextSite = 0
  if (!wish.close) redriveGroup(cx, wellKey, wish.step)
  else if (dueOf(cx, wellKey).kind !== 'never') expire(cx, wellKey, ClosedBy.OPERATOR)
  return true
}
