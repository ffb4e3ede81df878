// What a task knows.
import type { DescMessage } from '@bufbuild/protobuf'
import { durationMs } from '@bufbuild/protobuf/wkt'
import {
  PlateStateSchema,
  RunPayloadSchema,
  SiteStateSchema,
  WellStateSchema,
  type AcceptedLoss,
} from '#proto/wellspring/journal/v1/state_pb.ts'
import { PlatePlanSchema, type PlatePlan } from '#proto/wellspring/lab/v1/plan_pb.ts'
import { Level } from '#proto/wellspring/contract/v1/options_pb.ts'
import { planCut, siteCut } from './cut.ts'
import { entities, type Change, type Entities } from './entities.ts'
import { belowPlate, levelOf, plateOf } from '@wellspring/lab/entity.ts'
import type { Pipeline } from './pipeline/pipeline.ts'

/** What a flush writes, about. */
export type Changed = { readonly records: number; readonly bytes: number }

/** Where a member of a group stands; one byte each in PlateState.members and WellState.members. */
export const Member = { NONE: 0, OPEN: 1, DONE: 2, MISSING: 3, FAILED: 4 } as const

export const PLAN_SUFFIX = '#plan'

/** The plan's layout, indexed. */
export type Shape = {
  readonly plan: PlatePlan
  /** <well>/t<time point>, in the order of PlateState.members. */
  readonly members: readonly string[]
  readonly memberIndex: ReadonlyMap<string, number>
  /** Site numbers of a well, in the order of WellState.members. */
  sites(well: string): readonly number[]
  /** z/channel of every image of a site. */
  readonly images: readonly string[]
  readonly imageSet: ReadonlySet<string>
  readonly imagesExpected: number
  /** When members that never arrived are given up, from the last arrival on; undefined: never. */
  readonly patience: { readonly quorumMs: number; readonly deadlineMs: number } | undefined
}

export function shapeOf(plan: PlatePlan): Shape {
  const members = plan.wells.flatMap((well) => plan.timePoints.map((t) => `${well.well}/t${t}`))
  const own = new Map(
    plan.wells.map((well) => [well.well, well.sites.length > 0 ? well.sites : plan.sites]),
  )
  const images = plan.zPlanes.flatMap((z) =>
    plan.channels.map((channel) => `z${z}/${channel.name}`),
  )
  const sitesExpected = plan.wells.reduce((sum, well) => sum + (own.get(well.well)?.length ?? 0), 0)
  return {
    plan,
    members,
    memberIndex: new Map(members.map((member, index) => [member, index])),
    sites: (well) => own.get(well) ?? [],
    images,
    imageSet: new Set(images),
    imagesExpected: sitesExpected * plan.timePoints.length * images.length,
    patience: patienceOf(plan),
  }
}

function patienceOf({ completeness }: PlatePlan): Shape['patience'] {
  const { quorumAfter, deadline } = completeness ?? {}
  return quorumAfter && deadline
    ? { quorumMs: durationMs(quorumAfter), deadlineMs: durationMs(deadline) }
    : undefined
}

/** Index of a well or site among the members of its plate or well; -1: the plan does not name it. */
export function memberIndexOf(shape: Shape, key: string): number {
  const name = belowPlate(key)
  const site = name.lastIndexOf('/s')
  if (site < 0) return shape.memberIndex.get(name) ?? -1
  const well = name.slice(0, name.indexOf('/'))
  return shape.sites(well).indexOf(Number(name.slice(site + 2)))
}

export type Bounds = {
  /** How long a finished plate is kept before it is retired; Infinity: for ever. */
  readonly retireAfterMs: number
  /** Wells and sites that one event forgets, or takes up under a plan that came late, give or take a well. */
  readonly recordsPerEvent: number
  /** Decoded entities that are kept, per kind; 128 unless told. */
  readonly decodedEntitiesMax?: number
}

export type Task = {
  /** Application id: part of every trace id. */
  readonly application: string
  readonly pipeline: Pipeline
  readonly bounds: Bounds
  /** The lowest journal version whose readers understand this state: it grows when state holds what is new in one. */
  journalVersion: number
  /** Inputs that were lost unread and that a person let go; the last ones. */
  losses: readonly AcceptedLoss[]
  readonly plates: Entities<typeof PlateStateSchema>
  readonly plans: Entities<typeof PlatePlanSchema>
  readonly wells: Entities<typeof WellStateSchema>
  readonly sites: Entities<typeof SiteStateSchema>
  /** What is large of step runs (payload.ts). */
  readonly payloads: Entities<typeof RunPayloadSchema>
  /** All that the task holds, in one order. */
  readonly maps: readonly EntityMap[]
  /** Plates that a command which is taken in anew had let go on, in vain: it must not do so again. */
  readonly stopping: Set<string>
  /** Layout of a plate acquisition; undefined before its plan arrives. */
  shape(plate: string): Shape | undefined
  dropPlan(plate: string): void
  /** Wells of a plate that have state, as <well>/t<time point>, in order of name: asked where there is no plan. */
  wellsOf(plate: string): readonly string[]
}

type EntityMap = Pick<
  Entities<DescMessage>,
  'hold' | 'release' | 'changedRecords' | 'changedBytes' | 'take' | 'hasParts' | 'all'
>
const NO_MAPS: readonly EntityMap[] = []

