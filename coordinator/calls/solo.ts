// Calls that may end their program, one at a time, each at a replica that has nothing else of ours under way.
import type { CallRequest } from './port.ts'
import type { Replica } from './replica.ts'

export type Solo = {
  /** Waits for its turn. */
  push(request: CallRequest): void
  /** Whether the replica is kept free for such a call, or works on one. */
  isKept(replica: Replica): boolean
  /** A started call of these ended, or never left. `again`: it is to be made once more. */
  ended(request: CallRequest, again: boolean): void
  /** A call ended somewhere, or replicas changed: looks whether the next can start. */
  look(): void
  readonly length: number
  close(): void
}

export type SoloOptions = {
  readonly replicas: () => readonly Replica[]
  /** Starts the call there; its end is told to ended(). False: nobody wants it any more. */
  readonly start: (request: CallRequest, replica: Replica) => boolean
  /** Another replica is kept, or none. */
  readonly onChange: () => void
  /** Monotonic milliseconds. */
  readonly nowMs: () => number
}

export function openSolo(options: SoloOptions): Solo {
  return new OneByOne(options)
}

class OneByOne implements Solo {
  readonly #options: SoloOptions
  readonly #queue: CallRequest[] = []
  #kept: Replica | undefined
  #running: CallRequest | undefined
  #startedMs = 0
  #timer: NodeJS.Timeout | undefined
  #isClosed = false

  constructor(options: SoloOptions) {
    this.#options = options
  }

  get length(): number {
    return this.#queue.length
  }

  push(request: CallRequest): void {
    this.#queue.push(request)
    this.look()
  }

  isKept(replica: Replica): boolean {
    return this.#kept === replica
  }

  ended(request: CallRequest, again: boolean): void {
    if (this.#running !== request) return
    this.#running = undefined
    if (again) this.#queue.unshift(request)
    this.#keep(undefined)
    this.#rest(this.#options.nowMs() - this.#startedMs)
  }

  look(): void {
    if (this.#isClosed || this.#running || this.#timer) return
    if (this.#kept && !this.#callable().includes(this.#kept)) this.#keep(undefined)
    while (!this.#running && this.#queue.length > 0) {
      const replica = this.#kept ?? idlest(this.#callable())
      if (!replica) return
      this.#keep(replica)
      // Its last other call tells its end.
      if (replica.inFlight > 0) return
      const request = this.#queue.shift()
      if (!request) return
      this.#running = request
      this.#startedMs = this.#options.nowMs()
      if (!this.#options.start(request, replica)) this.#running = undefined
    }
    if (!this.#running && this.#queue.length === 0) this.#keep(undefined)
  }

  close(): void {
    this.#isClosed = true
    clearTimeout(this.#timer)
  }

  /** A service with one replica goes on with its other calls for as long before the next that wants it for itself. */
  #rest(forMs: number): void {
    if (this.#callable().length > 1) return this.look()
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.look()
    }, forMs).unref()
  }

  #callable(): readonly Replica[] {
    return this.#options.replicas().filter(({ state }) => state === 'CHECKED')
  }

  #keep(replica: Replica | undefined): void {
    if (this.#kept === replica) return
    this.#kept = replica
    this.#options.onChange()
  }
}

function idlest(replicas: readonly Replica[]): Replica | undefined {
  return replicas.reduce<Replica | undefined>(
    (best, one) => (best && best.inFlight <= one.inFlight ? best : one),
    undefined,
  )
}
