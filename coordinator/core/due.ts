// Deadlines that wait for what was announced: when a level gives up members that never arrived, and when a finished
// plate is retired.
import { Level } from '#proto/wellspring/contract/v1/options_pb.ts'
import type { PlateState } from '#proto/wellspring/journal/v1/state_pb.ts'
import { ClosedBy } from '#proto/wellspring/record/v1/output_pb.ts'
import { groupOf, imageName, type Context, type Group } from './context.ts'
import { levelOf, plateOf } from '@wellspring/lab/entity.ts'
import { count, standings } from './members.ts'
import { isActive } from './runs.ts'
import { Member, isStopped, type Shape, type Task } from './state.ts'

type Later = { readonly kind: 'later'; readonly atMs: number }

export type Due =
  | { readonly kind: 'never' }
  | Later
  /** Members that never arrived are given up. */
  | { readonly kind: 'now'; readonly by: ClosedBy }

export type Deadline = Due | { readonly kind: 'retire' }

/** What falls due next of a site, well or plate. */
export function deadlineOf(cx: Pick<Context, 'task' | 'now'>, key: string): Deadline {
  const due = dueOf(cx, key)
  if (due.kind !== 'never' || levelOf(key) !== Level.PLATE) return due
  const atMs = retiresAtMs(cx.task, key)
  if (atMs === Infinity) return due
  return cx.now >= atMs ? { kind: 'retire' } : { kind: 'later', atMs }
}

/** When a site, well or plate gives up members that never arrived. */
export function dueOf(cx: Pick<Context, 'task' | 'now'>, key: string): Due {
  const shape = cx.task.shape(plateOf(key))
  const group = groupOf(cx.task, key)
  const policy = shape?.plan.completeness
  if (!shape?.patience || !group || !policy) return { kind: 'never' }
  if (isStopped(cx.task, key)) return { kind: 'never' }
  const { arrived, expected } = arrivals(shape, key, group)
  if (arrived >= expected || group.expiredBy !== ClosedBy.UNSPECIFIED) return { kind: 'never' }
  const quorumMs = group.lastArrivalMs + shape.patience.quorumMs
  const deadlineMs = group.lastArrivalMs + shape.patience.deadlineMs
  const hasQuorum = arrived >= policy.quorum * expected
  if (hasQuorum && cx.now >= quorumMs) return { kind: 'now', by: ClosedBy.QUORUM }
  if (cx.now >= deadlineMs) return { kind: 'now', by: ClosedBy.DEADLINE }
  return { kind: 'later', atMs: hasQuorum ? Math.min(quorumMs, deadlineMs) : deadlineMs }
}

export function arrivals(
  shape: Shape,
  key: string,
  group: Group,
): { arrived: number; expected: number } {
  if ('images' in group) {
    const planned = group.images.filter((image) => shape.imageSet.has(imageName(image)))
    return { arrived: planned.length, expected: shape.images.length }
  }
  const members = standings(shape, key, group)
  return { arrived: members.length - count(members, Member.NONE), expected: members.length }
}

/** When a plate is retired, as it stands; Infinity: not before something happens to it. */
export function retiresAtMs(task: Task, key: string): number {
  const plate = task.plates.get(key)
  if (!plate || plate.stopped || !isAtRest(plate)) return Infinity
  const lastMs = Math.max(
    plate.close?.atMs ?? 0,
    plate.lastArrivalMs,
    ...plate.runs.map((run) => run.endedMs),
  )
  return lastMs + task.bounds.retireAfterMs
}

/** Closed, its own steps ended, and nothing below is awaited, under way or waits to be tried again. */
export function isAtRest(plate: PlateState): boolean {
  if (!plate.close?.completed || plate.changed || plate.sweep || plate.retired) return false
  if (plate.runs.some(isActive)) return false
  // Images that the plan does not name make no member, but run.
  if (plate.done + plate.failed < plate.arrived) return false
  return !plate.members.some((member) => member === Member.NONE || member === Member.OPEN)
}
