// One decision's surroundings, and the places where step runs live.
import { Level } from '#proto/wellspring/contract/v1/options_pb.ts'
import type {
  Close,
  ImageState,
  PlateState,
  PlateStateSchema,
  SiteState,
  SiteStateSchema,
  StepRun,
  WellState,
  WellStateSchema,
} from '#proto/wellspring/journal/v1/state_pb.ts'
import type { Effect } from './event.ts'
import { levelOf, parentOf, plateOf, type EntityLevel } from '@wellspring/lab/entity.ts'
import type { Entities } from './entities.ts'
import type { Task } from './state.ts'

export type Context = {
  readonly task: Task
  /** UTC milliseconds. */
  readonly now: number
  /** Uniform in [0, 1). */
  readonly dice: () => number
  readonly effects: Effect[]
}

/** An entity as far as its step runs go. */
export type Place = {
  readonly key: string
  readonly level: EntityLevel
  readonly runs: StepRun[]
  /** The latest close; none for images and groups that never closed. */
  readonly close?: Close | undefined
  touch(): void
}

/** The place of an entity key; undefined if the task knows no such entity. */
export function placeOf(task: Task, key: string): Place | undefined {
  const level = levelOf(key)
  switch (level) {
    case Level.IMAGE: {
      const siteKey = parentOf(key) ?? ''
      const site = task.sites.get(siteKey)
      const image = site && imageIn(site, key)
      return site && image && imagePlace(task, siteKey, site, image)
    }
    case Level.SITE:
      return groupPlace(key, level, task.sites)
    case Level.WELL:
      return groupPlace(key, level, task.wells)
    case Level.PLATE:
      return groupPlace(key, level, task.plates)
  }
}

export type Group = SiteState | WellState | PlateState

/** State of a site, well or plate. */
export function groupOf(task: Task, key: string): Group | undefined {
  switch (levelOf(key)) {
    case Level.SITE:
      return task.sites.get(key)
    case Level.WELL:
      return task.wells.get(key)
    case Level.PLATE:
      return task.plates.get(key)
    case Level.IMAGE:
      return undefined
  }
}

type GroupSchema = typeof SiteStateSchema | typeof WellStateSchema | typeof PlateStateSchema

function groupPlace<D extends GroupSchema>(
  key: string,
  level: EntityLevel,
  map: Entities<D>,
): Place | undefined {
  const group = map.get(key)
  if (!group) return undefined
  return {
    key,
    level,
    runs: group.runs,
    close: group.close,
    touch: () => map.touch(key, group),
  }
}

export function imagePlace(task: Task, siteKey: string, site: SiteState, image: ImageState): Place {
  return {
    key: `${siteKey}/${imageName(image)}`,
    level: Level.IMAGE,
    runs: image.runs,
    touch: () => task.sites.touch(siteKey, site),
  }
}

/** z/channel, the image's name within its site. */
export function imageName(image: ImageState): string {
  return `z${image.z}/${image.channel?.name ?? ''}`
}

export function imageIn(site: SiteState, key: string): ImageState | undefined {
  return site.images.find((image) => key.endsWith(`/${imageName(image)}`))
}

/** The plate's progress record, dirty: whoever asks for it changes it. */
export function plateStateOf(cx: Context, key: string): PlateState {
  const plate = plateOf(key)
  const state = cx.task.plates.open(plate)
  cx.task.plates.touch(plate, state)
  return state
}
