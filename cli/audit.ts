// The audit: every planned (entity, step) ends in exactly one of a result of its latest revision, a dead letter, or
// a hole that a close names. Judged from the topics alone, never from what the coordinator says.
import type { Level } from '#proto/wellspring/contract/v1/options_pb.ts'
import type { PlatePlan } from '#proto/wellspring/lab/v1/plan_pb.ts'
import { levelOf, parentOf, plateOf } from '@wellspring/lab/entity.ts'
import { openLedger, runKey, type Ledger, type TopicRecord } from './ledger.ts'

/** What the audit needs to know of a pipeline. */
export type AuditPipeline = {
  /** name-version, as in result keys. */
  readonly label: string
  readonly steps: readonly { readonly name: string; readonly level: Level }[]
}

export type PlateCount = {
  readonly plate: string
  planned: number
  done: number
  parked: number
  holes: number
  missing: number
}

export type AuditReport = {
  readonly planned: number
  /** Ended in a result. */
  readonly done: number
  /** Ended in a dead letter. */
  readonly parked: number
  /** Covered by a close: a hole, or a step skipped. */
  readonly holes: number
  /** Ended in none of these. */
  readonly missing: number
  /** A result or close key twice, or two ends of one run. */
  readonly duplicate: number
  /** Ends that no plan and pipeline asked for. */
  readonly unplanned: number
  /** Input records that could not be taken in. */
  readonly refusedInputs: number
  /** Input of tasks that was lost unread and let go: what may be lost, whatever else is exact. */
  readonly losses: readonly Lost[]
  /** Records of other pipelines, not judged. */
  readonly otherPipelines: number
  /** What could not be read, and so was not judged. */
  readonly unreadable: number
  /** Plates that were stopped, and that lack something. */
  readonly stopped: number
  readonly plates: readonly PlateCount[]
  /** The first of each by name. */
  readonly names: {
    readonly missing: readonly string[]
    readonly duplicate: readonly string[]
    readonly unplanned: readonly string[]
    readonly unreadable: readonly string[]
    readonly stopped: readonly string[]
  }
}

export type Lost = {
  readonly task: number
  readonly topic: string
  readonly from: number
  readonly to: number
  /** 0: nobody can say how many. */
  readonly records: number
  readonly acceptedBy: string
}

const namesMax = 1_000

/** Audits committed records of commands.v1, results.v1 and dead-letters.v1. */
export function audit(records: Iterable<TopicRecord>, pipeline: AuditPipeline): AuditReport {
  const ledger = openLedger(pipeline.label)
  for (const record of records) ledger.add(record)
  return report(ledger, pipeline)
}

/** True when nothing is missing, doubled or unplanned. */
export function isClean(found: Pick<AuditReport, 'missing' | 'duplicate' | 'unplanned'>): boolean {
  return found.missing === 0 && found.duplicate === 0 && found.unplanned === 0
}

/** The report over a ledger; `within` limits it to entities at or below an entity key or part of one. */
export function report(ledger: Ledger, pipeline: AuditPipeline, within = ''): AuditReport {
  const inside = (entity: string): boolean =>
    within === '' || entity === within || entity.startsWith(`${within}/`)
  const holes = holesOf(ledger)
  const planned = new Set<string>()
  const plates = new Map<string, PlateCount>()
  const uncovered: { entity: string; step: string }[] = []

  const entities = new Set<string>()

  for (const plan of ledger.plans())
    for (const { entity, step } of plannedRuns(plan, pipeline)) {
      entities.add(entity)
      if (step === undefined) continue
      const key = runKey(entity, step)
      if (!inside(entity) || planned.has(key)) continue
      planned.add(key)
      const count = countOf(plates, entity)
      count.planned += 1
      const end = ledger.ends.get(key)
      if (end) count[end.deadLetter ? 'parked' : 'done'] += 1
      else if (isSkipped(ledger, entity, step) || isBelow(holes, entity)) count.holes += 1
      else uncovered.push({ entity, step })
    }

  const believed = believedCloses(ledger, uncovered)
  // A close leaves out members, never the entity itself.
  const isUnnamed = (entity: string): boolean => isBelow(believed, parentOf(entity))
  const missing = uncovered.filter(({ entity }) => !isUnnamed(entity))
  for (const { entity } of uncovered)
    countOf(plates, entity)[isUnnamed(entity) ? 'holes' : 'missing'] += 1
  const unplanned = [
    ...[...ledger.ends].flatMap(([key, end]) =>
      inside(end.entity) && !planned.has(key) ? [key] : [],
    ),
    ...[...ledger.closes.keys()].flatMap((entity) =>
      inside(entity) && !entities.has(entity) ? [`${entity}/close`] : [],
    ),
  ]
  const duplicates = ledger.duplicates.filter(
    (name) => within === '' || name.startsWith(`${within}/`),
  )
  const counts = [...plates.values()]
  const stopped = counts.flatMap(({ plate, missing: lacks }) => {
    const letter = ledger.stopped.get(plate)
    return lacks > 0 && letter ? [`${plate}: ${letter.failure?.message ?? ''}`] : []
  })
  const sum = (field: 'planned' | 'done' | 'parked' | 'holes'): number =>
    counts.reduce((total, count) => total + count[field], 0)
  return {
    planned: sum('planned'),
    done: sum('done'),
    parked: sum('parked'),
    holes: sum('holes'),
    missing: missing.length,
    duplicate: duplicates.length,
    unplanned: unplanned.length,
    refusedInputs: ledger.refusedInputs.length,
    losses: ledger.losses.map(({ topic, partition, from, to, records, acceptedBy }) => ({
      task: partition,
      topic,
      from,
      to,
      records,
      acceptedBy,
    })),
    otherPipelines: ledger.otherPipelines(),
    unreadable: ledger.passed.length,
    stopped: stopped.length,
    plates: counts,
    names: {
      missing: missing.slice(0, namesMax).map(({ entity, step }) => runKey(entity, step)),
      duplicate: duplicates.slice(0, namesMax),
      unplanned: unplanned.slice(0, namesMax),
      stopped: stopped.slice(0, namesMax),
      unreadable: ledger.passed.slice(0, namesMax).map(({ place, why }) => `${place}: ${why}`),
    },
  }
}

