// What a task knows. Entities are kept as the bytes that state.v1 holds, with the busy ones decoded: a million
// images fit, and what a flush writes is what a restore reads.
import './lent-buffer.ts'
import { create, toBinary } from '@bufbuild/protobuf'
import type { DescMessage, MessageShape } from '@bufbuild/protobuf'
import type { AcceptedLoss, PlateState } from '#proto/wellspring/journal/v1/state_pb.ts'
import {
  PlateStateSchema,
  SiteStateSchema,
  WellStateSchema,
} from '#proto/wellspring/journal/v1/state_pb.ts'
import type { PlatePlan } from '#proto/wellspring/lab/v1/plan_pb.ts'
import { PlatePlanSchema } from '#proto/wellspring/lab/v1/plan_pb.ts'
import { Level } from '#proto/wellspring/contract/v1/options_pb.ts'
import { belowPlate, levelOf, plateOf } from './ids.ts'
import { packedBytes } from './packed.ts'
import type { Pipeline } from './pipeline.ts'
import { readEntity } from './unreadable.ts'

/** Where a member of a group stands; one byte each in PlateState.members and WellState.members. */
export const Member = { NONE: 0, OPEN: 1, DONE: 2, MISSING: 3, FAILED: 4 } as const

export const PLAN_SUFFIX = '#plan'

/**
 * Decoded entities kept per map besides those that wait for a flush; the rest is bytes. Those of 128 sites are enough
 * for what is in work at a time; with 1,024 the collector spent more on objects that nobody asked for again than a second decoding costs.
 */
const DECODED_ENTITIES_MAX = 128

export type Change = [key: string, bytes: Uint8Array | null]
export type Changed = { readonly records: number; readonly bytes: number }

/** What an entity is taken to have that has no bytes yet. */
const NEW_ENTITY_BYTES = 400

export type Entities<D extends DescMessage> = {
  get(key: string): MessageShape<D> | undefined
  /** get, or a new one that is dirty from the start. */
  open(key: string): MessageShape<D>
  /** The entity was changed and goes out with the next flush. */
  touch(key: string, entity: MessageShape<D>): void
  /** Forgets the entity, with the next flush also on state.v1. */
  drop(key: string): void
  has(key: string): boolean
  keys(): Iterable<string>
  size(): number
  /** Until release no decoded entity is let go: who holds one in an event must hold the one that the next get returns. */
  hold(): void
  release(): void
  /** How many entities the next take returns, and about how many bytes: as they were before they changed. */
  changed(): Changed
  /** Bytes of everything that changed since the last take; null: forgotten. */
  take(): Change[]
  load(key: string, bytes: Uint8Array | null): void
  /** Bytes of every entity, in order of key. */
  all(): [key: string, bytes: Uint8Array][]
}

export function entities<D extends DescMessage>(schema: D, decodedMax: number): Entities<D> {
  const stored = packedBytes()
  /** Decoded and the same as stored, oldest first. */
  const clean = new Map<string, MessageShape<D>>()
  /** Decoded, without bytes until the next take. */
  const dirty = new Map<string, MessageShape<D>>()
  const gone = new Set<string>()
  let dirtyBytes = 0
  let isHeld = false

  function evict(): void {
    if (isHeld || clean.size <= decodedMax) return
    for (const oldest of clean.keys()) {
      clean.delete(oldest)
      if (clean.size <= decodedMax) return
    }
  }

  function get(key: string): MessageShape<D> | undefined {
    const found = dirty.get(key) ?? clean.get(key)
    if (found !== undefined) return found
    const bytes = stored.get(key)
    if (bytes === undefined) return undefined
    const entity = readEntity(schema, key, bytes)
    clean.set(key, entity)
    evict()
    return entity
  }

  function touch(key: string, entity: MessageShape<D>): void {
    const known = dirty.get(key)
    if (known === entity) return
    dirty.set(key, entity)
    if (known !== undefined) return
    dirtyBytes += key.length + (stored.get(key)?.byteLength ?? NEW_ENTITY_BYTES)
    clean.delete(key)
    gone.delete(key)
  }

  return {
    get,
    touch,
    open(key) {
      const found = get(key)
      if (found !== undefined) return found
      const entity = create(schema)
      touch(key, entity)
      return entity
    },
    drop(key) {
      stored.delete(key)
      clean.delete(key)
      dirty.delete(key)
      gone.add(key)
    },
    has: (key) => stored.has(key) || dirty.has(key),
    *keys() {
      yield* stored.keys()
      for (const key of dirty.keys()) if (!stored.has(key)) yield key
    },
    size: () => stored.size(),
    hold() {
      isHeld = true
    },
    release() {
      isHeld = false
      evict()
    },
    changed: () => ({ records: dirty.size + gone.size, bytes: dirtyBytes }),
    take() {
      const out: Change[] = [...gone].map((key) => [key, null])
      for (const [key, entity] of dirty) {
        const bytes = compact(toBinary(schema, entity))
        stored.set(key, bytes)
        clean.set(key, entity)
        out.push([key, bytes])
      }
      dirty.clear()
      gone.clear()
      dirtyBytes = 0
      evict()
      return out
    },
    load(key, bytes) {
      clean.delete(key)
      if (bytes === null) stored.delete(key)
      else stored.copy(key, bytes)
    },
    all: () => [...stored.entries()].sort(([a], [b]) => (a < b ? -1 : 1)),
  }
}

