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

export function openReplica(options: ReplicaOptions): Replica {
  return new Watched(options)
}

/**
 * Looks at the contract until it fits; no call may go before that. When the connection is lost it starts anew:
 * what comes back may be another version.
 */
class Watched implements Replica {
  readonly address: string
  readonly client: Client
  inFlight = 0
  state: ReplicaState = 'UNREACHABLE'
  problem = ''
  readonly firstCheck: Promise<void>
  readonly #options: ReplicaOptions
  readonly #digest: string
  readonly #ending = new AbortController()

  constructor(options: ReplicaOptions) {
    this.#options = options
    this.#digest = contractDigest(options.service)
    this.address = options.address
    this.client = new Client(options.address, credentials.createInsecure(), channelOptions)
    this.firstCheck = this.#look(firstCheckMs)
    void this.firstCheck.then(() => this.#watch())
  }

  close(): void {
    this.#ending.abort()
    this.client.close()
  }

  async #watch(): Promise<void> {
    const { signal } = this.#ending
    while (!signal.aborted) {
      await this.#untilChecked()
      if (signal.aborted) return
      this.#options.onChange()
      await connectionLost(this.client)
      if (signal.aborted) return
      this.#is('UNREACHABLE', 'lost its connection')
      this.#options.onChange()
    }
  }

  async #untilChecked(): Promise<void> {
    const { signal } = this.#ending
    while (this.state !== 'CHECKED' && !signal.aborted) {
      // A look at an unreachable replica waits by itself, for the connection.
      await pause(this.state === 'DIFFERS' ? checkEveryMs : retryEveryMs, signal)
      if (!signal.aborted) await this.#look(checkEveryMs)
    }
  }

  async #look(timeoutMs: number): Promise<void> {
    try {
      const answer = await describe(this.client, timeoutMs)
      const difference = differenceOf(answer, this.#options.service, this.#digest)
      this.#is(difference === undefined ? 'CHECKED' : 'DIFFERS', difference ?? '')
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      this.#is('UNREACHABLE', `does not answer: ${reason}`)
    }
  }

  /** Logs on every change of state. */
  #is(state: ReplicaState, what: string): void {
    const { service, address, logger } = this.#options
    const isNew = this.state !== state || this.problem === ''
    this.state = state
    this.problem = what === '' ? '' : `${service.typeName} at ${address} ${what}`
    if (what === '' || !isNew || this.#ending.signal.aborted) return
    logger(state === 'DIFFERS' ? 'error' : 'warn', this.problem, { address })
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
