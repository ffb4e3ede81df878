// Who waits for which effect key, and the outcomes nobody has confirmed yet: what both twins of the port share.
import { ErrorClass } from '#proto/wellspring/contract/v1/errors_pb.ts'
import type { CallRequest, Caller, Outcome } from './port.ts'

export type Desk = Pick<Caller, 'knows' | 'release' | 'detach'> & {
  /** Registers a listener. True: nothing runs or is held for this attempt, the twin must start the call. */
  take(request: CallRequest, onOutcome: (outcome: Outcome) => void): boolean
  /** The outcome of a call: told at once if somebody listens, held until release. */
  settle(effectKey: string, outcome: Outcome): void
  /** Whether somebody still listens. */
  isWanted(effectKey: string): boolean
  /** Forgets a call that never started. */
  drop(effectKey: string): void
  /** From here on nobody is told anything. */
  close(): void
}

export type DeskOptions = {
  /** Runs a function later, on the twin's own time. */
  readonly after: (delayMs: number, run: () => void) => void
  readonly heldOutcomeMs: number
  /** Milliseconds on the same time. */
  readonly nowMs: () => number
}

/** A told outcome that no flush has confirmed after so long never will be: its task read back that it was. */
const unconfirmedMaxMs = 600_000

type Entry = {
  readonly effectKey: string
  task: number
  attempt: number
  /** Its task was lost: nobody will release it. */
  detached: boolean
  /** Counts how often it began to expire: only the latest time counts. */
  expiries: number
  told: boolean
  toldMs: number
  listener: ((outcome: Outcome) => void) | undefined
  outcome: Outcome | undefined
}

export function openDesk({ after, heldOutcomeMs, nowMs }: DeskOptions): Desk {
  const entries = new Map<string, Entry>()

  function tell(entry: Entry): void {
    const { listener, outcome } = entry
    if (!listener || !outcome || entries.get(entry.effectKey) !== entry) return
    entry.listener = undefined
    entry.told = true
    entry.toldMs = nowMs()
    listener(outcome)
  }

  /** Oldest first, until one is not due. */
  function forgetUnconfirmed(): void {
    for (const entry of entries.values()) {
      if (!entry.told || nowMs() - entry.toldMs < unconfirmedMaxMs) return
      entries.delete(entry.effectKey)
    }
  }

  /** Not before heldOutcomeMs from now, unless somebody comes for it. */
  function expire(entry: Entry): void {
    const expiry = ++entry.expiries
    after(heldOutcomeMs, () => {
      const current = entries.get(entry.effectKey) === entry
      if (current && entry.detached && entry.expiries === expiry) entries.delete(entry.effectKey)
    })
  }

  return {
    take(request, onOutcome) {
      const { effectKey, task, attempt } = request
      const entry = entries.get(effectKey)
      if (entry && (!entry.outcome || answers(entry, attempt))) {
        entry.task = task
        entry.attempt = Math.max(entry.attempt, attempt)
        entry.detached = false
        entry.listener = onOutcome
        if (entry.outcome) after(0, () => tell(entry))
        return false
      }
      forgetUnconfirmed()
      entries.delete(effectKey)
      entries.set(effectKey, {
        effectKey,
        task,
        attempt,
        detached: false,
        expiries: 0,
        told: false,
        toldMs: 0,
        listener: onOutcome,
        outcome: undefined,
      })
      return true
    },
    settle(effectKey, outcome) {
      const entry = entries.get(effectKey)
      if (!entry || entry.outcome) return
      entry.outcome = outcome
      if (entry.detached) expire(entry)
      tell(entry)
    },
    isWanted: (effectKey) => entries.get(effectKey)?.listener !== undefined,
    drop: (effectKey) => void entries.delete(effectKey),
    knows(effectKey, attempt = 0) {
      const entry = entries.get(effectKey)
      return entry !== undefined && entry.attempt >= attempt
    },
    release(effectKey) {
      if (entries.get(effectKey)?.outcome) entries.delete(effectKey)
    },
    detach(task) {
      for (const entry of entries.values()) {
        if (entry.task !== task || entry.detached) continue
        entry.detached = true
        entry.listener = undefined
        if (entry.outcome) expire(entry)
      }
    },
    close: () => entries.clear(),
  }
}

/**
 * Whether a held outcome is the answer to this attempt. An effect that is done stays done. A failure answers its
 * own attempt, told again after a flush that was lost; but an OVERLOADED call is made again under its old number.
 */
function answers({ outcome, told, attempt }: Entry, asked: number): boolean {
  if (outcome?.kind !== 'failed') return true
  return asked <= attempt && !(told && outcome.failure.class === ErrorClass.OVERLOADED)
}
