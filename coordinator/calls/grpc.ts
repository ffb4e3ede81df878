// Calls over gRPC: drives any step from its descriptor. What a call meets, in this order: the registry (is it running
// already?), the lane of its service (its turn, a free slot), a replica, and the checks of its response.
import {
  toBinary,
  type DescMethod,
  type DescService,
  type MessageInitShape,
} from '@bufbuild/protobuf'
import { Metadata, type ClientUnaryCall, type ServiceError } from '@grpc/grpc-js'
import { Code } from '#proto/google/rpc/code_pb.ts'
import { ErrorClass } from '#proto/wellspring/contract/v1/errors_pb.ts'
import type { ServiceStatusSchema } from '#proto/wellspring/control/v1/control_pb.ts'
import { ALONE, type ProgramEnded } from '../../proto/kit-reasons.ts'
import type { Pipeline } from '../core/pipeline/pipeline.ts'
import type { Lookup } from './addresses.ts'
import {
  classify,
  errorContract,
  failureOf,
  wrapperEnded,
  type ErrorContract,
  type Failed,
} from './classify.ts'
import { createCallRegistry, type CallRegistry } from './registry.ts'
import { laneLimits, type Ending, type LaneLimits } from './lane.ts'
import type { CallRequest, Caller, Outcome } from './port.ts'
import type { Logger } from '@wellspring/kafka/logger.ts'
import type { Connection, Replica, ReplicaOptions } from './replica.ts'
import { openService, statusOf, type Service } from './service.ts'
import { openTurns } from './turns.ts'
import { usesOf } from './uses.ts'
import { fileLimits, openFiles } from './output-files.ts'
import { responseCheck, type ResponseCheck } from './verify.ts'

export const callLimits = {
  ...laneLimits,
  ...fileLimits,
  /** How long an outcome waits for its task to come back. */
  heldOutcomeMs: 30_000,
} as const
export type CallLimits = LaneLimits & Readonly<Record<keyof typeof callLimits, number>>

export type GrpcCallerOptions = {
  /** Full service name → host:port of its replicas; a name stands for all that it is looked up as. */
  readonly services: ReadonlyMap<string, readonly string[] | string>
  /** Directories that outputs must be in. */
  readonly roots: readonly string[]
  /** UTC milliseconds. */
  readonly clock: { nowMs(): number }
  readonly logger: Logger
  readonly limits?: Partial<CallLimits>
  /** How names are looked up, and when an excluded replica is looked at again: for tests. */
  readonly lookup?: Lookup
  readonly recheckMs?: ReplicaOptions['recheckMs']
}

export type GrpcCaller = Caller & {
  /**
   * Opens the services of a pipeline and looks at every replica once. Rejects with one error that names every service
   * without address. A replica that does not answer, or whose contract does not fit, is told in the log and excluded
   * until it does; calls to a service without any other wait, without spending attempts.
   */
  check(pipeline: Pipeline): Promise<void>
  /** One per replica; queued and limit are the service's. */
  status(): MessageInitShape<typeof ServiceStatusSchema>[]
}

/** What is computed once per method. */
type Prepared = {
  readonly path: string
  readonly contract: ErrorContract
  readonly check: ResponseCheck
}

/** What an answer needs to remember of its call. */
type Sent = {
  readonly request: CallRequest
  readonly service: Service
  readonly prepared: Prepared
  /** Monotonic time at which the call left. */
  readonly leftMs: number
  readonly timing: Outcome['timing']
  readonly connection: Connection
}

export function openGrpcCaller(options: GrpcCallerOptions): GrpcCaller {
  return new GrpcCalls(options)
}

class GrpcCalls implements GrpcCaller {
  readonly #options: GrpcCallerOptions
  readonly #limits: CallLimits
  readonly #registry: CallRegistry
  readonly #services = new Map<string, Service>()
  readonly #methods = new Map<DescMethod, Prepared>()
  readonly #running = new Set<ClientUnaryCall>()
  readonly #turns = openTurns()

