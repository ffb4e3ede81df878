// What the operator or the instrument wants: plans, redrives, closes.
import { create, equals } from '@bufbuild/protobuf'
import { Level } from '#proto/wellspring/contract/v1/options_pb.ts'
import { RunState, SweepSchema } from '#proto/wellspring/journal/v1/state_pb.ts'
import type { PlatePlan } from '#proto/wellspring/lab/v1/plan_pb.ts'
import { PlatePlanSchema } from '#proto/wellspring/lab/v1/plan_pb.ts'
import type { Redrive } from '#proto/wellspring/record/v1/input_pb.ts'
import { ClosedBy } from '#proto/wellspring/record/v1/output_pb.ts'
import { startAdopting } from './adopt.ts'
import type { Context, Place } from './context.ts'
import { imageName, placeOf, plateStateOf } from './context.ts'
import type { Event } from './event.ts'
import { afterRun, change, countImage } from './follow.ts'
import { isEntityKey, levelOf, parentOf, plateOf, wellOf } from './ids.ts'
import { dueOf } from './due.ts'
import { arm, expire, settle } from './levels.ts'
import { onAcceptLoss } from './losses.ts'
import { standing } from './members.ts'
import { refuse } from './refuse.ts'
import { isRetiredPlan, refuseRetired } from './retire.ts'
import { reset } from './runs.ts'
import { isRetired, wellsWithState } from './state.ts'

/** Images of a site, z planes times channels: a site's state is one record. */
const IMAGES_PER_SITE_MAX = 384

export function onCommand(cx: Context, event: Extract<Event, { kind: 'command' }>): void {
  const { action } = event.command
  switch (action.case) {
    case 'plan':
      return onPlan(cx, action.value, event)
    case 'redrive':
      return onRedrive(cx, action.value, event)
    case 'close':
      return startSweep(cx, { entity: action.value.entity, step: '', close: true }, event)
    case 'acceptLoss':
      return onAcceptLoss(cx, action.value, event)
    case undefined: {
      const message = 'the command names no action that this coordinator knows'
      return refuse(cx, event, { entity: '', reason: 'UNKNOWN_COMMAND', message })
    }
  }
}

function onPlan(cx: Context, plan: PlatePlan, event: Extract<Event, { kind: 'command' }>): void {
  const key = `${plan.experiment}/${plan.plate}/${plan.acquisition}`
  if (isRetired(cx.task, key)) {
    if (!isRetiredPlan(cx.task, key, plan)) refuseRetired(cx, event, key)
    return
  }
  const known = cx.task.plans.get(key)
  if (known) {
    if (equals(PlatePlanSchema, known, plan)) return
    const message = `${key} has another plan already: announce a changed layout under another acquisition`
    return refuse(cx, event, { entity: key, reason: 'PLAN_CONFLICT', message })
  }
  const perSite = plan.zPlanes.length * plan.channels.length
  if (perSite > IMAGES_PER_SITE_MAX) {
    const message = `${key} plans ${perSite} images per site; ${IMAGES_PER_SITE_MAX} fit into a site's state`
    return refuse(cx, event, { entity: key, reason: 'PLAN_TOO_LARGE', message })
  }
  cx.task.plans.touch(key, plan)
  const plate = plateStateOf(cx, key)
  plate.lastArrivalMs = Math.max(plate.lastArrivalMs, cx.now)
  startAdopting(cx, key, plate)
  arm(cx, key)
}

function onRedrive(
  cx: Context,
  { entity, step }: Redrive,
  event: Extract<Event, { kind: 'command' }>,
): void {
  if (isEntityKey(entity) && isRetired(cx.task, entity)) return refuseRetired(cx, event, entity)
  if (!isEntityKey(entity) || !placeOf(cx.task, entity)) {
    const message = `"${entity}" is not known: name an image, site, well or plate as npx wellspring plates shows it`
    return refuse(cx, event, { entity, reason: 'UNKNOWN_ENTITY', message })
  }
  switch (levelOf(entity)) {
    case Level.IMAGE:
      return redriveImage(cx, entity, step)
    case Level.SITE:
      return redriveSite(cx, entity, step)
    case Level.WELL:
      return redriveWell(cx, entity, step)
    case Level.PLATE:
      return startSweep(cx, { entity, step, close: false }, event)
  }
}

