// What the operator or the instrument wants: plans, redrives, closes.
import { equals } from '@bufbuild/protobuf'
import { Level } from '#proto/wellspring/contract/v1/options_pb.ts'
import { PlatePlanSchema, type PlatePlan } from '#proto/wellspring/lab/v1/plan_pb.ts'
import type { Redrive } from '#proto/wellspring/record/v1/input_pb.ts'
import { startAdopting } from './adopt.ts'
import { placeOf, plateStateOf, type Context } from './context.ts'
import type { Event } from './event.ts'
import { isEntityKey, levelOf, plateOf } from '@wellspring/lab/entity.ts'
import { arm } from './levels.ts'
import { onAcceptLoss } from './losses.ts'
import { PLAN_HINT, planTooLarge } from './plan-limits.ts'
import { redriveImage, redriveSite, redriveWell } from './redrive.ts'
import { refuse } from './refuse.ts'
import { resume } from './restore.ts'
import { isRetiredPlan, refuseRetired, retire } from './retire.ts'
import { isRetired, isStopped } from './state.ts'
import { refuseStopped } from './stop.ts'
import { IMAGES_PER_EVENT, startSweep, type SweepWish } from './sweep.ts'

export function onCommand(cx: Context, event: Extract<Event, { kind: 'command' }>): void {
  const { action } = event.command
  switch (action.case) {
    case 'plan':
      return onPlan(cx, action.value, event)
    case 'redrive':
      return onRedrive(cx, action.value, event)
    case 'close':
      return onPlateWide(cx, { entity: action.value.entity, step: '', close: true }, event)
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
  if (isStopped(cx.task, key)) return refuseStopped(cx, event, key)
  const tooLarge = planTooLarge(plan)
  if (tooLarge !== undefined) {
    const message = `${key} plans ${tooLarge}`
    return refuse(cx, event, { entity: key, reason: 'PLAN_TOO_LARGE', message, hint: PLAN_HINT })
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
  if (levelOf(entity) !== Level.PLATE && isStopped(cx.task, entity))
    return refuseStopped(cx, event, entity)
  switch (levelOf(entity)) {
    case Level.IMAGE:
      return redriveImage(cx, entity, step)
    case Level.SITE:
      return redriveSite(cx, entity, step)
    case Level.WELL:
      return redriveWellOrSweep(cx, { entity, step }, event)
    case Level.PLATE:
      return onPlateWide(cx, { entity, step, close: false }, event)
  }
}

function redriveWellOrSweep(
  cx: Context,
  wish: { entity: string; step: string },
  event: Extract<Event, { kind: 'command' }>,
): void {
  const arrived = cx.task.wells.get(wish.entity)?.arrived ?? 0
  if (arrived <= IMAGES_PER_EVENT) return redriveWell(cx, wish.entity, wish.step)
  sweepOrRefuse(cx, { ...wish, close: false }, event)
}

function onPlateWide(
  cx: Context,
  wish: SweepWish,
  event: Extract<Event, { kind: 'command' }>,
): void {
  const { entity } = wish
  if (isEntityKey(entity) && isRetired(cx.task, entity)) return refuseRetired(cx, event, entity)
  if (!isEntityKey(entity) || levelOf(entity) !== Level.PLATE || !cx.task.plates.has(entity)) {
    const message = `"${entity}" is no known plate: name one as npx wellspring plates shows it`
    return refuse(cx, event, { entity, reason: 'UNKNOWN_ENTITY', message })
  }
  if (isStopped(cx.task, entity)) return endStop(cx, wish, event)
  sweepOrRefuse(cx, wish, event)
}

/** The operator's word on a stopped plate: it goes on, or it is given up and forgotten. */
function endStop(
  cx: Context,
  { entity, close }: SweepWish,
  event: Extract<Event, { kind: 'command' }>,
): void {
  if (close) return retire(cx, entity)
  if (cx.task.stopping.has(entity)) return refuseStopped(cx, event, entity)
  const plate = plateStateOf(cx, entity)
  delete plate.stopped
  resume(cx, entity)
}

function sweepOrRefuse(
  cx: Context,
  wish: SweepWish,
  event: Extract<Event, { kind: 'command' }>,
): void {
  if (startSweep(cx, wish)) return
  const { entity } = wish
  refuse(cx, event, {
    entity,
    reason: 'COMMANDS_UNDER_WAY',
    message: `${plateOf(entity)} is still busy with commands that came before this one`,
    hint: 'send it again in a minute',
  })
}
