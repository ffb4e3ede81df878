// One service: its replicas, and the lane that calls queue in.
import type { DescService, MessageInitShape } from '@bufbuild/protobuf'
import type { ServiceStatusSchema } from '#proto/wellspring/control/v1/control_pb.ts'
import type { Lane, LaneLimits } from './lane.ts'
import { openLane } from './lane.ts'
import type { CallRequest } from './port.ts'
import type { Logger } from '../logger.ts'
import type { Replica } from './replica.ts'
import { openReplica } from './replica.ts'

export type Service = {
  readonly desc: DescService
  readonly lane: Lane
  readonly replicas: readonly Replica[]
  /** One target stands for any number of replicas. */
  readonly isDns: boolean
  /** A step of the service allows so many calls per replica: the limit is that of the most generous step. */
  allow(inFlightMaxPerReplica: number): void
  close(): void
}

export type ServiceOptions = {
  readonly desc: DescService
  /** host:port of every replica, or one dns:///host:port. */
  readonly targets: readonly string[] | string
  readonly limits: LaneLimits & { readonly dnsReplicasMax: number }
  readonly logger: Logger
  readonly start: (service: Service, request: CallRequest) => boolean
}

export function openService({ desc, targets, limits, logger, start }: ServiceOptions): Service {
  const isDns = typeof targets === 'string'
  let perReplica = 0
  const lane = openLane({
    limits,
    start: (request) => start(service, request),
    nowMs: () => performance.now(),
    onPause: (paused) =>
      logger('warn', `${desc.typeName} ${paused ? PAUSED : 'goes on'}`, { service: desc.typeName }),
  })
  function resize(): void {
    const checked = replicas.filter((replica) => replica.state === 'CHECKED').length
    const limit = checked * perReplica
    lane.resize(isDns ? limit * limits.dnsReplicasMax : limit, limit)
  }
  const replicas: readonly Replica[] = [targets]
    .flat()
    .map((address) => openReplica({ address, service: desc, logger, onChange: resize }))
  const service: Service = {
    desc,
    lane,
    replicas,
    isDns,
    allow(inFlightMaxPerReplica) {
      if (inFlightMaxPerReplica <= perReplica) return
      perReplica = inFlightMaxPerReplica
      resize()
    },
    close() {
      lane.close()
      for (const replica of replicas) replica.close()
    },
  }
  return service
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

/** One status per replica; queued and limit are the service's. */
export function statusOf({
  desc,
  lane,
  replicas,
}: Service): MessageInitShape<typeof ServiceStatusSchema>[] {
  const { paused, queued, limit } = lane.state
  return replicas.map(({ address, state, inFlight }) => ({
    service: desc.typeName,
    address,
    state: paused ? 'PAUSED' : state,
    inFlight,
    queued,
    limit,
  }))
}
