// When only some images were disturbed, and which: by what was injected, and by what the services noted.
import type { CallLine, Neighbours, Span } from './evidence.ts'
import type { Injected } from './run.ts'
import type { Fault } from './schedule.ts'

const limits = {
  /** A take-over and its backlog, after a fault that moves tasks or stops a connection. */
  settleMs: 15_000,
  /** What a poison record could still do. */
  poisonMs: 3_000,
  /** The service that lies works 20 ms. */
  slowMs: 1_000,
  latencyP95MsMax: 2_000,
} as const

/** undefined: nothing was injected that touches only some. */
export function neighboursOf(
  injected: readonly Injected[],
  calls: readonly CallLine[],
): Neighbours | undefined {
  const others = injected
    .filter(({ fault }) => !isOfSome(fault))
    .map(({ fromMs, toMs }) => ({ fromMs, toMs: toMs + limits.settleMs }))
  const spans = injected.flatMap(({ fault, fromMs, toMs: endMs }) => {
    if (!isOfSome(fault)) return []
    const toMs = fault.kind === 'poison' ? fromMs + limits.poisonMs : endMs
    const span = { fromMs, toMs, by: fault.kind === 'poison' ? fault.poison : fault.lie }
    return others.some((other) => meet(other, span)) ? [] : [span]
  })
  // Only the service that lies notes no process.
  const disturbed = calls.filter(
    ({ pid, outcome, start, end }) =>
      pid === 0 && (outcome !== 'ok' || end - start >= limits.slowMs),
  )
  return spans.length === 0
    ? undefined
    : {
        disturbed: new Set(disturbed.map(({ entity }) => entity)),
        spans,
        latencyP95MsMax: limits.latencyP95MsMax,
      }
}

function isOfSome(fault: Fault): fault is Fault & { kind: 'lie' | 'poison' } {
  return fault.kind === 'lie' || fault.kind === 'poison'
}

const meet = (a: Span, b: Span): boolean => a.fromMs < b.toMs && b.fromMs < a.toMs
