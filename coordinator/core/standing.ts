// In which state an entity is, in one word, and which members are holes. Questions for people; decisions ask members.ts.
import { Level } from '#proto/wellspring/contract/v1/options_pb.ts'
import { RunState, type StepRun } from '#proto/wellspring/journal/v1/state_pb.ts'
import { ClosedBy, HoleSchema, type Hole } from '#proto/wellspring/record/v1/output_pb.ts'
import { create } from '@bufbuild/protobuf'
import { groupOf } from './context.ts'
import { levelOf, parentOf, plateOf } from '@wellspring/lab/entity.ts'
import { imageOf, membersOf } from './life.ts'
import { NEVER_ARRIVED, failedHole, standing } from './members.ts'
import { Member, isRetired, isStopped, memberIndexOf, type Task } from './state.ts'

export type State =
  | 'WAITING'
  | 'RUNNING'
  | 'BACKOFF'
  | 'DONE'
  | 'PARKED'
  | 'CLOSED'
  | 'OPEN'
  | 'HOLE'
  | 'RETIRED'
  | 'STOPPED'

/**
 * State of an entity. An image that has not come, or whose next step waits: WAITING. A group: OPEN until it closes, then
 * as its runs are; CLOSED if it has none or they are skipped. HOLE: given up as never arriving. RETIRED: its plate is.
 * STOPPED: its plate is, and it is not at an end.
 */
export function stateOf(task: Task, key: string): State {
  if (isRetired(task, key)) return 'RETIRED'
  const state = ownStateOf(task, key)
  const isOpen = ['WAITING', 'RUNNING', 'BACKOFF', 'OPEN'].includes(state)
  const isOfPlate = levelOf(key) === Level.PLATE
  return isStopped(task, key) && (isOpen || isOfPlate) ? 'STOPPED' : state
}

function ownStateOf(task: Task, key: string): State {
  const runs = runsOf(task, key)
  if (!runs) return isGivenUp(task, key) ? 'HOLE' : 'WAITING'
  const isIn = (state: RunState): boolean => runs.some((run) => run.state === state)
  if (isIn(RunState.RUNNING)) return 'RUNNING'
  if (isIn(RunState.BACKOFF)) return 'BACKOFF'
  const group = groupOf(task, key)
  if (group && (!group.close || group.changed)) return 'OPEN'
  if (isIn(RunState.PARKED)) return 'PARKED'
  const steps = task.pipeline.at(levelOf(key))
  if (group && (steps.length === 0 || isIn(RunState.SKIPPED))) return 'CLOSED'
  return standing(task, levelOf(key), runs) === 'open' ? 'WAITING' : 'DONE'
}

/** Step runs of an entity; undefined if it has no state. */
export function runsOf(task: Task, key: string): readonly StepRun[] | undefined {
  return levelOf(key) === Level.IMAGE ? imageOf(task, key)?.runs : groupOf(task, key)?.runs
}

/** Whether the plan names the entity; before the plan, nothing is planned. */
export function isPlanned(task: Task, key: string): boolean {
  const parent = parentOf(key)
  if (parent === undefined) return task.shape(key) !== undefined
  return isPlanned(task, parent) && membersOf(task, parent).includes(key)
}

/** Whether an expected entity that has no state was given up, by the level above or one higher. */
function isGivenUp(task: Task, key: string): boolean {
  const parent = parentOf(key)
  if (parent === undefined) return false
  const above = groupOf(task, parent)
  if (!above) return isGivenUp(task, parent)
  return above.expiredBy !== ClosedBy.UNSPECIFIED
}

/**
 * The holes at and below an entity, at most `max`: what was given up, and what failed. What is below a hole that never
 * arrived is not listed.
 */
export function knownHoles(task: Task, key: string, max: number): Hole[] {
  if (max <= 0) return []
  const own = holeOf(task, key)
  const holes = own ? [own] : []
  if (own?.reason === NEVER_ARRIVED || levelOf(key) === Level.IMAGE) return holes
  for (const member of membersOf(task, key)) {
    if (holes.length >= max) break
    holes.push(...knownHoles(task, member, max - holes.length))
  }
  return holes
}

function holeOf(task: Task, key: string): Hole | undefined {
  const runs = runsOf(task, key)
  if (!runs)
    return isGivenUp(task, key)
      ? create(HoleSchema, { entity: key, reason: NEVER_ARRIVED })
      : undefined
  const isFailed =
    levelOf(key) === Level.IMAGE
      ? standing(task, Level.IMAGE, runs) === 'failed'
      : memberStatus(task, key) === Member.FAILED
  return isFailed ? failedHole(task, key, runs) : undefined
}

/** Where the level above has noted a site or well to stand (Member). */
function memberStatus(task: Task, key: string): number {
  const shape = task.shape(plateOf(key))
  const parent = parentOf(key) ?? ''
  if (!shape) return Member.NONE
  const groups = levelOf(key) === Level.SITE ? task.wells : task.plates
  return groups.get(parent)?.members[memberIndexOf(shape, key)] ?? Member.NONE
}
