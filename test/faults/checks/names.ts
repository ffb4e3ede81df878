// Entity keys and the plan, as a judge reads them: experiment/plate/acquisition[/well/tN[/sN[/zN/channel]]].
import { Level } from '#proto/wellspring/contract/v1/options_pb.ts'
import type { PlatePlan } from '#proto/wellspring/lab/v1/plan_pb.ts'
import type { Evidence, JudgedStep } from '../evidence.ts'

export type Planned = {
  readonly entity: string
  readonly level: Level
  readonly plan: PlatePlan
  /** Keys of its members, in the plan's order; none for an image. */
  readonly members: readonly string[]
}

/** Every planned entity by key: plates, wells at their time points, sites, images. */
export const planned = once((evidence): ReadonlyMap<string, Planned> => {
  const all = new Map<string, Planned>()
  for (const plan of evidence.plans)
    for (const one of entitiesOf(plan)) if (!all.has(one.entity)) all.set(one.entity, one)
  return all
})

function* entitiesOf(plan: PlatePlan): Generator<Planned> {
  const plate = `${plan.experiment}/${plan.plate}/${plan.acquisition}`
  const names = plan.zPlanes.flatMap((z) => plan.channels.map(({ name }) => `z${z}/${name}`))
  const wells = plan.wells.flatMap((well) =>
    plan.timePoints.map((time) => ({
      entity: `${plate}/${well.well}/t${time}`,
      sites: well.sites.length > 0 ? well.sites : plan.sites,
    })),
  )
  yield { entity: plate, level: Level.PLATE, plan, members: wells.map(({ entity }) => entity) }
  for (const { entity: well, sites } of wells) {
    const members = sites.map((site) => `${well}/s${site}`)
    yield { entity: well, level: Level.WELL, plan, members }
    for (const site of members) {
      const images = names.map((name) => `${site}/${name}`)
      yield { entity: site, level: Level.SITE, plan, members: images }
      for (const entity of images) yield { entity, level: Level.IMAGE, plan, members: [] }
    }
  }
}

export function stepsAt(evidence: Evidence, level: Level): readonly JudgedStep[] {
  return evidence.pipeline.steps.filter((step) => step.level === level)
}

/** Number of segments of a key → of the level above. */
const ABOVE: ReadonlyMap<number, number> = new Map([
  [8, 6],
  [6, 5],
  [5, 3],
])

/** Key of the group that an entity is a member of; undefined for a plate. */
export function parentOf(entity: string): string | undefined {
  const segments = entity.split('/')
  const above = ABOVE.get(segments.length)
  return above === undefined ? undefined : segments.slice(0, above).join('/')
}

/** The entity itself and every group above it. */
export function* upwards(entity: string): Generator<string> {
  for (let at: string | undefined = entity; at !== undefined; at = parentOf(at)) yield at
}

/** Key of the plate acquisition. */
export const plateOf = (entity: string): string => entity.split('/').slice(0, 3).join('/')

/** A reading of evidence that several checkers use: done once. */
export function once<T>(read: (evidence: Evidence) => T): (evidence: Evidence) => T {
  const known = new WeakMap<Evidence, { readonly value: T }>()
  return (evidence) => {
    const found = known.get(evidence) ?? { value: read(evidence) }
    known.set(evidence, found)
    return found.value
  }
}
