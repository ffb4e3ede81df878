// The end of a demo run: per plate what became of it, in JSON for scripts and in words for people.
import { timestampMs } from '@bufbuild/protobuf/wkt'
import { ClosedBySchema, VerdictSchema, type Hole } from '#proto/wellspring/record/v1/output_pb.ts'
import { parentOf } from '@wellspring/lab/entity.ts'
import type { Demo } from './demo.ts'
import { nucleiOf, type Handled } from './faults.ts'
import { latestOf, type Observed } from './observe.ts'
import type { Restart } from './supervisor.ts'

export type PlateSummary = {
  /** Entity key. */
  readonly plate: string
  readonly expected: number
  readonly arrived: number
  readonly done: number
  readonly failed: number
  readonly missing: number
  readonly duplicate: number
  /** What it lacks, by name; what lies below a hole is not listed again. */
  readonly holes: readonly { entity: string; reason: string; step: string }[]
  /** ALL, QUORUM, DEADLINE, OPERATOR, or OPEN. */
  readonly closedBy: string
  readonly revision: number
  /** PASS, WARN, FAIL, NOT_EVALUATED, or UNSPECIFIED before there is one. */
  readonly verdict: string
  readonly nuclei: number
  /** Nuclei that were drawn into the sites that were segmented. */
  readonly nucleiTruth: number
  /** From the plate's first image to the first verdict on one; null: none yet. */
  readonly firstVerdictSeconds: number | null
}

export type Audit = {
  readonly missing: number
  readonly duplicate: number
  readonly unplanned: number
}

export type Summary = {
  readonly experiment: string
  readonly seed: string
  readonly seconds: number
  readonly plates: readonly PlateSummary[]
  readonly audit: Audit
  readonly faults: readonly Handled[]
  /** Parts that died and were started again. */
  readonly restarts: readonly Restart[]
}

/** Largest share by which nuclei found may differ from the truth. */
const NUCLEI_TOLERANCE = 0.1

/** Why a run is not good; empty: all closed, every fault handled as itself, counts right, audit clean. */
export function complaints({ plates, audit, faults }: Summary): readonly string[] {
  const bad: string[] = []
  for (const { plate, closedBy, nuclei, nucleiTruth } of plates) {
    if (closedBy === 'OPEN') bad.push(`${plate} is still open`)
    if (nucleiTruth === 0 || Math.abs(nuclei - nucleiTruth) > NUCLEI_TOLERANCE * nucleiTruth)
      bad.push(`${plate}: ${nuclei} nuclei found, ${nucleiTruth} drawn`)
  }
  for (const { kind, target, handledAs, ok } of faults)
    if (!ok) bad.push(`${kind} at ${target}: ${handledAs}`)
  for (const [word, count] of Object.entries(audit))
    if (count !== 0) bad.push(`audit: ${count} ${word}`)
  return bad
}

export function summarisePlates(demo: Demo, seen: Observed): readonly PlateSummary[] {
  const nuclei = latestOf(seen, 'segment-nuclei')
  return demo.plans.map((plan) => {
    const plate = `${plan.experiment}/${plan.plate}/${plan.acquisition}`
    const status = seen.status.get(plate)
    const segmented = [...nuclei].filter(([entity]) => entity.startsWith(`${plate}/`))
    const close = seen.closes.get(plate)
    return {
      plate,
      expected: status?.expected ?? 0,
      arrived: status?.arrived ?? 0,
      done: status?.done ?? 0,
      failed: status?.failed ?? 0,
      missing: status?.missing ?? 0,
      duplicate: status?.duplicate ?? 0,
      holes: holesOf(plate, seen),
      closedBy: close ? name(ClosedBySchema.value[close.closedBy], 'CLOSED_BY_') : 'OPEN',
      revision: close?.revision ?? 0,
      verdict: name(VerdictSchema.value[status?.verdict ?? 0], 'VERDICT_'),
      nuclei: sum(segmented, ([, result]) => nucleiOf(result)?.nucleiCount ?? 0),
      nucleiTruth: sum(segmented, ([site]) => demo.truth.get(site) ?? 0),
      firstVerdictSeconds: firstVerdict(status),
    }
  })
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0)
}

function name(value: { readonly name: string } | undefined, prefix: string): string {
  return value?.name.slice(prefix.length) ?? ''
}

function firstVerdict(status: ReturnType<Observed['status']['get']>): number | null {
  if (!status?.firstVerdictAt || !status.firstArrivalAt) return null
  return (timestampMs(status.firstVerdictAt) - timestampMs(status.firstArrivalAt)) / 1000
}

function holesOf(plate: string, { closes }: Observed): PlateSummary['holes'] {
  const holes = new Map<string, Hole>()
  for (const close of closes.values())
    if (close.entity === plate || close.entity.startsWith(`${plate}/`))
      for (const hole of close.holes) holes.set(hole.entity, hole)
  const isBelow = (entity: string): boolean => {
    const above = parentOf(entity)
    return above !== undefined && (holes.has(above) || isBelow(above))
  }
  return [...holes.values()]
    .filter(({ entity }) => !isBelow(entity))
    .map(({ entity, reason, step }) => ({ entity, reason, step }))
    .toSorted((a, b) => (a.entity < b.entity ? -1 : 1))
}

/** The summary as a person reads it, with what to type next. */
export function summaryText(summary: Summary, imageName: string): string {
  const lines = summary.plates.flatMap((plate) => {
    const { nuclei, nucleiTruth, holes } = plate
    const share = nucleiTruth > 0 ? ` (${((100 * nuclei) / nucleiTruth).toFixed(1)} %)` : ''
    return [
      `${plate.plate}  ${plate.verdict}  closed by ${plate.closedBy}, revision ${plate.revision}`,
      `  images    ${plate.done} done of ${plate.expected}, ${plate.failed} failed, ${plate.missing} missing, ${plate.duplicate} announced twice`,
      `  nuclei    ${nuclei} found of ${nucleiTruth} drawn${share}`,
      ...holes.map(
        ({ entity, reason, step }) =>
          `  hole      ${entity}  ${reason}${step ? ` in ${step}` : ''}`,
      ),
    ]
  })
  const faults = summary.faults.map(
    ({ kind, handledAs, ok }) => `  ${ok ? 'ok  ' : 'FAIL'}  ${kind.padEnd(16)}  ${handledAs}`,
  )
  const { missing, duplicate, unplanned } = summary.audit
  const [first] = summary.plates
  return [
    ...lines,
    'faults injected, and what became of them',
    ...faults,
    `audit     ${missing} missing, ${duplicate} duplicate, ${unplanned} unplanned`,
    'next',
    `  npx wellspring plate ${first?.plate ?? ''}`,
    `  npx wellspring why ${imageName}`,
    '  npx wellspring dead-letters',
    '  npx wellspring verify',
  ].join('\n')
}
