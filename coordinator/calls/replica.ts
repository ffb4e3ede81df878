// One address of a service: its channel, and whether what answers there means the same contract as we do.
import { setTimeout as sleep } from 'node:timers/promises'
import type { DescService } from '@bufbuild/protobuf'
import { create } from '@bufbuild/protobuf'
import type { ServiceError } from '@grpc/grpc-js'
import { Client, connectivityState, credentials, Metadata } from '@grpc/grpc-js'
import { DescribeRequestSchema } from '#proto/wellspring/step/v1/introspection_pb.ts'
import type { DescribeResponse } from '#proto/wellspring/step/v1/introspection_pb.ts'
import { StepIntrospectionService } from '#proto/wellspring/step/v1/introspection_pb.ts'
import { contractDigest } from '../../proto/digest.ts'
import { grpcMethod } from '../../proto/grpc.ts'
import type { Logger } from '../logger.ts'

export type ReplicaState = 'UNREACHABLE' | 'DIFFERS' | 'CHECKED'

export type Replica = {
  readonly address: string
  readonly client: Client
  inFlight: number
  readonly state: ReplicaState
  /** Why it is not CHECKED. */
  readonly problem: string
  /** Settles when the first look at the contract has ended, at most firstCheckMs after opening. */
  readonly firstCheck: Promise<void>
  close(): void
}

export type ReplicaOptions = {
  readonly address: string
  readonly service: DescService
  readonly logger: Logger
  /** Called when calls may go there, and when they may not any more. */
  readonly onChange: () => void
}

/** How long the first look may take; then the start goes on without this replica. */
const firstCheckMs = 2_000
/** Time of one later look, and between two looks at a replica whose contract differs. */
const checkEveryMs = 10_000
/** A look waits for the connection; this is only to not spin when it fails at once. */
const retryEveryMs = 100

const channelOptions = {
  'grpc.enable_channelz': 0,
  'grpc.keepalive_time_ms': 30_000,
  'grpc.keepalive_timeout_ms': 10_000,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 2_000,
  // Never: a quiet hour is no lost connection.
  'grpc.client_idle_timeout_ms': 2_147_483_647,
  // For dns targets; a plain address has one backend.
  'grpc.service_config': JSON.stringify({ loadBalancingConfig: [{ round_robin: {} }] }),
} as const

const { path, requestSerialize, responseDeserialize } = grpcMethod(
  StepIntrospectionService.method.describe,
)

/**
 * Opens the channel and looks at the contract until it fits; no call may go before that. When the connection is
 * lost it starts anew: what comes back may be another version.
 */
export function openReplica({ address, service, logger, onChange }: ReplicaOptions): Replica {
  const client = new Client(address, credentials.createInsecure(), channelOptions)
  const digest = contractDigest(service)
  const ending = new AbortController()
  const first = Promise.withResolvers<void>()
  const current: { state: ReplicaState; problem: string } = {
    state: 'UNREACHABLE',
    problem: `${service.typeName} at ${address} was not asked for its contract yet`,
  }

  async function look(timeoutMs: number): Promise<void> {
    const was = current.problem
    try {
      const difference = differenceOf(await describe(client, timeoutMs), service, digest)
      current.state = difference === undefined ? 'CHECKED' : 'DIFFERS'
      current.problem =
        difference === undefined ? '' : `${service.typeName} at ${address} ${difference}`
    } catch (error) {
      current.state = 'UNREACHABLE'
      current.problem = `${service.typeName} at ${address} does not answer: ${reasonOf(error)}`
    }
    if (current.problem !== '' && current.problem !== was && !ending.signal.aborted)
      logger(current.state === 'DIFFERS' ? 'error' : 'warn', current.problem, { address })
  }

  async function watch(): Promise<void> {
    while (!ending.signal.aborted) {
      // eslint-disable-next-line no-await-in-loop
      await lookUntilChecked()
      if (ending.signal.aborted) return
      onChange()
      // eslint-disable-next-line no-await-in-loop
      await connectionLost(client)
      if (ending.signal.aborted) return
      current.state = 'UNREACHABLE'
      current.problem = `${service.typeName} at ${address}: the connection was lost`
      logger('warn', current.problem, { address })
      onChange()
    }
  }

  async function lookUntilChecked(): Promise<void> {
    await look(firstCheckMs)
    first.resolve()
    while (!isOver()) {
      // eslint-disable-next-line no-await-in-loop
      await pause(current.state === 'DIFFERS' ? checkEveryMs : retryEveryMs, ending.signal)
      // eslint-disable-next-line no-await-in-loop
      if (!isOver()) await look(checkEveryMs)
    }
  }

  function isOver(): boolean {
    return current.state === 'CHECKED' || ending.signal.aborted
  }

  void watch()
  return {
    address,
    client,
    inFlight: 0,
    get state() {
      return current.state
    },
    get problem() {
      return current.problem
    },
    firstCheck: first.promise,
    close() {
      ending.abort()
      client.close()
    },
  }
}

/** Settles when the channel has no connection. */
function connectionLost(client: Client): Promise<void> {
  const channel = client.getChannel()
  const { READY } = connectivityState
  return new Promise((resolve) => {
    const look = (): void => {
      if (channel.getConnectivityState(false) !== READY) return resolve()
      channel.watchConnectivityState(READY, Infinity, look)
    }
    look()
  })
}

async function pause(delayMs: number, signal: AbortSignal): Promise<void> {
  try {
    await sleep(delayMs, undefined, { signal, ref: false })
  } catch {
    // Closed: the loop sees it.
  }
}

function describe(client: Client, timeoutMs: number): Promise<DescribeResponse> {
  return new Promise((resolve, reject) => {
    const metadata = new Metadata({ waitForReady: true })
    const deadline = Date.now() + timeoutMs
    const done = (error: ServiceError | null, response?: DescribeResponse): void => {
      if (response) resolve(response)
      else reject(error ?? new Error('no answer'))
    }
    const request = create(DescribeRequestSchema)
    client.makeUnaryRequest(
      path,
      requestSerialize,
      responseDeserialize,
      request,
      metadata,
      { deadline },
      done,
    )
  })
}

function differenceOf(
  { version, contracts }: DescribeResponse,
  service: DescService,
  digest: string,
): string | undefined {
  const served = contracts.find((contract) => contract.service === service.typeName)
  if (!served) {
    const names = contracts.map((contract) => contract.service).join(', ') || 'nothing'
    return `does not serve that contract, it serves ${names}: correct the address`
  }
  if (served.contractDigest === digest) return undefined
  return (
    `serves another contract: its digest is ${served.contractDigest} (version ${version}), ` +
    `this coordinator's is ${digest}. Build both from the same proto files, then start the older one again`
  )
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
