// A simulated world: processes that crash, stop and come back, a broker that loses requests and replies, time and
// chance from a seed. The coordinator inside is the production one (host, tasks, core) over the memory twins.
import { openMemoryCaller, type Fault } from '../../coordinator/calls/memory.ts'
import type { CallRequest } from '../../coordinator/calls/port.ts'
import type { Pipeline } from '../../coordinator/core/pipeline/pipeline.ts'
import { emptyTask } from '../../coordinator/core/state.ts'
import { host, type Host } from '../../coordinator/task/host.ts'
import type { Clock } from '../../coordinator/clock.ts'
import { limits, type Limits } from '../../coordinator/task/limits.ts'
import { memoryBroker, type MemoryBroker } from '../../coordinator/log/memory.ts'
import { openStandby } from '../../coordinator/task/standby.ts'
import type { Log } from '../../coordinator/log/port.ts'
import { LogError } from '@wellspring/kafka/errors.ts'

/** mulberry32: small, seeded, good enough to shuffle a world. */
export function diceOf(seed: number): () => number {
  let a = seed >>> 0
  return () => {
    a = (a + 0x6d2b79f5) >>> 0
    let t = Math.imul(a ^ (a >>> 15), 1 | a)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

type Entry = { readonly atMs: number; readonly order: number; readonly run: () => void }

export type Process = {
  readonly name: string
  readonly host: Host
  readonly log: Log
  isAlive: boolean
  stoppedUntilMs: number
}

export type World = {
  readonly broker: MemoryBroker
  readonly dice: () => number
  readonly processes: Process[]
  /** What went wrong in a way that must never happen. */
  readonly complaints: string[]
  nowMs(): number
  after(delayMs: number, run: () => void): void
  /** Runs until `isOver`, asked once per simulated second, or until the time is up. False: time is up. */
  run(untilMs: number, isOver: () => boolean): Promise<boolean>
  start(): Process
  crash(process: Process): void
  stop(process: Process, forMs: number): void
  /** Deals the tasks anew to the processes that can answer. */
  rebalance(): void
  /** Chance that a broker request or its reply is lost. */
  lossRate: number
}

export type WorldOptions = {
  readonly seed: number
  readonly tasks: number
  readonly pipeline: Pipeline
  readonly script: (request: CallRequest) => Fault | undefined
  /** How long finished plates are kept; default: for ever. */
  readonly retireAfterMs?: number
  /** Instead of small ones, under which more happens. */
  readonly bounds?: Partial<Limits>
  /** Inputs that a process is handed at a time, at most. */
  readonly deliverMax?: number
  /** How large a record may be, as of now; default: as large as Kafka's. */
  readonly recordBytesMax?: () => number
}

/** UTC ms at which every world begins. */
export const EPOCH_MS = 1_700_000_000_000
const HOUR_MS = 3_600_000
const REQUEST_TIMEOUT_MS = 400
const DELIVER_EVERY_MS = 50
const HEARTBEAT_EVERY_MS = 300
const TRANSACTION_TIMEOUT_MS = 10_000

export function openWorld(options: WorldOptions): World {
  const { seed, tasks, pipeline, script, retireAfterMs = Infinity, deliverMax = 8 } = options
  const dice = diceOf(seed)
  const broker = memoryBroker(tasks, options.recordBytesMax)
  const queue: Entry[] = []
  const processes: Process[] = []
  const complaints: string[] = []
  let nowMs = 0
  let order = 0
  let named = 0

  function after(delayMs: number, run: () => void): void {
    const atMs = nowMs + Math.max(0, delayMs)
    order += 1
    let at = queue.length
    while (at > 0 && (queue[at - 1]?.atMs ?? 0) < atMs) at -= 1
    // Latest first, so that the next is at the end; equal times keep their order.
    while (at > 0 && queue[at - 1]?.atMs === atMs && (queue[at - 1]?.order ?? 0) < order) at -= 1
    queue.splice(at, 0, { atMs, order, run })
  }

  /** Runs inside a process: never when it is dead, later when it is stopped. */
  function inside(process: { isAlive: boolean; stoppedUntilMs: number }, run: () => void): void {
    if (!process.isAlive) return
    if (process.stoppedUntilMs > nowMs)
      return after(process.stoppedUntilMs - nowMs, () => inside(process, run))
    run()
  }

  function start(): Process {
    named += 1
    const name = `c${named}`
    const life = { isAlive: true, stoppedUntilMs: 0 }
    // In every fifth world clocks are wrong by an hour, either way: not where plates are retired, an hour late then.
    const isSkewed = seed % 5 === 0 && retireAfterMs === Infinity
    const skewMs = isSkewed ? (Math.floor(dice() * 3) - 1) * HOUR_MS : 0
    const clock: Clock = {
      nowMs: () => EPOCH_MS + skewMs + Math.floor(nowMs),
      monotonicMs: () => nowMs,
      after(delayMs, run) {
        let isOn = true
        after(delayMs, () => inside(life, () => isOn && run()))
        return () => {
          isOn = false
        }
      },
    }
    const log = broker.open(name, {
      monotonicMs: () => nowMs,
      request: (_, what, work) => request(life, what, work),
      later: (work) => after(dice() * 4, work),
    })
    const caller = openMemoryCaller({
      schedule: (delayMs, run) => after(delayMs, () => inside(life, run)),
      dice,
      script,
      nowMs: () => clock.nowMs(),
    })
    const bounds = {
      ...limits,
      flushRecordsMax: 12,
      inputsPerTurnMax: 3,
      inputRecordsMax: 20,
      inputRecordsLow: 5,
      callsInFlightMax: 40,
      retireAfterMs,
      recordsPerEvent: 2,
      decodedEntitiesMax: seed % 4 === 0 ? 128 : 0,
      ...options.bounds,
    }
    // Half of the worlds have standbys: what they read must be what a take-over from the start reads (T3).
    const standby =
      seed % 2 === 0
        ? undefined
        : openStandby({
            log: broker.open(`${name}-standby`, {
              monotonicMs: () => nowMs,
              request: (_, what, work) => request(life, what, work),
            }),
            empty: () => emptyTask('sim', pipeline, bounds),
            clock,
            logger: () => {},
          })
    const own = host({
      log,
      standby,
      caller,
      pipeline,
      owner: { application: 'sim', instance: name, controlAddress: '' },
      clock,
      random: dice,
      limits: bounds,
      logger: () => {},
      stateDigestEvery: 1,
      fatal: (error) => complaints.push(`${name} stopped: ${error.message}`),
    })
    const process: Process = Object.assign(life, { name, host: own, log })
    const guarded = {
      ...own,
      confirmed: (sentAtMs: number) => {
        if (life.isAlive && life.stoppedUntilMs <= nowMs) own.confirmed(sentAtMs)
      },
    }
    void log.join(guarded)
    processes.push(process)
    const deliver = (): void => {
      if (!life.isAlive) return
      if (life.stoppedUntilMs <= nowMs) broker.deliver(name, 1 + Math.floor(dice() * deliverMax))
      after(DELIVER_EVERY_MS, deliver)
    }
    after(0, deliver)
    return process
  }

  function request<T>(
    life: { isAlive: boolean; stoppedUntilMs: number },
    what: string,
    work: () => T,
  ): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    const fate = dice() < world.lossRate ? (dice() < 0.5 ? 'request' : 'reply') : 'ok'
    const timedOut = (): void => reject(new LogError('unknown', `${what} timed out`))
    if (fate === 'request') {
      after(REQUEST_TIMEOUT_MS, () => inside(life, timedOut))
      return promise
    }
    after(0.2 + dice() * 4, () => {
      let answer: () => void
      try {
        const result = work()
        answer = () => resolve(result)
      } catch (error) {
        answer = () => reject(error as Error)
      }
      if (fate === 'reply') after(REQUEST_TIMEOUT_MS, () => inside(life, timedOut))
      else after(0.2 + dice() * 4, () => inside(life, answer))
    })
    return promise
  }

  const world: World = {
    broker,
    dice,
    processes,
    complaints,
    lossRate: 0,
    nowMs: () => nowMs,
    after,
    async run(untilMs, isOver) {
      let askAtMs = nowMs
      for (let next = queue.at(-1); next; next = queue.at(-1)) {
        if (next.atMs > untilMs) return false
        queue.pop()
        nowMs = next.atMs
        next.run()
        // Everything that the event set off inside this turn happens before the next event.
        await new Promise<void>((resolve) => setImmediate(resolve))
        if (nowMs < askAtMs) continue
        askAtMs = nowMs + 1_000
        if (isOver()) return true
      }
      return isOver()
    },
    start,
    crash(process) {
      process.isAlive = false
      broker.remove(process.name)
      processes.splice(processes.indexOf(process), 1)
    },
    stop(process, forMs) {
      process.stoppedUntilMs = nowMs + forMs
    },
    rebalance() {
      const able = processes.filter((one) => one.stoppedUntilMs <= nowMs)
      if (able.length === 0) return
      const dealt = new Map(able.map((one) => [one.name, [] as number[]]))
      for (let task = 0; task < tasks; task += 1) {
        // Mostly sticky: a task stays where it is known to be.
        const owner = able.find((one) => one.host.engine(task) !== undefined)
        const next = owner && dice() < 0.7 ? owner : able[Math.floor(dice() * able.length)]
        if (next) dealt.get(next.name)?.push(task)
      }
      broker.rebalance(dealt)
    },
  }
  const beat = (): void => {
    broker.heartbeat()
    broker.expire(nowMs - TRANSACTION_TIMEOUT_MS)
    after(HEARTBEAT_EVERY_MS, beat)
  }
  after(0, beat)
  return world
}
