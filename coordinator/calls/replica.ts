// One replica of a service: its connection, and whether what answers there can be called.
import { setTimeout as sleep } from 'node:timers/promises'
import { create } from '@bufbuild/protobuf'
import {
  Client,
  connectivityState,
  credentials,
  Metadata,
  status,
  type ServiceError,
} from '@grpc/grpc-js'
import {
  DescribeRequestSchema,
  StepIntrospectionService,
  type DescribeResponse,
} from '#proto/wellspring/step/v1/introspection_pb.ts'
import { grpcMethod } from '../../proto/grpc.ts'
import type { Logger } from '@wellspring/kafka/logger.ts'
import { misfit, word, type Ours } from './fit.ts'

/** EXCLUDED: it answers, but cannot be called. */
export type ReplicaState = 'UNREACHABLE' | 'EXCLUDED' | 'CHECKED'

/** 'ended': the process at the other end is known to be gone. */
export type Fate = 'ended' | 'unknown'

/** One connection, and the process at its other end. */
export type Connection = {
  readonly client: Client
  /** What became of it, for a call that failed over it: soon known. */
  fate(): Promise<Fate>
}

export type Replica = {
  readonly address: string
  /** What calls go over while it is CHECKED: each connection was looked at before. */
  readonly connection: Connection
  inFlight: number
  readonly state: ReplicaState
  /** Why it is not CHECKED, and what to do. */
  readonly problem: string
  /** Of the wrapper, as it tells it. */
  readonly version: string
  /** Settles when the first look at the contract has ended, at most firstCheckMs after opening. */
  readonly firstCheck: Promise<void>
  close(): void
}

export type ReplicaOptions = {
  readonly address: string
  readonly ours: Ours
  readonly logger: Logger
  /** Called when calls may go there, and when they may not any more. */
  readonly onChange: () => void
  readonly recheckMs?: Partial<typeof recheckMs>
}

/** How long the first look may take; then the start goes on without this replica. */
const firstCheckMs = 2_000
/** Time of one later look. */
const checkEveryMs = 10_000
/** Time of the looks that follow the loss of a connection. */
const lookAfterLossMs = 1_000
/** A call may fail before the loss of its connection is noticed. */
const lossNoticedMs = 50
/** A look waits for the connection; this is only to not spin when it fails at once. */
const retryEveryMs = 100
/** Between two looks at a replica that is excluded: first, and doubled up to. */
const recheckMs: { readonly first: number; readonly max: number } = { first: 1_000, max: 60_000 }

const channelOptions = {
  'grpc.enable_channelz': 0,
  'grpc.keepalive_time_ms': 30_000,
  'grpc.keepalive_timeout_ms': 10_000,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 2_000,
  // Never: a quiet hour is no lost connection.
  'grpc.client_idle_timeout_ms': 2_147_483_647,
  'grpc.use_local_subchannel_pool': 1,
} as const

const { path, requestSerialize, responseDeserialize } = grpcMethod(
  StepIntrospectionService.method.describe,
)

export function openReplica(options: ReplicaOptions): Replica {
  return new Watched(options)
}

/** What a look found. */
type Look =
  | { readonly kind: 'answer'; readonly answer: DescribeResponse }
  | { readonly kind: 'error'; readonly error: ServiceError }

/**
 * Looks at the contract until it fits; no call may go before that. A connection that is lost is given up with its
 * channel, so that no call goes on to what comes back before that was looked at: it may be another version.
 */
class Watched implements Replica {
  readonly address: string
  connection: Watchable
  inFlight = 0
  state: ReplicaState = 'UNREACHABLE'
  problem = ''
  version = ''
  readonly firstCheck: Promise<void>
  readonly #options: ReplicaOptions
  readonly #ending = new AbortController()
  #instance = ''
  #isTold = false

  constructor(options: ReplicaOptions) {
    this.#options = options
    this.address = options.address
    this.connection = new Watchable(options.address)
    this.firstCheck = this.#look(firstCheckMs, true).then(() => {})
    void this.firstCheck.then(() => this.#watch())
  }

  close(): void {
    this.#ending.abort()
    this.connection.settle('unknown')
    this.connection.client.close()
  }

  async #watch(): Promise<void> {
    const { signal } = this.#ending
    while (!signal.aborted) {
      const { lost } = await this.#untilChecked()
      if (signal.aborted) return
      this.#options.onChange()
      await lost
      this.connection.isLost = true
      if (signal.aborted) return
      this.#is('UNREACHABLE', 'lost its connection')
      this.#options.onChange()
      await this.#reopen()
    }
  }

  /** `lost`: settles with the loss of the connection that was looked at. */
  async #untilChecked(): Promise<{ readonly lost: Promise<void> }> {
    const { signal } = this.#ending
    const { first, max } = { ...recheckMs, ...this.#options.recheckMs }
    let pauseMs = first
    let lost = connectionLost(this.connection.client)
    while (this.state !== 'CHECKED' && !signal.aborted) {
      if (this.state === 'EXCLUDED') {
        const isOther = await Promise.race([lost.then(() => true), pause(pauseMs, signal)])
        pauseMs = isOther ? first : Math.min(pauseMs * 2, max)
      }
      // A look at an unreachable replica waits by itself, for the connection.
      await pause(retryEveryMs, signal)
      if (!signal.aborted) await this.#look(checkEveryMs, true)
      lost = connectionLost(this.connection.client)
    }
    return { lost }
  }

