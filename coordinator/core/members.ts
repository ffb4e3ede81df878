// Who belongs to a group, and what is missing: pure questions about state.
import { create } from '@bufbuild/protobuf'
import { Level } from '#proto/wellspring/contract/v1/options_pb.ts'
import {
  RunState,
  type ImageState,
  type PlateState,
  type StepRun,
  type WellState,
} from '#proto/wellspring/journal/v1/state_pb.ts'
import { HoleSchema, type Hole } from '#proto/wellspring/record/v1/output_pb.ts'
import { failureOf } from './attempts.ts'
import { groupOf, imageName } from './context.ts'
import { levelOf, plateOf, wellOf } from '@wellspring/lab/entity.ts'
import { membersOf } from './life.ts'
import { Member, type Shape, type Task } from './state.ts'

export const NEVER_ARRIVED = 'NEVER_ARRIVED'
export const INPUT_MISSING = 'INPUT_MISSING'

export type Counts = { readonly expected: number; readonly done: number }

/** Where a level's runs stand together: work to do, all done, or something parked or skipped. */
export function standing(
  task: Task,
  level: Level,
  runs: readonly StepRun[],
): 'open' | 'done' | 'failed' {
  let failed = false
  for (const step of task.pipeline.at(level)) {
    const run = runs.find((one) => one.step === step.index)
    switch (run?.state) {
      case RunState.DONE:
        break
      case RunState.PARKED:
      case RunState.SKIPPED:
        failed = true
        break
      case RunState.RUNNING:
      case RunState.BACKOFF:
      case RunState.UNSPECIFIED:
      case undefined:
        return 'open'
    }
  }
  return failed ? 'failed' : 'done'
}

export function isImageDone(task: Task, image: ImageState): boolean {
  return standing(task, Level.IMAGE, image.runs) === 'done'
}

/** Expected members of a site, well or plate, and those of them that are done: others may have come beside them. */
export function closeCount(task: Task, key: string): Counts {
  const group = groupOf(task, key)
  const shape = task.shape(plateOf(key))
  if (!shape) return { expected: 0, done: 0 }
  const isPlanned = (image: ImageState): boolean => shape.imageSet.has(imageName(image))
  const done =
    group && 'images' in group
      ? group.images.filter((one) => isPlanned(one) && isImageDone(task, one)).length
      : count(group?.members ?? new Uint8Array(), Member.DONE)
  return { expected: expectedOf(task, key), done }
}

/** How many members the plan names; before the plan none is expected. */
function expectedOf(task: Task, key: string): number {
  const shape = task.shape(plateOf(key))
  switch (levelOf(key)) {
    case Level.SITE:
      return shape?.images.length ?? 0
    case Level.WELL:
      return shape?.sites(wellOf(key)).length ?? 0
    case Level.PLATE:
      return shape?.members.length ?? 0
    case Level.IMAGE:
      return 0
  }
}

/**
 * Where the members of a well or plate stand, in the plan's order. A well that came before its plan, and of which nothing
 * was heard since, has the sites that came.
 */
export function standings(shape: Shape, key: string, group: WellState | PlateState): Uint8Array {
  const isWell = levelOf(key) === Level.WELL
  const sites = isWell ? shape.sites(wellOf(key)) : []
  const expected = isWell ? sites.length : shape.members.length
  if (group.members.length === expected) return group.members
  const members = new Uint8Array(expected)
  members.set(group.members)
  if (!isWell || group.members.length > 0) return members
  for (const [at, site] of sites.entries())
    if ((group as WellState).seen.includes(site)) members[at] = Member.OPEN
  return members
}

export function count(members: Uint8Array, status: number): number {
  let sum = 0
  for (const member of members) if (member === status) sum += 1
  return sum
}

/** The expected members of a site, well or plate that are not done, with the reason. */
export function holesOf(task: Task, key: string): Hole[] {
  const shape = task.shape(plateOf(key))
  if (!shape) return []
  const group = groupOf(task, key)
  if (levelOf(key) === Level.SITE) return siteHoles(task, shape, key)
  const members = group && 'members' in group ? group.members : undefined
  return membersOf(task, key).flatMap((entity, at) => {
    const status = members?.[at] ?? Member.NONE
    if (status === Member.DONE) return []
    if (status !== Member.FAILED) return create(HoleSchema, { entity, reason: NEVER_ARRIVED })
    return failedHole(task, entity, groupOf(task, entity)?.runs ?? [])
  })
}

function siteHoles(task: Task, shape: Shape, key: string): Hole[] {
  const images = new Map(
    (task.sites.get(key)?.images ?? []).map((image) => [imageName(image), image]),
  )
  return shape.images.flatMap((name) => {
    const image = images.get(name)
    const entity = `${key}/${name}`
    if (!image) return create(HoleSchema, { entity, reason: NEVER_ARRIVED })
    return isImageDone(task, image) ? [] : failedHole(task, entity, image.runs)
  })
}

/** A member that is not done because of a run that is parked or skipped. */
export function failedHole(task: Task, entity: string, runs: readonly StepRun[]): Hole {
  const parked = runs.find((run) => run.state === RunState.PARKED)
  const step = parked && task.pipeline.steps[parked.step]?.name
  return create(HoleSchema, {
    entity,
    reason: (parked && failureOf(parked)?.reason) ?? INPUT_MISSING,
    step: step ?? '',
  })
}
