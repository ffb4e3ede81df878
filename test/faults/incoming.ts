// What the judges of incoming trouble go by, from what was injected and what was seen.
import type {
  Circumstances,
  CommittedRecord,
  Incoming,
  MemorySlot,
  Position,
  Span,
} from './evidence.ts'
import type { CrewEvent } from './crew.ts'
import { isOfKind } from './kinds/all.ts'
import type { Notes } from './kinds/ground.ts'
import { ODD_HEADER } from './kinds/odd-records.ts'
import type { Injected } from './run.ts'
import type { Fault, Phases } from './schedule.ts'

const limits = {
  /** A record may kill as long as nobody has set it aside. */
  spanMs: 120_000,
  /** After something else that ends processes. */
  settleMs: 15_000,
  memoryRatioMax: 1.2,
  /** All of it is valid, and to be worked on: what the largest site weighs is held. */
  fatRatioMax: 2,
} as const

export type Seen = {
  readonly injected: readonly Injected[]
  readonly events: readonly CrewEvent[]
  readonly notes: Notes
  readonly committed: readonly CommittedRecord[]
  readonly startedMs: number
  readonly phases: Phases | undefined
  readonly spansRead: readonly Position[] | undefined
}

export function incomingOf(seen: Seen): NonNullable<Circumstances['incoming']> {
  const { injected, events, notes, committed, startedMs, phases, spansRead } = seen
  const others = injected.filter(({ fault }) => isOther(fault)).map(({ fromMs }) => fromMs)
  const spans = injected.flatMap(({ fault, fromMs }) => {
    if (!isOfKind(fault) || isUnderWay(injected, fromMs)) return []
    const toMs = Math.min(fromMs + limits.spanMs, ...others.filter((at) => at > fromMs))
    return [{ fromMs, toMs, by: fault.kind }]
  })
  const ends = events.flatMap((one) => (one.kind === 'ended' && !one.isMeant ? [one] : []))
  const slots = phases && slotsOf(injected, spanOf(startedMs, phases.underMs))
  const found: Incoming = {
    odd: committed.filter(({ headers }) => ODD_HEADER in headers),
    bombs: notes.bombs,
    deletions: notes.deletions,
    posts: notes.posts,
    starts: notes.starts,
    ends,
    spans,
    ...(slots && slots.length > 0 ? { memory: { slots } } : {}),
    ...(spansRead ? { spansRead } : {}),
  }
  return found
}

/** The time of each kind that came alone: until the next one. */
function slotsOf(injected: readonly Injected[], under: Span): MemorySlot[] {
  const alone = injected
    .filter(({ fault, fromMs }) => isOfKind(fault) && under.fromMs <= fromMs && fromMs < under.toMs)
    .toSorted((a, b) => a.fromMs - b.fromMs)
  return alone.map(({ fault, fromMs }, at) => ({
    by: fault.kind,
    fromMs,
    toMs: alone[at + 1]?.fromMs ?? under.toMs,
    ratioMax: fault.kind === 'fat-entity' ? limits.fatRatioMax : limits.memoryRatioMax,
  }))
}

const isOther = (fault: Fault): boolean =>
  !isOfKind(fault) && fault.kind !== 'lie' && fault.kind !== 'poison'

/** Something else that moves tasks. */
function isUnderWay(injected: readonly Injected[], atMs: number): boolean {
  return injected.some(
    ({ fault, fromMs, toMs }) => isOther(fault) && fromMs <= atMs && atMs < toMs + limits.settleMs,
  )
}

const spanOf = (startedMs: number, [from, to]: readonly [number, number]): Span => ({
  fromMs: startedMs + from,
  toMs: startedMs + to,
})
