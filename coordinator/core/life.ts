// The life of any entity, from the task's state.
import { Level } from '#proto/wellspring/contract/v1/options_pb.ts'
import type { ImageState, SiteState } from '#proto/wellspring/journal/v1/state_pb.ts'
import { groupOf, imageIn, imageName } from './context.ts'
import { levelOf, parentOf, plateOf, wellOf } from '@wellspring/lab/entity.ts'
import type { Task } from './state.ts'
import { traceNumber, type Life } from './timeline.ts'

/** The life of an entity; undefined if the task has no state of it. Throws on what is no entity key. */
export function lifeOf(task: Task, key: string): Life | undefined {
  switch (levelOf(key)) {
    case Level.IMAGE: {
      const image = imageOf(task, key)
      return image && { firstMs: image.arrivedMs, runs: image.runs }
    }
    case Level.SITE: {
      const site = task.sites.get(key)
      return site && { firstMs: firstOfSite(site), runs: site.runs, close: site.close }
    }
    case Level.WELL: {
      const well = task.wells.get(key)
      return well && { firstMs: firstOfWell(task, key), runs: well.runs, close: well.close }
    }
    case Level.PLATE: {
      const plate = task.plates.get(key)
      if (!plate) return undefined
      const firstMs = plate.firstArrivalMs || plate.lastArrivalMs
      return { firstMs, runs: plate.runs, close: plate.close }
    }
  }
}

/** Which of its traces an entity is in now, without a look at its members; undefined without state. */
export function traceNumberOf(task: Task, key: string): number | undefined {
  if (levelOf(key) === Level.IMAGE) {
    const image = imageOf(task, key)
    return image && traceNumber(image)
  }
  const group = groupOf(task, key)
  return group && traceNumber(group)
}

/** The image of an image key, if it arrived. */
export function imageOf(task: Task, key: string): ImageState | undefined {
  const site = task.sites.get(parentOf(key) ?? '')
  return site && imageIn(site, key)
}

/** Keys of the members of a group: planned ones in the plan's order, before the plan those that have state. */
export function membersOf(task: Task, key: string): string[] {
  const shape = task.shape(plateOf(key))
  const names = (): readonly (string | number)[] => {
    switch (levelOf(key)) {
      case Level.SITE:
        return shape?.images ?? task.sites.get(key)?.images.map(imageName) ?? []
      case Level.WELL: {
        const sites = shape ? shape.sites(wellOf(key)) : (task.wells.get(key)?.seen ?? [])
        return sites.map((site) => `s${site}`)
      }
      case Level.PLATE:
        return shape?.members ?? task.wellsOf(key)
      case Level.IMAGE:
        return []
    }
  }
  return names().map((name) => `${key}/${name}`)
}

function firstOfWell(task: Task, key: string): number {
  const firsts = membersOf(task, key).flatMap((name) => {
    const site = task.sites.get(name)
    return site && site.images.length > 0 ? [firstOfSite(site)] : []
  })
  return firsts.length > 0 ? Math.min(...firsts) : (task.wells.get(key)?.lastArrivalMs ?? 0)
}

function firstOfSite(site: SiteState): number {
  const arrivals = site.images.map((image) => image.arrivedMs)
  return arrivals.length > 0 ? Math.min(...arrivals) : site.lastArrivalMs || (site.close?.atMs ?? 0)
}
