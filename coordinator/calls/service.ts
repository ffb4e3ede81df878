// One service: its replicas, and the lane that calls queue in.
import type { DescService, MessageInitShape } from '@bufbuild/protobuf'
import type { ServiceStatusSchema } from '#proto/wellspring/control/v1/control_pb.ts'
import { watchAddresses, type Lookup } from './addresses.ts'
import type { Ours } from './fit.ts'
import { openLane, type Ended, type Lane, type LaneLimits } from './lane.ts'
import type { CallRequest } from './port.ts'
import type { Logger } from '@wellspring/kafka/logger.ts'
import { openReplica, type Replica, type ReplicaOptions } from './replica.ts'
import { openSolo, type Solo } from './solo.ts'

export type Service = {
  readonly desc: DescService
  /** How calls wait and what is allowed. */
  readonly state: Lane['state']
  /** As many as there are by now. */
  readonly replicas: readonly Replica[]
  /** Settles when each replica was looked at once, or did not answer in time. */
  readonly firstCheck: Promise<void>
  /** Starts the call when its turn comes. False: too many wait. */
  push(request: CallRequest): boolean
  /** A started call ended. True: it was put back and must not be reported. */
  ended(request: CallRequest, how: Ended): boolean
  /** A program ended over the call. False: it did over so many others since its last answer that none can be blamed. */
  mayBlame(request: CallRequest): boolean
  /** A step of the service allows so many calls per replica: the limit is that of the most generous step. */
  allow(inFlightMaxPerReplica: number): void
  /** Why no replica can be called; undefined: one can. */
  problem(): string | undefined
  close(): void
}

export type ServiceOptions = {
  readonly ours: Ours
  /** host:port of every replica, or of all of them. */
  readonly targets: readonly string[]
  readonly limits: LaneLimits
  readonly logger: Logger
  /** Starts a call there; its end is told to ended(). False: nobody wants it any more. */
  readonly start: (service: Service, request: CallRequest, replica: Replica) => boolean
  readonly lookup?: Lookup | undefined
  readonly recheckMs?: ReplicaOptions['recheckMs']
}

/** Different entities in a row over which a program may end before it is the program that is at fault. */
const endsInRowMax = 20

export function openService(options: ServiceOptions): Service {
  return new Replicated(options)
}

class Replicated implements Service {
  readonly desc: DescService
  replicas: readonly Replica[] = []
  readonly firstCheck: Promise<void>
  readonly #options: ServiceOptions
  readonly #lane: Lane
  readonly #solo: Solo
  readonly #closeAddresses: () => void
  /** Entities over which programs ended since the last answer. */
  readonly #ends = new Set<string>()
  #perReplica = 0

  constructor(options: ServiceOptions) {
    const { ours, targets, limits, logger, start, lookup } = options
    this.#options = options
    this.desc = ours.service
    const nowMs = (): number => performance.now()
    this.#lane = openLane({
      limits,
      start: (request) => start(this, request, this.#pick()),
      nowMs,
      onPause: (paused) =>
        logger('warn', `${this.desc.typeName} ${paused ? PAUSED : 'goes on'}`, {
          service: this.desc.typeName,
        }),
    })
    this.#solo = openSolo({
      replicas: () => this.replicas,
      start: (request, replica) => start(this, request, replica),
      onChange: () => this.#resizeLane(),
      nowMs,
    })
    const addresses = watchAddresses({
      targets,
      logger,
      onChange: (now) => this.#be(now),
      ...(lookup && { lookup }),
    })
    this.#closeAddresses = () => addresses.close()
    this.firstCheck = addresses.known.then(async () => {
      await Promise.all(this.replicas.map((replica) => replica.firstCheck))
    })
  }

  get state(): Lane['state'] {
    const { state } = this.#lane
    return { ...state, queued: state.queued + this.#solo.length }
  }

  push(request: CallRequest): boolean {
    if (request.alone !== true) return this.#lane.push(request)
    if (this.#solo.length >= this.#options.limits.queueLengthMax) return false
    this.#solo.push(request)
    return true
  }

  mayBlame({ entity }: CallRequest): boolean {
    this.#ends.add(entity)
    return this.#ends.size <= endsInRowMax
  }

  ended(request: CallRequest, how: Ended): boolean {
    if (how.ending === 'answered') this.#ends.clear()
    const isUnsent = how.ending === 'unsent'
    if (request.alone === true) {
      this.#solo.ended(request, isUnsent)
      return isUnsent
    }
    const isTakenBack = this.#lane.ended(request, how)
    this.#solo.look()
    return isTakenBack
  }

  allow(inFlightMaxPerReplica: number): void {
    if (inFlightMaxPerReplica <= this.#perReplica) return
    this.#perReplica = inFlightMaxPerReplica
    this.#resize()
  }

  problem(): string | undefined {
    if (this.replicas.some(({ state }) => state === 'CHECKED')) return undefined
    const reasons = this.replicas.map(
      ({ problem, address }) => problem || `${address} was not asked yet`,
    )
    const { targets } = this.#options
    return reasons.join('\n- ') || `${this.desc.typeName}: ${targets.join(', ')} has no address`
  }

  close(): void {
    this.#lane.close()
    this.#solo.close()
    this.#closeAddresses()
    for (const replica of this.replicas) replica.close()
  }

  /** Calls that are under way at an address that is gone may end. */
  #be(addresses: readonly string[]): void {
    const { ours, logger, recheckMs } = this.#options
    const known = new Map(this.replicas.map((replica) => [replica.address, replica]))
    const onChange = (): void => this.#resize()
    this.replicas = addresses.map(
      (address) =>
        known.get(address) ??
        openReplica({ address, ours, logger, onChange, ...(recheckMs && { recheckMs }) }),
    )
    for (const [address, replica] of known) if (!addresses.includes(address)) replica.close()
    this.#resize()
  }

  /** Replicas that take calls of the lane. */
  #open(): Replica[] {
    return this.replicas.filter((one) => one.state === 'CHECKED' && !this.#solo.isKept(one))
  }

  #resizeLane(): void {
    const limit = this.#open().length * this.#perReplica
    this.#lane.resize(limit, limit)
  }

  #resize(): void {
    this.#resizeLane()
    this.#solo.look()
  }

  /** The one with the fewest calls. */
  #pick(): Replica {
    let best: Replica | undefined
    for (const replica of this.replicas) {
      if (replica.state !== 'CHECKED' || this.#solo.isKept(replica)) continue
      if (!best || replica.inFlight < best.inFlight) best = replica
    }
    if (!best) throw new Error('a call left its lane although no replica is checked')
    return best
  }
}

const PAUSED = 'is paused: too many different entities failed PERMANENT in a row'

/** One status per replica, or one for all where none is known; queued and limit are the service's. */
export function statusOf(service: Service): MessageInitShape<typeof ServiceStatusSchema>[] {
  const { desc, replicas } = service
  const { paused, queued, limit } = service.state
  const shared = { service: desc.typeName, queued, limit }
  if (replicas.length === 0)
    return [{ ...shared, state: 'UNREACHABLE', problem: service.problem() ?? '' }]
  return replicas.map(({ address, state, inFlight, problem, version }) => ({
    ...shared,
    address,
    state: paused && state === 'CHECKED' ? 'PAUSED' : state,
    inFlight,
    problem,
    version,
  }))
}
