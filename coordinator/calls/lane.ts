// The way to one service: how many calls at once, who is next, and when to hold back.
import { plateOf } from '@wellspring/lab/entity.ts'
import { createFairQueue } from './fair-queue.ts'
import type { CallRequest } from './port.ts'

export const laneLimits = {
  /** Calls that wait for a slot; beyond it they are refused as OVERLOADED. */
  queueLengthMax: 100_000,
  /** PERMANENT failures of different entities in a row that pause the service. */
  permanentsInRowMax: 5,
  /** Time between two probes of a paused service. */
  probeEveryMs: 10_000,
  /** Longest pause that a service can ask for by RetryInfo. */
  pauseMaxMs: 30_000,
} as const
export type LaneLimits = Readonly<Record<keyof typeof laneLimits, number>>

/** unsent: it never left this process. */
export type Ending = 'answered' | 'overloaded' | 'permanent' | 'unsent' | 'other'

export type Ended = {
  readonly ending: Ending
  /** Monotonic time at which the call left. */
  readonly leftMs: number
  readonly retryAfterMs?: number | undefined
}

export type Lane = {
  /** Starts the call when its turn comes. False: the queue is full. */
  push(request: CallRequest): boolean
  /** A started call ended. True: it was put back into the queue and must not be reported. */
  ended(request: CallRequest, how: Ended): boolean
  /**
   * Limit from the contract, policy times replicas, and how much of it to begin with. 0 holds all calls; what
   * is added to a limit in force is added to the calls allowed as well.
   */
  resize(limitMax: number, limitAtFirst: number): void
  readonly state: { paused: boolean; inFlight: number; queued: number; limit: number }
  close(): void
}

export type LaneOptions = {
  readonly limits: LaneLimits
  /** Starts a call; its end is told to ended(). False: nobody wants it any more. */
  readonly start: (request: CallRequest) => boolean
  /** Monotonic milliseconds. */
  readonly nowMs: () => number
  readonly onPause: (paused: boolean) => void
}

export function openLane(options: LaneOptions): Lane {
  return new QueuedLane(options)
}

class QueuedLane implements Lane {
  readonly #options: LaneOptions
  readonly #queue = createFairQueue<CallRequest>()
  #limitMax = 0
  #limit = 0
  #inFlight = 0
  /** The service asked to be left alone until then. */
  #holdUntilMs = 0
  #loweredMs = -Infinity
  #isPaused = false
  #nextProbeMs = 0
  #isClosed = false
  #timer: NodeJS.Timeout | undefined
  /** Entities of the PERMANENT failures in a row. */
  readonly #permanents = new Set<string>()

  constructor(options: LaneOptions) {
    this.#options = options
  }

  get state(): Lane['state'] {
    const [paused, inFlight] = [this.#isPaused, this.#inFlight]
    return { paused, inFlight, queued: this.#queue.length, limit: Math.floor(this.#limit) }
  }

  push(request: CallRequest): boolean {
    if (this.#queue.length >= this.#options.limits.queueLengthMax) return false
    this.#queue.push(plateOf(request.entity), request)
    this.#pump()
    return true
  }

  ended(request: CallRequest, how: Ended): boolean {
    this.#inFlight -= 1
    this.#adapt(how)
    const takenBack = this.#judge(request, how.ending)
    if (takenBack) this.#queue.unshift(plateOf(request.entity), request)
    this.#pump()
    return takenBack
  }

  resize(to: number, atFirst: number): void {
    const added = Math.max(0, to - this.#limitMax)
    this.#limit = this.#limitMax === 0 ? atFirst : Math.min(to, this.#limit + added)
    this.#limitMax = to
    this.#pump()
  }

  close(): void {
    this.#isClosed = true
    clearTimeout(this.#timer)
  }

  #pump(): void {
    while (!this.#isClosed && this.#queue.length > 0 && this.#mayStart()) {
      const request = this.#queue.shift()
      if (!request || !this.#options.start(request)) continue
      this.#inFlight += 1
      if (this.#isPaused) this.#nextProbeMs = this.#options.nowMs() + this.#limits.probeEveryMs
    }
  }

  #mayStart(): boolean {
    if (this.#inFlight >= Math.floor(this.#limit)) return false
    const waitMs =
      Math.max(this.#holdUntilMs, this.#isPaused ? this.#nextProbeMs : 0) - this.#options.nowMs()
    // While paused, one probe at a time.
    if (waitMs <= 0) return !this.#isPaused || this.#inFlight === 0
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      this.#pump()
    }, waitMs).unref()
    return false
  }

  /** Additive increase, multiplicative decrease; one decrease per round trip. */
  #adapt({ ending, leftMs, retryAfterMs = 0 }: Ended): void {
    if (ending === 'answered' && this.#limit > 0)
      this.#limit = Math.min(this.#limitMax, this.#limit + 1 / this.#limit)
    if (ending !== 'overloaded') return
    const nowMs = this.#options.nowMs()
    const holdMs = Math.min(retryAfterMs, this.#limits.pauseMaxMs)
    this.#holdUntilMs = Math.max(this.#holdUntilMs, nowMs + holdMs)
    if (leftMs <= this.#loweredMs) return
    this.#loweredMs = nowMs
    this.#limit = Math.min(this.#limitMax, Math.max(1, this.#limit / 2))
  }

  /** Whether a call is taken back: it never left, or was PERMANENT because the step, not the data, is at fault. */
  #judge(request: CallRequest, ending: Ending): boolean {
    if (ending === 'answered') {
      this.#permanents.clear()
      if (this.#isPaused) this.#pause(false)
    }
    if (ending === 'unsent') return true
    if (ending !== 'permanent') return false
    if (this.#isPaused) return true
    this.#permanents.add(request.entity)
    if (this.#permanents.size >= this.#limits.permanentsInRowMax) this.#pause(true)
    return false
  }

  #pause(isPaused: boolean): void {
    this.#isPaused = isPaused
    this.#nextProbeMs = this.#options.nowMs() + this.#limits.probeEveryMs
    this.#options.onPause(isPaused)
  }

  get #limits(): LaneLimits {
    return this.#options.limits
  }
}