function redriveImage(cx: Context, key: string, stepName: string): void {
  const place = placeOf(cx.task, key)
  if (!place || !hasParked(cx, place, stepName)) return
  if (standing(cx.task, place.level, place.runs) === 'failed') countImage(cx, key, 'failed', -1)
  for (const run of place.runs) {
    const step = cx.task.pipeline.steps[run.step]
    const wanted = run.state === RunState.PARKED && (stepName === '' || step?.name === stepName)
    if (wanted || run.state === RunState.SKIPPED) reset(cx, place, run)
  }
  // Its site waits for it anew.
  settle(cx, parentOf(key) ?? '')
  afterRun(cx, place)
}

function redriveSite(cx: Context, key: string, step: string): void {
  for (const image of cx.task.sites.get(key)?.images ?? []) {
    redriveImage(cx, `${key}/${imageName(image)}`, step)
  }
  redriveGroup(cx, key, step)
}

function redriveWell(cx: Context, key: string, step: string): void {
  const well = wellOf(key)
  for (const site of cx.task.shape(plateOf(key))?.sites(well) ?? [])
    redriveSite(cx, `${key}/s${site}`, step)
  redriveGroup(cx, key, step)
}

function redriveGroup(cx: Context, key: string, step: string): void {
  const place = placeOf(cx.task, key)
  if (!place || !hasParked(cx, place, step)) return
  change(cx, key)
  settle(cx, key)
}

function hasParked(cx: Context, place: Place, stepName: string): boolean {
  return place.runs.some((run) => {
    const name = cx.task.pipeline.steps[run.step]?.name
    return run.state === RunState.PARKED && (stepName === '' || stepName === name)
  })
}

type SweepWish = { entity: string; step: string; close: boolean }

function startSweep(
  cx: Context,
  wish: SweepWish,
  event: Extract<Event, { kind: 'command' }>,
): void {
  if (isEntityKey(wish.entity) && isRetired(cx.task, wish.entity))
    return refuseRetired(cx, event, wish.entity)
  if (
    !isEntityKey(wish.entity) ||
    levelOf(wish.entity) !== Level.PLATE ||
    !cx.task.plates.has(wish.entity)
  ) {
    const message = `"${wish.entity}" is no known plate: name one as npx wellspring plates shows it`
    return refuse(cx, event, { entity: wish.entity, reason: 'UNKNOWN_ENTITY', message })
  }
  plateStateOf(cx, wish.entity).sweep = create(SweepSchema, wish)
  sweep(cx, wish.entity)
}

/** One well of a plate-wide command, so that a large plate never makes a large flush. */
export function sweep(cx: Context, key: string): void {
  const plate = cx.task.plates.get(key)
  const wish = plate?.sweep
  if (!plate || !wish) return
  const well = wellsWithState(cx.task, key, plate)[wish.nextWell]
  wish.nextWell += 1
  cx.task.plates.touch(key, plate)
  if (well === undefined) {
    delete plate.sweep
    if (wish.close) expire(cx, key, ClosedBy.OPERATOR)
    else redriveGroup(cx, key, wish.step)
    return arm(cx, key)
  }
  const wellKey = `${key}/${well}`
  if (wish.close) closeWell(cx, wellKey)
  else redriveWell(cx, wellKey, wish.step)
  cx.effects.push({ kind: 'timer', entity: key, atMs: cx.now, completeness: false })
}

function closeWell(cx: Context, wellKey: string): void {
  const well = wellOf(wellKey)
  for (const site of cx.task.shape(plateOf(wellKey))?.sites(well) ?? []) {
    const siteKey = `${wellKey}/s${site}`
    if (dueOf(cx, siteKey).kind !== 'never') expire(cx, siteKey, ClosedBy.OPERATOR)
  }
  if (dueOf(cx, wellKey).kind !== 'never') expire(cx, wellKey, ClosedBy.OPERATOR)
}
