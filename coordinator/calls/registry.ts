// Who waits for which idempotency key, and the outcomes nobody has confirmed yet: what both twins of the port share.
import { ErrorClass } from '#proto/wellspring/contract/v1/errors_pb.ts'
import type { CallRequest, Caller, Outcome } from './port.ts'

export type CallRegistry = Pick<Caller, 'knows' | 'release' | 'detach'> & {
  /** Registers a listener. True: nothing runs or is held for this attempt, the twin must start the call. */
  take(request: CallRequest, onOutcome: (outcome: Outcome) => void): boolean
  /** The outcome of a call: told at once if somebody listens, held until release. */
  settle(idempotencyKey: string, outcome: Outcome): void
  /** Whether somebody still listens. */
  isWanted(idempotencyKey: string): boolean
  /** Forgets a call that never started. */
  drop(idempotencyKey: string): void
  /** From here on nobody is told anything. */
  close(): void
}

export type CallRegistryOptions = {
  /** Runs a function later, on the twin's own time. */
  readonly after: (delayMs: number, run: () => void) => void
  readonly heldOutcomeMs: number
  /** Milliseconds on the same time. */
  readonly nowMs: () => number
}

/** A told outcome that no flush has confirmed after so long never will be: its task read back that it was. */
const unconfirmedMaxMs = 600_000

type Entry = {
  readonly idempotencyKey: string
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

export function createCallRegistry(options: CallRegistryOptions): CallRegistry {
  return new Entries(options)
}

class Entries implements CallRegistry {
  readonly #options: CallRegistryOptions
  readonly #entries = new Map<string, Entry>()

  constructor(options: CallRegistryOptions) {
    this.#options = options
  }

  take(request: CallRequest, onOutcome: (outcome: Outcome) => void): boolean {
    const { idempotencyKey, task, attempt } = request
    const entry = this.#entries.get(idempotencyKey)
    if (entry && (!entry.outcome || answers(entry, attempt))) {
      entry.task = task
      entry.attempt = Math.max(entry.attempt, attempt)
      entry.detached = false
      entry.listener = onOutcome
      if (entry.outcome) this.#options.after(0, () => this.#tell(entry))
      return false
    }
    this.#forgetUnconfirmed()
    this.#entries.delete(idempotencyKey)
    this.#entries.set(idempotencyKey, {
      idempotencyKey,
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
  }

  settle(idempotencyKey: string, outcome: Outcome): void {
    const entry = this.#entries.get(idempotencyKey)
    if (!entry || entry.outcome) return
    entry.outcome = outcome
    if (entry.detached) this.#expire(entry)
    this.#tell(entry)
  }

  isWanted(idempotencyKey: string): boolean {
    return this.#entries.get(idempotencyKey)?.listener !== undefined
  }

  drop(idempotencyKey: string): void {
    this.#entries.delete(idempotencyKey)
  }

  knows(idempotencyKey: string, attempt = 0): boolean {
    const entry = this.#entries.get(idempotencyKey)
    return entry !== undefined && entry.attempt >= attempt
  }

  release(idempotencyKey: string): void {
    const entry = this.#entries.get(idempotencyKey)
    // Somebody may have asked again since it was told, by the same key: theirs is still to come.
    if (entry?.outcome && !entry.listener) this.#entries.delete(idempotencyKey)
  }

  detach(task: number): void {
    for (const entry of this.#entries.values()) {
      if (entry.task !== task || entry.detached) continue
      entry.detached = true
      entry.listener = undefined
      if (entry.outcome) this.#expire(entry)
    }
  }

  close(): void {
    this.#entries.clear()
  }

  #tell(entry: Entry): void {
    const { listener, outcome } = entry
    if (!listener || !outcome || this.#entries.get(entry.idempotencyKey) !== entry) return
    entry.listener = undefined
    entry.told = true
    entry.toldMs = this.#options.nowMs()
    listener(outcome)
  }

  /** Oldest first, until one is not due. */
  #forgetUnconfirmed(): void {
    for (const entry of this.#entries.values()) {
      if (!entry.told || entry.listener || this.#options.nowMs() - entry.toldMs < unconfirmedMaxMs)
        return
      this.#entries.delete(entry.idempotencyKey)
    }
  }

  /** Not before heldOutcomeMs from now, unless somebody comes for it. */
  #expire(entry: Entry): void {
    const expiry = ++entry.expiries
    this.#options.after(this.#options.heldOutcomeMs, () => {
      const isCurrent = this.#entries.get(entry.idempotencyKey) === entry
      if (isCurrent && entry.detached && entry.expiries === expiry)
        this.#entries.delete(entry.idempotencyKey)
    })
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