  constructor(options: GrpcCallerOptions) {
    this.#options = options
    this.#limits = { ...callLimits, ...options.limits }
    this.#registry = createCallRegistry({
      after,
      heldOutcomeMs: this.#limits.heldOutcomeMs,
      nowMs: () => performance.now(),
    })
  }

  call(request: CallRequest, onOutcome: (outcome: Outcome) => void): void {
    if (!this.#registry.take(request, onOutcome)) return
    const service = this.#serviceOf(request.step.method.parent)
    service.allow(request.step.policy.inFlightMaxPerReplica)
    if (service.push(request)) return
    const message = `${this.#limits.queueLengthMax} calls to ${service.desc.typeName} are waiting`
    const full = { class: ErrorClass.OVERLOADED, reason: 'QUEUE_FULL', hint: 'add replicas' }
    this.#refuse(request, { failure: failureOf({ ...full, message }), retryAfterMs: 1_000 })
  }

  /** Starts a call whose turn has come. False: it does not leave. */
  #start(service: Service, request: CallRequest, replica: Replica): boolean {
    if (!this.#registry.isWanted(request.idempotencyKey)) {
      this.#registry.drop(request.idempotencyKey)
      return false
    }
    const bytes = encode(request)
    if (!Buffer.isBuffer(bytes)) {
      this.#refuse(request, bytes)
      return false
    }
    const { address, connection } = replica
    const { clock } = this.#options
    const startedMs = clock.nowMs()
    const leftMs = performance.now()
    const prepared = this.#prepared(request.step.method)
    const metadata = new Metadata({ waitForReady: true })
    metadata.set('traceparent', request.traceparent)
    if (request.alone === true) metadata.set(ALONE, '1')
    const options = { deadline: Date.now() + request.timeoutMs }
    const onEnd = (error: ServiceError | null, output?: Buffer): void => {
      replica.inFlight -= 1
      this.#running.delete(call)
      const timing = { startedMs, endedMs: clock.nowMs(), replica: address }
      this.#turns(() =>
        this.#end({ request, service, prepared, leftMs, timing, connection }, error, output),
      )
    }
    replica.inFlight += 1
    const { client } = connection
    // grpc-js takes a stack trace of every call, for errors that are shown to nobody here.
    const { stackTraceLimit } = Error
    Error.stackTraceLimit = 0
    const call = client.makeUnaryRequest(prepared.path, asIs, asIs, bytes, metadata, options, onEnd)
    Error.stackTraceLimit = stackTraceLimit
    this.#running.add(call)
    return true
  }

  #end(sent: Sent, error: ServiceError | null, output?: Buffer): void {
    if (error && isUnsent(error) && this.#takenBack(sent)) return
    if (error) {
      const failed = classify(callError(error), sent.prepared.contract, sent.timing.replica)
      if (!isTransports(error)) return this.#failed(sent, failed)
      return void sent.connection
        .fate()
        .then((fate) =>
          this.#failed(sent, fate === 'ended' ? wrapperEnded(failed, endOf(sent)) : failed),
        )
    }
    const bytes = output ?? Buffer.alloc(0)
    const problem = sent.prepared.check(bytes)
    if (problem && !(problem instanceof Promise)) return this.#failed(sent, { failure: problem })
    const { request, service, leftMs } = sent
    service.ended(request, { ending: 'answered', leftMs })
    if (!problem) return this.#done(sent, bytes)
    void problem.then((found) =>
      found ? this.#fail(sent, { failure: found }) : this.#done(sent, bytes),
    )
  }

  #done({ request, timing }: Sent, output: Buffer): void {
    this.#registry.settle(request.idempotencyKey, { kind: 'done', output, timing })
  }

  #takenBack({ service, request, leftMs }: Sent): boolean {
    return service.ended(request, { ending: 'unsent', leftMs })
  }

  /** A failure that the lane must hear of; it may take the call back. */
  #failed(sent: Sent, failed: Failed): void {
    const { request, service, leftMs } = sent
    const ending = endingOf(failed.failure.class)
    const isNobodys = failed.programEnded === 'alone' && !service.mayBlame(request)
    if (service.ended(request, { ending, leftMs, retryAfterMs: failed.retryAfterMs })) return
    this.#fail(sent, isNobodys ? { ...failed, programEnded: 'among-others' } : failed)
  }

  #fail({ request, timing }: Sent, failed: Failed): void {
    failed.failure.replica = timing.replica
    this.#registry.settle(request.idempotencyKey, { kind: 'failed', ...failed, timing })
  }

  /** A call that never left. */
  #refuse(request: CallRequest, failed: Failed): void {
    const nowMs = this.#options.clock.nowMs()
    const timing = { startedMs: nowMs, endedMs: nowMs, replica: '' }
    after(0, () =>
      this.#registry.settle(request.idempotencyKey, { kind: 'failed', ...failed, timing }),
    )
  }

  #prepared(method: DescMethod): Prepared {
    const known = this.#methods.get(method)
    if (known) return known
    const prepared = {
      path: `/${method.parent.typeName}/${method.name}`,
      contract: errorContract(method),
      check: responseCheck(method, openFiles(this.#options.roots, this.#limits)),
    }
    this.#methods.set(method, prepared)
    return prepared
  }

  #serviceOf(desc: DescService, pipeline?: Pipeline): Service {
    const known = this.#services.get(desc.typeName)
    if (known) return known
    const targets = [this.#options.services.get(desc.typeName) ?? []].flat()
    if (targets.length === 0)
      throw new Error(`${desc.typeName} has no address: add it to WELLSPRING_SERVICES`)
    const { logger, lookup, recheckMs } = this.#options
    const service = openService({
      ours: { service: desc, uses: pipeline && usesOf(pipeline, desc.typeName) },
      targets,
      limits: this.#limits,
      logger,
      start: (to, request, replica) => this.#start(to, request, replica),
      lookup,
      ...(recheckMs && { recheckMs }),
    })
    this.#services.set(desc.typeName, service)
    return service
  }

  async check(pipeline: Pipeline): Promise<void> {
    const problems: string[] = []
    const services = [...new Set(pipeline.steps.map((step) => step.method.parent))].flatMap(
      (desc) => {
        if (this.#options.services.has(desc.typeName)) return [this.#serviceOf(desc, pipeline)]
        problems.push(`${desc.typeName} has no address: add it to WELLSPRING_SERVICES`)
        return []
      },
    )
    if (problems.length > 0) throw new Error(`cannot start:\n- ${problems.join('\n- ')}`)
    await Promise.all(services.map((service) => service.firstCheck))
    for (const service of services) {
      const problem = service.problem()
      if (problem === undefined) continue
      const { typeName } = service.desc
      const what = `${typeName} has no replica that can be called, its calls wait:\n- ${problem}`
      this.#options.logger('error', what, { service: typeName })
    }
  }

  status(): MessageInitShape<typeof ServiceStatusSchema>[] {
    return [...this.#services.values()].flatMap(statusOf)
  }

  knows(idempotencyKey: string, attempt?: number): boolean {
    return this.#registry.knows(idempotencyKey, attempt)
  }

  release(idempotencyKey: string): void {
    this.#registry.release(idempotencyKey)
  }

  detach(task: number): void {
    this.#registry.detach(task)
  }

  close(): Promise<void> {
    this.#registry.close()
    for (const service of this.#services.values()) service.close()
    for (const call of this.#running) call.cancel()
    return Promise.resolve()
  }
}

/** The request's bytes, or why it has none: a binding gave what the contract cannot carry. */
function encode({ step, request }: CallRequest): Buffer | Failed {
  try {
    const bytes = toBinary(step.method.input, request)
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  } catch (error) {
    const message = `the request is no ${step.method.input.typeName}: ${String(error)}`
    const failure = {
      class: ErrorClass.PERMANENT,
      reason: 'BAD_REQUEST',
      hint: 'check the pipeline',
    }
    return { failure: failureOf({ ...failure, message }) }
  }
}

/** It was still in its channel when that was given up with its connection. Words of grpc-js. */
function isUnsent({ code, details }: ServiceError): boolean {
  return Number(code) === Code.UNAVAILABLE && details === 'Channel closed before call started'
}

/** The connection's own word for a call that was under way. */
function isTransports({ code, metadata }: ServiceError): boolean {
  return Number(code) === Code.UNAVAILABLE && metadata.get('grpc-status-details-bin').length === 0
}

function endOf({ request }: Sent): ProgramEnded {
  return request.alone === true ? 'alone' : 'among-others'
}

function callError({ code, details, metadata }: ServiceError): Parameters<typeof classify>[0] {
  const [status] = metadata.get('grpc-status-details-bin')
  return { code, details, status: status instanceof Uint8Array ? status : undefined }
}

function endingOf(errorClass: ErrorClass): Ending {
  switch (errorClass) {
    case ErrorClass.OVERLOADED:
      return 'overloaded'
    case ErrorClass.PERMANENT:
      return 'permanent'
    case ErrorClass.POISON:
      return 'answered'
    case ErrorClass.RETRYABLE:
    case ErrorClass.AMBIGUOUS:
    case ErrorClass.UNSPECIFIED:
      return 'other'
  }
  return 'other'
}

const asIs = (bytes: Buffer): Buffer => bytes

function after(delayMs: number, run: () => void): void {
  if (delayMs === 0) queueMicrotask(run)
  else setTimeout(run, delayMs).unref()
}