/** Every (entity, step) that a plan and a pipeline ask for; every entity once without a step. */
function* plannedRuns(
  plan: PlatePlan,
  pipeline: AuditPipeline,
): Generator<{ entity: string; step?: string }> {
  for (const entity of plannedEntities(plan)) {
    yield { entity }
    const level = levelOf(entity)
    for (const step of pipeline.steps) if (step.level === level) yield { entity, step: step.name }
  }
}

/** The plate, its wells at every time point, their sites, and their images. */
function* plannedEntities(plan: PlatePlan): Generator<string> {
  const plate = `${plan.experiment}/${plan.plate}/${plan.acquisition}`
  yield plate
  for (const planned of plan.wells)
    for (const timePoint of plan.timePoints) {
      const well = `${plate}/${planned.well}/t${timePoint}`
      yield well
      for (const number of planned.sites.length > 0 ? planned.sites : plan.sites) {
        const site = `${well}/s${number}`
        yield site
        for (const z of plan.zPlanes)
          for (const channel of plan.channels) yield `${site}/z${z}/${channel.name}`
      }
    }
}

/** Members that the latest close of one of their own levels above names as holes. */
function holesOf(ledger: Ledger): Set<string> {
  const holes = new Set<string>()
  for (const close of ledger.closes.values())
    for (const hole of close.holes)
      if (hole.entity.startsWith(`${close.entity}/`)) holes.add(hole.entity)
  return holes
}

function isBelow(holes: ReadonlySet<string>, entity: string | undefined): boolean {
  for (let at = entity; at !== undefined; at = parentOf(at)) if (holes.has(at)) return true
  return false
}

function isSkipped(ledger: Ledger, entity: string, step: string): boolean {
  return ledger.closes.get(entity)?.skipped.some((skip) => skip.step === step) ?? false
}

/**
 * Closes whose hole list was too long to name every member, and that left out no fewer members than there are
 * uncovered below them: those are believed to be its unnamed holes.
 */
function believedCloses(
  ledger: Ledger,
  uncovered: readonly { readonly entity: string }[],
): Set<string> {
  const believed = new Set<string>()
  for (const [above, close] of ledger.closes) {
    if (close.holesLeftOut === 0) continue
    const below = uncovered.filter(({ entity }) => entity.startsWith(`${above}/`))
    const members = new Set(below.map(({ entity }) => memberOf(above, entity)))
    if (members.size <= close.holesLeftOut) believed.add(above)
  }
  return believed
}

/** The direct member of a group that an entity below it is or belongs to. */
function memberOf(above: string, entity: string): string {
  let member = entity
  for (let next = parentOf(member); next !== undefined && next !== above; next = parentOf(member))
    member = next
  return member
}

function countOf(plates: Map<string, PlateCount>, entity: string): PlateCount {
  const plate = plateOf(entity)
  const known = plates.get(plate)
  if (known) return known
  const fresh = { plate, planned: 0, done: 0, parked: 0, holes: 0, missing: 0 }
  plates.set(plate, fresh)
  return fresh
}
