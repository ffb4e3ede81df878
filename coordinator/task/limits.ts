// Bounds of a coordinator process, each with its unit in its name.
export const limits = {
  /** Calls under way in the process, those of one service counted up to half of it; inputs wait above it. */
  callsInFlightMax: 10_000,
  /** Records per flush, all topics. */
  flushRecordsMax: 450,
  /** Bytes per flush, all topics. */
  flushBytesMax: 220_000,
  /** Flushes of a task are at least so far apart under load. */
  flushSpacingMinMs: 20,
  /** And at most so far, when many tasks are busy. */
  flushSpacingMaxMs: 100,
  /** State that nobody waits for leaves with the next flush, or after so long. */
  flushPatienceMs: 100,
  /** Transactions per second of a process, over all tasks. */
  transactionsPerSecondMax: 80,
  /** Input records that the tasks of a process take in one turn of the event loop. */
  inputsPerTurnMax: 100,
  /** Input records, or bytes of them, that a task holds before it pauses its inputs, and where it goes on. */
  inputRecordsMax: 2_000,
  inputRecordsLow: 500,
  inputBytesMax: 4 * 1024 * 1024,
  inputBytesLow: 1024 * 1024,
  /** A plate at rest for so long is retired: its images are forgotten, a summary stays. */
  retireAfterMs: 86_400_000,
  /** So many wells and sites are forgotten, or taken up under a plan that came late, at a time, give or take a well. */
  recordsPerEvent: 100,
  /** A plate's or well's status leaves at most this often. */
  statusEveryMs: 1_000,
  /** Status records per flush. */
  statusPerFlushMax: 100,
  /** Owners in a row that may die over one record before it is set aside. */
  deathsPerRecordMax: 3,
  /** First and longest pause between tries to take a task over. */
  takeOverPauseMinMs: 20,
  takeOverPauseMaxMs: 2_000,
  /** First and longest pause of a task that is down: before it is tried again, and before its lost input is looked at. */
  downPauseMinMs: 1_000,
  downPauseMaxMs: 60_000,
  lossLookMaxMs: 10_000,
  /** A task that ran for so long without trouble starts with the first pause again. */
  downForgetMs: 600_000,
  /** A task that stays down says so in the log this often. */
  downLogEveryMs: 600_000,
  /** Longest wait for a running flush when a task is lost. */
  lastFlushWaitMs: 5_000,
} as const

export type Limits = { readonly [K in keyof typeof limits]: number }

/** However they are spread over services, calls under way are at most so many times the limit; each costs some 25 kB. */
const CALLS_OVER_LIMIT_MAX = 5

/** What the tasks of a process share. */
export type Budget = {
  readonly callsMax: number
  callsInFlight: number
  /** By service. */
  readonly callsOf: Map<string, number>
  /** Tasks that wait for a free call, told in turn. */
  readonly waiting: Set<() => void>
  /** Monotonic time of the last flush per task, to space them by how many are busy. */
  readonly flushedAtMs: Map<number, number>
}

export function newBudget(bounds: Limits = limits): Budget {
  return {
    callsMax: bounds.callsInFlightMax,
    callsInFlight: 0,
    callsOf: new Map(),
    waiting: new Set(),
    flushedAtMs: new Map(),
  }
}

/**
 * Whether inputs wait. What waits for one service that is slow or hangs counts for half, so that there is always room
 * for the calls of the others.
 */
export function isFull({ callsInFlight, callsMax, callsOf }: Budget): boolean {
  if (callsInFlight < callsMax) return false
  if (callsOf.size < 2 || callsInFlight >= callsMax * CALLS_OVER_LIMIT_MAX) return true
  let counted = 0
  for (const calls of callsOf.values()) counted += Math.min(calls, callsMax / 2)
  return counted >= callsMax
}

export function takeCall(budget: Budget, service: string): void {
  budget.callsInFlight += 1
  budget.callsOf.set(service, (budget.callsOf.get(service) ?? 0) + 1)
}

/** Frees calls and lets waiting tasks go on. */
export function freeCall(budget: Budget, service: string, calls = 1): void {
  budget.callsInFlight -= calls
  budget.callsOf.set(service, (budget.callsOf.get(service) ?? 0) - calls)
  for (const go of budget.waiting) {
    if (isFull(budget)) return
    budget.waiting.delete(go)
    go()
  }
}

/** Pause between two flushes of a task: grows with the busy tasks so that the process stays below its rate. */
export function flushSpacingMs(
  budget: Budget,
  monotonicMs: number,
  bounds: Limits = limits,
): number {
  let busy = 0
  for (const at of budget.flushedAtMs.values()) if (monotonicMs - at < 1_000) busy += 1
  const wanted = (busy * 1_000) / bounds.transactionsPerSecondMax
  return Math.min(bounds.flushSpacingMaxMs, Math.max(bounds.flushSpacingMinMs, wanted))
}