/** An own buffer of the exact length: a slice would keep its whole arena alive. */
function compact(bytes: Uint8Array): Uint8Array {
  return bytes.byteLength === bytes.buffer.byteLength
    ? bytes
    : Uint8Array.prototype.slice.call(bytes)
}

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
  }
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
  /** Decoded entities that are kept, per kind; DECODED_ENTITIES_MAX unless told. */
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
  /** Layout of a plate acquisition; undefined before its plan arrives. */
  shape(plate: string): Shape | undefined
  dropPlan(plate: string): void
}

const NEVER: Bounds = { retireAfterMs: Infinity, recordsPerEvent: 100 }

/** Plates are retired from this journal version on. */
export const RETIRING_VERSION = 2
/** From this one on, a plan that came late takes its wells up over several flushes. */
export const ADOPTING_VERSION = 3
/** Input that a person let go is remembered from this one on. */
export const LOSSES_VERSION = 4

export function emptyTask(application: string, pipeline: Pipeline, bounds = NEVER): Task {
  const { decodedEntitiesMax = DECODED_ENTITIES_MAX } = bounds
  const plans = entities(PlatePlanSchema, decodedEntitiesMax)
  const shapes = new Map<string, Shape>()
  return {
    application,
    pipeline,
    bounds,
    journalVersion: 1,
    losses: [],
    plans,
    plates: entities(PlateStateSchema, decodedEntitiesMax),
    wells: entities(WellStateSchema, decodedEntitiesMax),
    sites: entities(SiteStateSchema, decodedEntitiesMax),
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
  }
}

/** Runs one event: an entity that it got stays the same object until it is over. */
export function during<T>({ plans, plates, wells, sites }: Task, event: () => T): T {
  const maps = [plans, plates, wells, sites]
  for (const map of maps) map.hold()
  try {
    return event()
  } finally {
    for (const map of maps) map.release()
  }
}

/** Puts one record of state.v1 back. Keys that begin with # are the journal's own. */
export function loadState(task: Task, key: string, bytes: Uint8Array | null): void {
  if (key.endsWith(PLAN_SUFFIX)) return task.plans.load(key.slice(0, -PLAN_SUFFIX.length), bytes)
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

/** What the next take returns, about. */
export function changesOf(task: Task | undefined): Changed {
  let [records, bytes] = [0, 0]
  for (const map of task ? [task.plans, task.plates, task.wells, task.sites] : []) {
    const changed = map.changed()
    records += changed.records
    bytes += changed.bytes
  }
  return { records, bytes }
}

/** Everything that changed since the last take, as keys and bytes of state.v1. */
export function takeChanges(task: Task): Change[] {
  const plans = task.plans.take().map(([key, bytes]): Change => [key + PLAN_SUFFIX, bytes])
  return [...plans, ...task.plates.take(), ...task.wells.take(), ...task.sites.take()]
}

/** Whether the plate that an entity is or belongs to is retired: only its summary is known any more. */
export function isRetired(task: Task, key: string): boolean {
  return task.plates.get(plateOf(key))?.retired !== undefined
}

/** Wells of a plate that have state, as <well>/t<time point>. */
export function wellsWithState(task: Task, plate: string, state: PlateState): readonly string[] {
  const shape = task.shape(plate)
  if (!shape) return state.seen
  return shape.members.filter((member) => task.wells.has(`${plate}/${member}`))
}
