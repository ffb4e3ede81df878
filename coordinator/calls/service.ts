// One service: its replicas, and the lane that calls queue in.
import type { DescService, MessageInitShape } from '@bufbuild/protobuf'
import type { ServiceStatusSchema } from '#proto/wellspring/control/v1/control_pb.ts'
import type { Lookup } from './addresses.ts'
import { watchAddresses } from './addresses.ts'
import type { Ours } from './fit.ts'
import type { Lane, LaneLimits } from './lane.ts'
import { openLane } from './lane.ts'
import type { CallRequest } from './port.ts'
import type { Logger } from '../logger.ts'
import type { Replica, ReplicaOptions } from './replica.ts'
import { openReplica } from './replica.ts'

export type Service = {
  readonly desc: DescService
  readonly lane: Lane
  /** As many as there are by now. */
  readonly replicas: readonly Replica[]
  /** Settles when each replica was looked at once, or did not answer in time. */
  readonly firstCheck: Promise<void>
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
  readonly start: (service: Service, request: CallRequest) => boolean
  readonly lookup?: Lookup | undefined
  readonly recheckMs?: ReplicaOptions['recheckMs']
}

export function openService(options: ServiceOptions): Service {
  return new Replicated(options)
}

class Replicated implements Service {
  readonly desc: DescService
  readonly lane: Lane
  replicas: readonly Replica[] = []
  readonly firstCheck: Promise<void>
  readonly #options: ServiceOptions
  readonly #closeAddresses: () => void
  #perReplica = 0

  constructor(options: ServiceOptions) {
    const { ours, targets, limits, logger, start, lookup } = options
    this.#options = options
    this.desc = ours.service
    this.lane = openLane({
      limits,
      start: (request) => start(this, request),
      nowMs: () => performance.now(),
      onPause: (paused) =>
        logger('warn', `${this.desc.typeName} ${paused ? PAUSED : 'goes on'}`, {
          service: this.desc.typeName,
        }),
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
    this.lane.close()
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

  #resize(): void {
    const checked = this.replicas.filter(({ state }) => state === 'CHECKED').length
    const limit = checked * this.#perReplica
    this.lane.resize(limit, limit)
  }
}

const PAUSED = 'is paused: too many different entities failed PERMANENT in a row'

/** The checked replica with the fewest calls. */
export function pick(replicas: readonly Replica[]): Replica {
  let best: Replica | undefined
  for (const replica of replicas) {
    if (replica.state !== 'CHECKED') continue
    if (!best || replica.inFlight < best.inFlight) best = replica
  }
  if (!best) throw new Error('a call left its lane although no replica is checked')
  return best
}

/** One status per replica, or one for all where none is known; queued and limit are the service's. */
export function statusOf(service: Service): MessageInitShape<typeof ServiceStatusSchema>[] {
  const { desc, lane, replicas } = service
  const { paused, queued, limit } = lane.state
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
