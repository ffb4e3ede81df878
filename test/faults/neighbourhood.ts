// When only some images were disturbed, and which: by what was injected, and by what the services noted.
import type { CallLine, Neighbours, Span } from './evidence.ts'
import { isOfKind } from './kinds/all.ts'
import type { KindFault } from './kinds/draw.ts'
import type { Injected } from './run.ts'
import type { Fault } from './schedule.ts'

const limits = {
  /** A take-over and its backlog, after a fault that moves tasks or stops a connection. */
  settleMs: 15_000,
  /** Coordinators start, and code gets compiled. */
  startMs: 12_000,
  /** What a poison record could still do. */
  poisonMs: 3_000,
  /** What comes in of a kind is worked on at least so long. */
  kindMs: 9_000,
  /** What a task that was down catches up. */
  backlogMs: 10_000,
  /** The service that lies works 20 ms. */
  slowMs: 1_000,
  latencyP95MsMax: 2_000,
} as const

export type Disturbed = {
  readonly injected: readonly Injected[]
  readonly calls: readonly CallLine[]
  /** Plate acquisitions that are there to disturb others. */
  readonly plates: Iterable<string>
  readonly startedMs: number
}

/** undefined: nothing was injected that touches only some. */
export function neighboursOf(disturbance: Disturbed): Neighbours | undefined {
  const { injected, calls, plates, startedMs } = disturbance
  const others = injected
    .filter(({ fault }) => !isOfSome(fault))
    .map(({ fromMs, toMs }) => ({ fromMs, toMs: toMs + limits.settleMs }))
  const spans = injected.flatMap(({ fault, fromMs, toMs: endMs }) => {
    if (!isOfSome(fault)) return []
    const span = { fromMs, toMs: Math.max(endMs, fromMs + leastMs(fault)), by: nameOf(fault) }
    const isSettled = fromMs >= startedMs + limits.startMs
    return !isSettled || others.some((other) => meet(other, span)) ? [] : [span]
  })
  // Only the service that lies notes no process.
  const disturbed = calls.filter(
    ({ pid, outcome, start, end }) =>
      pid === 0 && (outcome !== 'ok' || end - start >= limits.slowMs),
  )
  return spans.length === 0
    ? undefined
    : {
        disturbed: new Set([...disturbed.map(({ entity }) => entity), ...plates]),
        partitions: injected.flatMap(({ fault, fromMs, toMs }) =>
          fault.kind === 'retention'
            ? [{ fromMs, toMs: toMs + limits.backlogMs, partition: fault.partition }]
            : [],
        ),
        spans,
        latencyP95MsMax: limits.latencyP95MsMax,
      }
}

type OfSome = KindFault | Extract<Fault, { kind: 'lie' | 'poison' }>

function isOfSome(fault: Fault): fault is OfSome {
  return fault.kind === 'lie' || fault.kind === 'poison' || isOfKind(fault)
}

function leastMs(fault: OfSome): number {
  if (fault.kind === 'lie') return 0
  return fault.kind === 'poison' ? limits.poisonMs : limits.kindMs
}

function nameOf(fault: OfSome): string {
  if (fault.kind === 'lie') return fault.lie
  return fault.kind === 'poison' ? fault.poison : fault.kind
}

const meet = (a: Span, b: Span): boolean => a.fromMs < b.toMs && b.fromMs < a.toMs