  /** Another channel; and by the first look over it, what became of the process behind the one before. */
  async #reopen(): Promise<void> {
    const [lost, before] = [this.connection, this.#instance]
    lost.client.close()
    this.connection = new Watchable(this.address)
    lost.settle(await this.#fateAfter(before))
  }

  /** By the first looks over the next connection. */
  async #fateAfter(before: string): Promise<Fate> {
    const { signal } = this.#ending
    const untilMs = performance.now() + lookAfterLossMs
    for (;;) {
      const leftMs = untilMs - performance.now()
      if (leftMs <= 0 || signal.aborted) return 'unknown'
      const look = await this.#look(leftMs, false)
      if (look.kind === 'answer')
        return before !== '' && look.answer.instance !== before ? 'ended' : 'unknown'
      if (isRefused(look.error)) return 'ended'
      // A process that is about to go may still take a connection.
      if (!isAway(look.error)) return 'unknown'
      await pause(retryEveryMs, signal)
    }
  }

  async #look(timeoutMs: number, waitForReady: boolean): Promise<Look> {
    const look = await describe(this.connection.client, timeoutMs, waitForReady)
    if (look.kind === 'answer') {
      const problem = misfit(look.answer, this.#options.ours)
      this.#instance = look.answer.instance
      this.version = word(look.answer.version)
      this.#is(problem === undefined ? 'CHECKED' : 'EXCLUDED', problem ?? '')
    } else if (isAway(look.error)) this.#is('UNREACHABLE', `does not answer: ${look.error.message}`)
    else this.#is('EXCLUDED', silence(look.error))
    return look
  }

  /** Logs what is new, and that it is over. */
  #is(state: ReplicaState, what: string): void {
    const { ours, address, logger } = this.#options
    const problem = what === '' ? '' : `${ours.service.typeName} at ${address} ${what}`
    const isNew = this.state !== state || this.problem === ''
    const isOther = state === 'EXCLUDED' && this.problem !== problem
    this.state = state
    this.problem = problem
    if (this.#ending.signal.aborted) return
    if (problem === '') {
      if (this.#isTold)
        logger('info', `${ours.service.typeName} at ${address} is called again`, { address })
      this.#isTold = false
    } else if (isNew || isOther) {
      this.#isTold = true
      const excluded = `${problem}. It is not called; its other replicas are`
      logger(state === 'EXCLUDED' ? 'error' : 'warn', state === 'EXCLUDED' ? excluded : problem, {
        address,
      })
    }
  }
}

class Watchable implements Connection {
  readonly client: Client
  isLost = false
  readonly #fate = Promise.withResolvers<Fate>()

  constructor(address: string) {
    this.client = new Client(address, credentials.createInsecure(), channelOptions)
  }

  async fate(): Promise<Fate> {
    if (!this.isLost) await sleep(lossNoticedMs, undefined, { ref: false })
    return this.isLost ? this.#fate.promise : 'unknown'
  }

  settle(fate: Fate): void {
    this.#fate.resolve(fate)
  }
}

/** Settles when the channel has no connection; at once if it has none now. */
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

async function pause(delayMs: number, signal: AbortSignal): Promise<false> {
  try {
    await sleep(delayMs, undefined, { signal, ref: false })
  } catch {
    // Closed: the loop sees it.
  }
  return false
}

function describe(client: Client, timeoutMs: number, waitForReady: boolean): Promise<Look> {
  return new Promise((resolve) => {
    const metadata = new Metadata({ waitForReady })
    const deadline = Date.now() + timeoutMs
    const done = (error: ServiceError | null, answer?: DescribeResponse): void => {
      if (error) resolve({ kind: 'error', error })
      else if (answer) resolve({ kind: 'answer', answer })
    }
    const request = create(DescribeRequestSchema)
    const options = { deadline }
    client.makeUnaryRequest(
      path,
      requestSerialize,
      responseDeserialize,
      request,
      metadata,
      options,
      done,
    )
  })
}

function isAway({ code }: ServiceError): boolean {
  return [status.UNAVAILABLE, status.DEADLINE_EXCEEDED, status.CANCELLED].includes(code)
}

/** Where a process was, nobody listens any more. */
function isRefused({ code, details }: ServiceError): boolean {
  return code === status.UNAVAILABLE && details.includes('ECONNREFUSED')
}

function silence({ code, details }: ServiceError): string {
  if (code === status.UNIMPLEMENTED)
    return (
      'does not say what it serves: implement Describe of wellspring.step.v1.StepIntrospectionService, which tells the ' +
      "contract's digest and descriptors (proto/README.md), or use services/kit"
    )
  return `does not say what it serves: Describe failed with ${status[code]} (${word(details)})`
}
