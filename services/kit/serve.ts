// Serves a step: everything a wrapper gets for free, put together.
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  create,
  type DescEnum,
  type DescMethod,
  type DescMethodUnary,
  type DescService,
} from '@bufbuild/protobuf'
import { createValidator } from '@bufbuild/protovalidate'
import {
  Server,
  ServerCredentials,
  type ServerOptions,
  type ServerUnaryCall,
  type UntypedHandleCall,
  type sendUnaryData,
} from '@grpc/grpc-js'
import {
  CancelResponseSchema,
  DescribeResponseSchema,
  StepIntrospectionService,
  type CancelRequest,
  type CancelResponse,
  type DescribeRequest,
  type DescribeResponse,
} from '#proto/wellspring/step/v1/introspection_pb.ts'
import { fileDescriptorSet } from '../../proto/descriptor-set.ts'
import { contractDigest } from '../../proto/digest.ts'
import { grpcMethod } from '../../proto/grpc.ts'
import { openRoots } from './artifacts.ts'
import type { Handlers } from './call.ts'
import { readConfig, type Config } from './config.ts'
import { createAnswers, openEffects } from './effects.ts'
import { errorTable } from './errors.ts'
import { createExecutions, type Executions } from './executions.ts'
import { addHealth } from './health.ts'
import { logError, sayReady } from './log.ts'
import { serveMethod, type Handler, type Shared } from './method.ts'
import { openStore } from './store.ts'
import { openTracing } from './trace.ts'

export type { Call, PublishFile } from './call.ts'
export { StepError } from './call.ts'

export type ServeOptions<Service extends DescService> = {
  /** Step name, for the ready line and the spans' service.name. */
  readonly name: string
  /** Version of the wrapper and the program behind it, for people. */
  readonly version: string
  readonly service: Service
  /** The enum whose values are the service's error reasons. */
  readonly errors: DescEnum
  readonly handlers: Handlers<Service>
}

export type Serving = {
  /** host:port */
  readonly address: string
  /** Refuses new calls, waits for running ones at most drainMs, ends the rest, flushes spans. */
  drain(): Promise<void>
}

/** Serves until SIGTERM or SIGINT, then drains. Prints one JSON line when ready. */
export async function serve<Service extends DescService>(
  options: ServeOptions<Service>,
): Promise<void> {
  const serving = await start(options)
  // A promise that a handler forgot must not take other people's calls down.
  process.on('unhandledRejection', (error) => {
    const text = error instanceof Error ? error.stack : undefined
    logError('a handler left a rejected promise behind', { error: text ?? String(error) })
  })
  const told = new Promise((resolve) => {
    process.once('SIGTERM', resolve)
    process.once('SIGINT', resolve)
  })
  sayReady(options.name, serving.address)
  await told
  await serving.drain()
  process.exit(0) // whatever a handler that ignores its signal still holds open
}

/** Starts serving; the caller decides when to drain. Throws when the environment or the contract is wrong. */
export async function start<Service extends DescService>(
  options: ServeOptions<Service>,
  environment: NodeJS.ProcessEnv = process.env,
): Promise<Serving> {
  const { name, version, service } = options
  const config = readConfig(environment)
  const { store } = config
  if (store !== undefined) await openStore(store)
  const readable = store === undefined ? config.roots : [...config.roots, store]
  const roots = await openRoots(readable, config.rootsExcept)
  const executions = createExecutions(config.orphanGraceMs, createAnswers())
  const tracing = openTracing(name, version, environment)
  const server = new Server(connectionLimits(config))
  addSteps(server, options, {
    service,
    errors: errorTable(options.errors),
    executions,
    tracing,
    validator: createValidator(),
    roots,
    store,
    effects: store === undefined ? undefined : openEffects(store),
    artifactBytesMax: config.artifactBytesMax,
    maxInFlight: config.maxInFlight,
  })
  addIntrospection(server, executions, { version, service })
  const health = addHealth(server, [service.typeName])
  const address = await bind(server, config)
  return {
    address,
    async drain() {
      health.close()
      const stopped = new Promise<void>((resolve) => server.tryShutdown(() => resolve()))
      await Promise.race([stopped, sleep(config.drainMs, undefined, { ref: false })])
      await executions.close(stopMs)
      server.forceShutdown()
      await tracing.shutdown()
    },
  }
}

/** What one caller may ask of a server, whoever it is. */
function connectionLimits({ connectionIdleMs }: Config): ServerOptions {
  return {
    'grpc.max_receive_message_length': requestBytesMax,
    'grpc.max_concurrent_streams': callsPerConnectionMax,
    'grpc.max_connection_idle_ms': connectionIdleMs,
  }
}

const requestBytesMax = 4 * 1024 * 1024
/** More than any contract allows a replica: beyond it, calls wait at the caller's end. */
const callsPerConnectionMax = 1_000

/** How long handlers may take to stop once their signal has aborted in a drain. */
const stopMs = 1_000

function addSteps<Service extends DescService>(
  server: Server,
  options: ServeOptions<Service>,
  shared: Shared,
): void {
  const handlers = options.handlers as Readonly<Record<string, Handler | undefined>>
  const pairs = options.service.methods.map((method) => {
    const handler = handlers[method.localName]
    if (!isUnary(method) || handler === undefined)
      throw new Error(`${options.name} has no handler for ${method.parent.typeName}.${method.name}`)
    const raw = { requestDeserialize: (bytes: Buffer) => bytes, responseSerialize: asBuffer }
    const definition = { ...grpcMethod(method), ...raw }
    return [method.localName, definition, serveMethod(shared, method, handler)] as const
  })
  const definitions = Object.fromEntries(pairs.map(([key, definition]) => [key, definition]))
  const calls = pairs.map(([key, , call]): [string, UntypedHandleCall] => [key, call])
  server.addService(definitions, Object.fromEntries(calls))
}

function isUnary(method: DescMethod): method is DescMethodUnary {
  return method.methodKind === 'unary'
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function addIntrospection(
  server: Server,
  executions: Executions,
  served: { readonly version: string; readonly service: DescService },
): void {
  const { describe, cancel } = StepIntrospectionService.method
  const { service, version } = served
  const description = create(DescribeResponseSchema, {
    version,
    contracts: [
      {
        service: service.typeName,
        contractDigest: contractDigest(service),
        fileDescriptorSet: fileDescriptorSet(service),
      },
    ],
    instance: randomUUID(),
  })
  server.addService(
    { describe: grpcMethod(describe), cancel: grpcMethod(cancel) },
    {
      describe(
        _: ServerUnaryCall<DescribeRequest, DescribeResponse>,
        answer: sendUnaryData<DescribeResponse>,
      ) {
        answer(null, description)
      },
      cancel(
        call: ServerUnaryCall<CancelRequest, CancelResponse>,
        answer: sendUnaryData<CancelResponse>,
      ) {
        const wasRunning = executions.cancel(call.request.idempotencyKey)
        answer(null, create(CancelResponseSchema, { wasRunning }))
      },
    },
  )
}

async function bind(server: Server, config: Config): Promise<string> {
  const { listen } = config
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(listen, ServerCredentials.createInsecure(), (error, bound) =>
      error === null
        ? resolve(bound)
        : reject(new Error(`Cannot listen on ${listen}: ${error.message}`)),
    )
  })
  return `${listen.slice(0, listen.lastIndexOf(':'))}:${port}`
}