const NEVER: Bounds = { retireAfterMs: Infinity, recordsPerEvent: 100 }

/** Plates are retired from this journal version on. */
export const RETIRING_VERSION = 2
/**
 * From this one on, what an entity holds is bounded: attempts share their words, and what is large
 * goes on elsewhere. Version 3 listed wells that came before their plan by name.
 */
export const BOUNDED_VERSION = 4

/** State holds what only readers of this version understand. */
export function needsVersion(task: Task, version: number): void {
  task.journalVersion = Math.max(task.journalVersion, version)
}
/** Input that a person let go is remembered from this one on. */
export const LOSSES_VERSION = 4

export function emptyTask(application: string, pipeline: Pipeline, bounds = NEVER): Task {
  const decodedMax = bounds.decodedEntitiesMax
  const plans = entities({ schema: PlatePlanSchema, suffix: PLAN_SUFFIX, cut: planCut, decodedMax })
  const plates = entities({ schema: PlateStateSchema, decodedMax })
  const wells = entities({ schema: WellStateSchema, decodedMax })
  const sites = entities({ schema: SiteStateSchema, cut: siteCut, decodedMax })
  const payloads = entities({ schema: RunPayloadSchema, decodedMax })
  const shapes = new Map<string, Shape>()
  let found = { plate: '', version: -1, names: [] as readonly string[] }
  return {
    application,
    pipeline,
    bounds,
    journalVersion: 1,
    losses: [],
    stopping: new Set(),
    plans,
    plates,
    wells,
    sites,
    payloads,
    maps: [plans, plates, wells, sites, payloads],
    shape(plate) {
      const known = shapes.get(plate)
      if (known) return known
      const plan = plans.get(plate)
      if (!plan) return undefined
      const shape = shapeOf(plan)
      shapes.set(plate, shape)
      return shape
    },
    dropPlan(plate) {
      plans.drop(plate)
      shapes.delete(plate)
    },
    wellsOf(plate) {
      const version = wells.version()
      if (found.plate === plate && found.version === version) return found.names
      const names = [...wells.keys()].filter((key) => key.startsWith(`${plate}/`)).toSorted()
      found = { plate, version, names: names.map((key) => key.slice(plate.length + 1)) }
      return found.names
    },
  }
}

/** Runs one event: an entity that it got stays the same object until it is over. */
export function during<T>(task: Task, event: () => T): T {
  const { maps } = task
  for (const map of maps) map.hold()
  try {
    return event()
  } finally {
    for (const map of maps) map.release()
  }
}

/** Puts one record of state.v1 back. Keys that begin with # are the journal's own. */
export function loadState(task: Task, key: string, bytes: Uint8Array | null): void {
  if (key.includes('#')) return loadBeside(task, key, bytes)
  switch (levelOf(key)) {
    case Level.PLATE:
      return task.plates.load(key, bytes)
    case Level.WELL:
      return task.wells.load(key, bytes)
    case Level.SITE:
      return task.sites.load(key, bytes)
    case Level.IMAGE:
      throw new Error(`state.v1 holds "${key}", which is no plate, well or site`)
  }
}

/** A record that is no entity's own: a plan, or what goes on beside it. */
function loadBeside(task: Task, key: string, bytes: Uint8Array | null): void {
  const name = entityOf(key)
  const kind = key.slice(name.length)
  const level = levelOf(name)
  if (kind === PLAN_SUFFIX) return task.plans.load(name, bytes)
  if (kind.startsWith('#run.')) return task.payloads.load(key, bytes)
  if (level === Level.PLATE && kind.startsWith(PLAN_SUFFIX + planCut.infix))
    return task.plans.loadPart(key, bytes)
  if (level === Level.SITE && kind.startsWith(siteCut.infix)) return task.sites.loadPart(key, bytes)
  throw new Error(`state.v1 holds "${key}", which is no record that this version knows`)
}

/** The entity that a key of state.v1 belongs to. */
export function entityOf(key: string): string {
  const at = key.indexOf('#')
  return at < 0 ? key : key.slice(0, at)
}

/** What the next take returns, about. Asked before each event: it makes nothing but its answer. */
export function changesOf(task: Task | undefined): Changed {
  let [records, bytes] = [0, 0]
  for (const map of task?.maps ?? NO_MAPS) {
    records += map.changedRecords()
    bytes += map.changedBytes()
  }
  return { records, bytes }
}

/** Everything that changed since the last take, as keys and bytes of state.v1; then journalVersion is that of them. */
export function takeChanges(task: Task): Change[] {
  const changes = task.maps.flatMap((map) => map.take())
  if (task.maps.some((map) => map.hasParts())) needsVersion(task, BOUNDED_VERSION)
  return changes
}

/** Every record of state.v1, map by map, each in order of key. */
export function allRecords(task: Task): [key: string, bytes: Uint8Array][] {
  return task.maps.flatMap((map) => map.all())
}

/** Whether the plate that an entity is or belongs to is retired: only its summary is known any more. */
export function isRetired(task: Task, key: string): boolean {
  return task.plates.get(plateOf(key))?.retired !== undefined
}

/** Whether the plate that an entity is or belongs to is stopped: nothing is done for it. */
export function isStopped(task: Task, key: string): boolean {
  const plate = task.plates.get(plateOf(key))
  // Given up, it is forgotten as every other that is retired.
  return plate?.stopped !== undefined && plate.retired === undefined
}
