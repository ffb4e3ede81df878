// Fan-in: images to sites, sites to wells, wells to plates. A level closes by policy, never by hope: when every
// expected member has ended, or was given up after its quiet time. Members in work are always waited for.
import { create } from '@bufbuild/protobuf'
import { timestampFromMs } from '@bufbuild/protobuf/wkt'
import { Level, PoisonAction } from '#proto/wellspring/contract/v1/options_pb.ts'
import { ErrorClass } from '#proto/wellspring/contract/v1/errors_pb.ts'
import {
  CloseSchema,
  RunState,
  type PlateState,
  type WellState,
} from '#proto/wellspring/journal/v1/state_pb.ts'
import {
  ClosedBy,
  LevelClosedSchema,
  PlateEventSchema,
  Verdict,
} from '#proto/wellspring/record/v1/output_pb.ts'
import { failureOf } from './attempts.ts'
import { worse } from './pipeline/bands.ts'
import {
  groupOf,
  imageName,
  placeOf,
  plateStateOf,
  type Context,
  type Group,
  type Place,
} from './context.ts'
import { arrivals, deadlineOf } from './due.ts'
import { levelOf, parentOf, plateOf, wellOf } from '@wellspring/lab/entity.ts'
import { invariant } from './invariant.ts'
import { membersOf } from './life.ts'
import { INPUT_MISSING, closeCount, count, holesOf, standing, standings } from './members.ts'
import { closedRecord, plateEventRecord } from './records.ts'
import { advance, isActive, reset, runOf } from './runs.ts'
import { Member, memberIndexOf, type Shape } from './state.ts'

/** Closes a site, well or plate if it can be, starts its steps, and tells the level above where it stands. */
export function settle(cx: Context, key: string): void {
  const shape = cx.task.shape(plateOf(key))
  const group = groupOf(cx.task, key)
  // Before the plan arrives nothing above the image closes.
  if (!shape || !group) return
  if (isWaiting(cx, shape, key, group) || group.runs.some(isActive))
    return tell(cx, key, Member.OPEN)
  if (group.changed) close(cx, key, group)
  const place = placeOf(cx.task, key)
  if (!place || !group.close || group.close.completed) return
  const stands = standing(cx.task, place.level, place.runs)
  if (stands === 'open') return tell(cx, key, Member.OPEN)
  group.close.completed = true
  place.touch()
  cx.effects.push({ kind: 'completed', entity: key, trace: group.close.revision })
  if (place.level !== Level.PLATE)
    return tell(cx, key, stands === 'done' ? Member.DONE : Member.FAILED)
  cx.effects.push(plateEvent(cx, key, group as PlateState, place))
  arm(cx, key)
}

/** Whether a member is still awaited or in work. */
function isWaiting(cx: Context, shape: Shape, key: string, group: Group): boolean {
  if ('images' in group) {
    const planned = group.images.filter((image) => shape.imageSet.has(imageName(image)))
    if (planned.length < shape.images.length && group.expiredBy === ClosedBy.UNSPECIFIED)
      return true
    return planned.some((image) => standing(cx.task, Level.IMAGE, image.runs) === 'open')
  }
  const expected = closeCount(cx.task, key).expected
  if (group.members.length < expected) return true
  return group.members.some((member) => member === Member.NONE || member === Member.OPEN)
}

function close(cx: Context, key: string, group: Group): void {
  const { task } = cx
  const { expected, done } = closeCount(task, key)
  invariant(done <= expected, 'I4', 'a level has no more members done than its plan names', key)
  invariant(
    'images' in group || !group.members.includes(Member.OPEN),
    'I10',
    'no member is in work when its level closes',
    key,
  )
  const holes = holesOf(task, key)
  group.changed = false
  group.close = create(CloseSchema, {
    revision: (group.close?.revision ?? 0) + 1,
    closedBy: closedBy(cx, key, group, holes.length),
    atMs: cx.now,
    expected,
    done,
  })
  const place = placeOf(task, key)
  if (!place) return
  place.touch()
  for (const run of place.runs) if (run.state !== RunState.UNSPECIFIED) reset(cx, place, run)
  const blocked = done === 0 || isFailedByPoison(cx, key)
  if (blocked) skipAll(cx, place)
  else advance(cx, place)
  const skipped = task.pipeline
    .at(place.level)
    .filter((step) => runOf(place, step).state === RunState.SKIPPED)
    .map((step) => ({ step: step.name, reason: blocked ? 'NO_MEMBERS' : INPUT_MISSING }))
  const closed = create(LevelClosedSchema, {
    entity: key,
    level: place.level,
    pipeline: task.pipeline.label,
    revision: group.close.revision,
    closedBy: group.close.closedBy,
    expected,
    done,
    skipped,
    closedAt: timestampFromMs(cx.now),
  })
  cx.effects.push(closedRecord(closed, holes))
}

function skipAll(cx: Context, place: Place): void {
  for (const step of cx.task.pipeline.at(place.level)) runOf(place, step).state = RunState.SKIPPED
}

/** What let it close: all, only if nothing below is missing either; else the weakest word given for it. */
function closedBy(cx: Context, key: string, group: Group, holes: number): ClosedBy {
  let by: ClosedBy = ClosedBy.ALL
  if (holes > 0 && group.expiredBy !== ClosedBy.UNSPECIFIED) by = group.expiredBy
  for (const member of membersOf(cx.task, key)) {
    const below = groupOf(cx.task, member)?.close?.closedBy ?? ClosedBy.UNSPECIFIED
    if (below > by) by = below
  }
  return by
}

