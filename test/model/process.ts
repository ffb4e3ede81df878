// A process of the model: the production host over the memory twins; whatever it asks for waits to be chosen.
import { openMemoryCaller } from '../../coordinator/calls/memory.ts'
import type { CallRequest, Caller } from '../../coordinator/calls/port.ts'
import type { Pipeline } from '../../coordinator/core/pipeline/pipeline.ts'
import { host, type Host } from '../../coordinator/task/host.ts'
import { limits } from '../../coordinator/task/limits.ts'
import type { MemoryBroker } from '../../coordinator/log/memory.ts'
import { LogError } from '@wellspring/kafka/errors.ts'

export type Request = {
  readonly what: string
  /** What the group had told when it was sent: tells requests of an earlier life from those of this one. */
  readonly told: number
  readonly epoch: number
  readonly arrive: () => void
  /** The sender gives up; undefined: it has. */
  timeOut: (() => void) | undefined
}

export type Process = {
  readonly name: string
  readonly host: Host
  readonly caller: Caller
  readonly requests: Set<Request>
  /** Effects whose outcome it must hold, if it is not yet in the log. */
  readonly called: Set<string>
  readonly answers: Set<{ readonly key: string; run(): void }>
  isAlive: boolean
  /** How often the group spoke to it. */
  told: number
  /** Epoch of the last claim it heard of. */
  epoch: number
  generation: number
  /** The step at which it was last told. */
  heardAt: number
}

/** What a process needs of its world. */
export type Around = {
  readonly broker: MemoryBroker
  readonly pipeline: Pipeline
  readonly complaints: string[]
  readonly executions: Map<string, number>
  readonly steps: () => number
  /** Before the next choice. */
  readonly soon: (run: () => void) => () => void
  /** When nothing else can happen. */
  readonly long: (run: () => void, whose: Process) => () => void
  readonly later: (work: () => void) => void
  readonly claimed: () => void
}

/** What is read is as good read at once: nothing lies between the request and the reply that could matter. */
export const READS: ReadonlySet<string> = new Set(['Fetch', 'ListOffsets'])
const LONG_MS = 1_000
const EPOCH_MS = 1_700_000_000_000

export function startProcess(around: Around, name: string): Process {
  const { broker, pipeline, complaints, executions } = around
  const requests = new Set<Request>()
  const answers = new Set<{ key: string; run(): void }>()
  const called = new Set<string>()
  const state = { name, requests, called, answers, isAlive: true, told: 0, epoch: -1 }
  const after = (delayMs: number, run: () => void): (() => void) => {
    const inside = (): void => {
      if (process.isAlive) run()
    }
    return delayMs >= LONG_MS ? around.long(inside, process) : around.soon(inside)
  }
  let asked = ''
  const caller = openMemoryCaller({
    schedule(delayMs, run) {
      if (delayMs > 0 && delayMs < LONG_MS) answers.add({ key: asked, run })
      else after(delayMs, run)
    },
    dice: () => 0.5,
    script: ({ idempotencyKey }: CallRequest) => {
      asked = idempotencyKey
      executions.set(idempotencyKey, (executions.get(idempotencyKey) ?? 0) + 1)
      if (called.has(idempotencyKey))
        complaints.push(`${name} calls again what it has called before`)
      called.add(idempotencyKey)
      return undefined
    },
  })
  const log = broker.open(name, {
    monotonicMs: around.steps,
    request: (_, what, work) => request(around, process, { what, work }),
    later: around.later,
  })
  const own = host({
    log,
    caller,
    pipeline,
    owner: { application: 'model', instance: name, controlAddress: '' },
    clock: { nowMs: () => EPOCH_MS, monotonicMs: around.steps, after },
    random: () => 0.5,
    limits: {
      ...limits,
      flushSpacingMinMs: 0,
      flushSpacingMaxMs: 0,
      flushPatienceMs: 0,
      takeOverPauseMinMs: 0,
      takeOverPauseMaxMs: 0,
    },
    logger: () => {},
    stateDigestEvery: 1,
    fatal: (error) => complaints.push(`${name} stopped: ${error.message}`),
  })
  const process: Process = Object.assign(state, {
    host: own,
    caller,
    generation: -1,
    heardAt: 0,
  })
  void log.join({ ...own, confirmed: () => {} })
  return process
}

function request<T>(
  around: Around,
  process: Process,
  { what, work }: { what: string; work: () => T },
): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>()
  const own: Request = {
    what,
    told: process.told,
    epoch: process.epoch,
    // Answered as soon as it arrives: what others do between the two, they may as well do after both.
    arrive: () => {
      process.requests.delete(own)
      try {
        const result = work()
        if (what === 'InitProducerId') around.claimed()
        if (!own.timeOut) return
        if (what === 'InitProducerId') process.epoch = (result as { epoch: number }).epoch
        resolve(result)
      } catch (error) {
        reject(error as Error)
      }
    },
    // It may still arrive: that is how an answer is lost.
    timeOut: () => {
      own.timeOut = undefined
      if (READS.has(what)) process.requests.delete(own)
      reject(new LogError('unknown', `${what} timed out`))
    },
  }
  process.requests.add(own)
  return promise
}
