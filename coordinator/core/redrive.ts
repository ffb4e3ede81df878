// Parked runs are tried again, as their next generation.
import { RunState } from '#proto/wellspring/journal/v1/state_pb.ts'
import { imageName, placeOf, type Context, type Place } from './context.ts'
import { afterRun, change, countImage } from './follow.ts'
import { parentOf, plateOf, wellOf } from '@wellspring/lab/entity.ts'
import { settle } from './levels.ts'
import { standing } from './members.ts'
import { reset } from './runs.ts'

export function redriveImage(cx: Context, key: string, stepName: string): void {
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

export function redriveSite(cx: Context, key: string, step: string): void {
  for (const image of cx.task.sites.get(key)?.images ?? []) {
    redriveImage(cx, `${key}/${imageName(image)}`, step)
  }
  redriveGroup(cx, key, step)
}

export function redriveWell(cx: Context, key: string, step: string): void {
  for (const site of sitesOf(cx, key)) redriveSite(cx, `${key}/s${site}`, step)
  redriveGroup(cx, key, step)
}

/** Site numbers of a well: the planned ones, before the plan those that came. */
export function sitesOf({ task }: Context, key: string): readonly number[] {
  return task.shape(plateOf(key))?.sites(wellOf(key)) ?? task.wells.get(key)?.seen ?? []
}

export function redriveGroup(cx: Context, key: string, step: string): void {
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