/** A member is poison at a step whose contract says that poison fails the group. */
function isFailedByPoison(cx: Context, key: string): boolean {
  const strict = cx.task.pipeline.steps.filter(
    (step) => step.policy.onPoison === PoisonAction.FAIL_GROUP,
  )
  if (strict.length === 0) return false
  const below = cx.task.sites.get(key)?.images.map((image) => image.runs)
  const runs =
    below ?? membersOf(cx.task, key).map((member) => placeOf(cx.task, member)?.runs ?? [])
  return runs
    .flat()
    .some(
      (run) =>
        run.state === RunState.PARKED &&
        failureOf(run)?.class === ErrorClass.POISON &&
        strict.some((step) => step.index === run.step),
    )
}

/** Tells the level above where a member stands, and settles that level. */
function tell(cx: Context, key: string, status: number): void {
  const parent = parentOf(key)
  if (parent === undefined) return
  if (setMember(cx, key, status)) settle(cx, parent)
}

/** Notes where a member stands; true if that was news. */
export function setMember(cx: Context, key: string, status: number): boolean {
  const parent = parentOf(key)
  const shape = cx.task.shape(plateOf(key))
  if (parent === undefined || !shape) return false
  const isSite = levelOf(key) === Level.SITE
  const group = isSite ? cx.task.wells.open(parent) : cx.task.plates.open(parent)
  const index = memberIndexOf(shape, key)
  if (index < 0) return false
  const ended = status === Member.DONE || status === Member.FAILED
  // A member that ended again (another revision) is news even if its status is the same.
  if (group.members[index] === status && !ended) return false
  // Copy on write: decoded bytes are views of the stored record.
  const members = new Uint8Array(standings(shape, parent, group))
  members[index] = status
  group.members = members
  if (ended) group.changed = true
  if (isSite) cx.task.wells.touch(parent, group as WellState)
  else cx.task.plates.touch(parent, group as PlateState)
  return true
}

function plateEvent(
  cx: Context,
  key: string,
  plate: PlateState,
  place: Place,
): ReturnType<typeof plateEventRecord> {
  const shape = cx.task.shape(key)
  const judged = place.runs.map((run) => run.verdict)
  return plateEventRecord(
    create(PlateEventSchema, {
      entity: key,
      pipeline: cx.task.pipeline.label,
      revision: plate.close?.revision ?? 0,
      closedBy: plate.close?.closedBy ?? ClosedBy.UNSPECIFIED,
      verdict: judged.reduce<Verdict>(worse, Verdict.NOT_EVALUATED),
      imagesExpected: shape?.imagesExpected ?? 0,
      imagesDone: plate.done,
      wellsDone: count(plate.members, Member.DONE),
      wellsExpected: shape?.members.length ?? 0,
    }),
  )
}

/** Sets the timer of a level's deadline, if it can fall due. */
export function arm(cx: Context, key: string): void {
  const due = deadlineOf(cx, key)
  if (due.kind === 'never') return
  const atMs = due.kind === 'later' ? due.atMs : cx.now
  cx.effects.push({ kind: 'timer', entity: key, atMs, completeness: true })
}

/** Gives up the members that never arrived. */
export function expire(cx: Context, key: string, by: ClosedBy): void {
  const shape = cx.task.shape(plateOf(key))
  const group = groupOf(cx.task, key)
  if (!shape || !group || group.expiredBy !== ClosedBy.UNSPECIFIED) return
  group.expiredBy = by
  group.changed = true
  placeOf(cx.task, key)?.touch()
  if ('images' in group) {
    const { arrived, expected } = arrivals(shape, key, group)
    countMissing(cx, key, expected - arrived)
  } else {
    giveUpMembers(cx, shape, key, group)
  }
  settle(cx, key)
}

function giveUpMembers(
  cx: Context,
  shape: Shape,
  key: string,
  group: WellState | PlateState,
): void {
  const isPlate = levelOf(key) === Level.PLATE
  const sites = (name: string): number =>
    isPlate ? shape.sites(name.split('/')[0] ?? '').length : 1
  const names = isPlate ? shape.members : shape.sites(wellOf(key)).map(String)
  const members = new Uint8Array(standings(shape, key, group))
  let images = 0
  for (const [index, name] of names.entries()) {
    if (members[index] !== Member.NONE) continue
    members[index] = Member.MISSING
    images += sites(name) * shape.images.length
  }
  group.members = members
  countMissing(cx, key, images)
}

/** Adds to the images given up, on the plate and, below it, on the well. */
export function countMissing(cx: Context, key: string, images: number): void {
  const plate = plateStateOf(cx, key)
  plate.missing += images
  invariant(plate.missing >= 0, 'I1', 'no more images arrive late than were given up', key)
  const wellKey =
    levelOf(key) === Level.SITE ? parentOf(key) : levelOf(key) === Level.WELL ? key : undefined
  const well = wellKey === undefined ? undefined : cx.task.wells.get(wellKey)
  if (wellKey === undefined || !well) return
  well.missing += images
  cx.task.wells.touch(wellKey, well)
}
