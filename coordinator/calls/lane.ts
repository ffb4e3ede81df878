// The way to one service: how many calls at once, who is next, and when to hold back.
import { plateOf } from '../core/ids.ts'
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

export type Ending = 'answered' | 'overloaded' | 'permanent' | 'other'

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

export function openLane({ limits, start, nowMs, onPause }: LaneOptions): Lane {
  const queue = createFairQueue<CallRequest>()
  let limitMax = 0
  let limit = 0
  let inFlight = 0
  let holdUntilMs = 0
  let loweredMs = -Infinity
  let nextProbeMs = 0
  let paused = false
  let closed = false
  let timer: NodeJS.Timeout | undefined
  /** Entities of the PERMANENT failures in a row. */
  const permanents = new Set<string>()

  function pump(): void {
    while (!closed && queue.length > 0 && mayStart()) {
      const request = queue.shift()
      if (request && start(request)) {
        inFlight += 1
        if (paused) nextProbeMs = nowMs() + limits.probeEveryMs
      }
    }
  }

  function mayStart(): boolean {
    if (inFlight >= Math.floor(limit)) return false
    const atMs = Math.max(holdUntilMs, paused ? nextProbeMs : 0)
    if (atMs <= nowMs()) return !paused || inFlight === 0
    timer ??= setTimeout(() => {
      timer = undefined
      pump()
    }, atMs - nowMs()).unref()
    return false
  }

  /** Additive increase, multiplicative decrease; one decrease per round trip. */
  function adapt({ ending, leftMs, retryAfterMs = 0 }: Ended): void {
    if (ending === 'answered') limit = Math.min(limitMax, limit + 1 / limit)
    if (ending !== 'overloaded') return
    holdUntilMs = Math.max(holdUntilMs, nowMs() + Math.min(retryAfterMs, limits.pauseMaxMs))
    if (leftMs <= loweredMs) return
    loweredMs = nowMs()
    limit = Math.max(1, limit / 2)
  }

  /** Whether a PERMANENT failure is taken back because the step, not the data, is at fault. */
  function judge(request: CallRequest, ending: Ending): boolean {
    if (ending === 'answered') {
      permanents.clear()
      if (paused) onPause((paused = false))
    }
    if (ending !== 'permanent') return false
    if (paused) return true
    permanents.add(request.entity)
    if (permanents.size >= limits.permanentsInRowMax) {
      nextProbeMs = nowMs() + limits.probeEveryMs
      onPause((paused = true))
    }
    return false
  }

  return {
    push(request) {
      if (queue.length >= limits.queueLengthMax) return false
      queue.push(plateOf(request.entity), request)
      pump()
      return true
    },
    ended(request, how) {
      inFlight -= 1
      adapt(how)
      const takenBack = judge(request, how.ending)
      if (takenBack) queue.unshift(plateOf(request.entity), request)
      pump()
      return takenBack
    },
    resize(to, atFirst) {
      limit = limitMax === 0 ? atFirst : Math.min(to, limit + Math.max(0, to - limitMax))
      limitMax = to
      pump()
    },
    get state() {
      return { paused, inFlight, queued: queue.length, limit: Math.floor(limit) }
    },
    close() {
      closed = true
      clearTimeout(timer)
    },
  }
}
