// An echo service on a real gRPC server, told what to do in its requests: `previous` (or the first member's name)
// is answer, late:<ms>, hang, ends (its program, it says), die (it does), fail:<REASON>[:<retry ms>], code:<CODE>, bad, or
// twice. Run as a program it prints its port.
import { createHash, randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  create,
  toBinary,
  type DescMessage,
  type DescMethodUnary,
  type DescService,
  type Message,
} from '@bufbuild/protobuf'
import {
  Metadata,
  Server,
  ServerCredentials,
  status,
  type handleServerStreamingCall,
  type ServiceDefinition,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js'
import { StatusSchema } from '#proto/google/rpc/status_pb.ts'
import type { CallContext } from '#proto/wellspring/step/v1/call_pb.ts'
import {
  DescribeResponseSchema,
  StepIntrospectionService,
  type DescribeResponse,
} from '#proto/wellspring/step/v1/introspection_pb.ts'
import { EchoErrorSchema, EchoService } from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import { fileDescriptorSet } from '../../proto/descriptor-set.ts'
import { contractDigest } from '../../proto/digest.ts'
import { grpcMethod } from '../../proto/grpc.ts'
import { ALONE } from '../../proto/kit-reasons.ts'
import { errorTable, failureOf, statusOf } from '../../services/kit/errors.ts'

export type EchoServer = {
  readonly address: string
  /** Executions per idempotency key. */
  readonly executions: ReadonlyMap<string, number>
  /** Most calls at once. */
  readonly most: () => number
  /** How many calls were under way when one that asked to be alone began, itself included. */
  readonly besides: readonly number[]
  /** Every traceparent header of the calls, in order. */
  readonly traceparents: readonly string[]
  close(): Promise<void>
}

export type EchoServerOptions = {
  readonly port?: number
  readonly service?: DescService
  /** What Describe states: left out, the service's own; descriptors 'none': as wrappers did once. */
  readonly digest?: string
  readonly descriptors?: Uint8Array | 'none'
  readonly version?: string
  readonly host?: string
  readonly onDescribe?: () => void
  readonly onCall?: (entity: string) => void
  /** Nothing of ours beside the step: no Describe. */
  readonly isPlain?: boolean
  /** Refuses as BUSY above so many at once. */
  readonly slots?: number
}

type Asked = Message & { context?: CallContext; previous?: string; members?: { name: string }[] }
const table = errorTable(EchoErrorSchema)

export async function openEchoServer(options: EchoServerOptions = {}): Promise<EchoServer> {
  const { service = EchoService, slots = Infinity } = options
  const executions = new Map<string, number>()
  const traceparents: string[] = []
  const besides: number[] = []
  const wishes = new WeakSet<Asked>()
  let running = 0
  let most = 0

  async function answer(method: DescMethodUnary, request: Asked): Promise<Message> {
    const key = request.context?.idempotencyKey ?? ''
    options.onCall?.(request.context?.entity ?? '')
    if (running >= slots) throw table.fail('BUSY', 'no slot', 20)
    executions.set(key, (executions.get(key) ?? 0) + 1)
    running += 1
    most = Math.max(most, running)
    if (wishes.has(request)) besides.push(running)
    try {
      return await act(method, request)
    } finally {
      running -= 1
    }
  }

  const server = new Server()
  const definition: Record<string, ServiceDefinition[string]> = {}
  const handlers: UntypedServiceImplementation = {}
  for (const method of service.methods) {
    if (method.methodKind !== 'unary') continue
    // On the wire a stream of one message is a unary answer; of two, it is an answer given twice.
    const unary = grpcMethod(method as DescMethodUnary<DescMessage, DescMessage>)
    definition[method.name] = { ...unary, responseStream: true }
    const handler: handleServerStreamingCall<Asked, Message> = (call) => {
      if (call.metadata.get(ALONE).length > 0) wishes.add(call.request)
      traceparents.push(...call.metadata.get('traceparent').map(String))
      answer(method as DescMethodUnary, call.request).then(
        (response) => {
          call.write(response)
          if (verbOf(call.request)[0] === 'twice') call.write(response)
          call.end()
        },
        (error: unknown) => call.emit('error', grpcError(error)),
      )
    }
    handlers[method.name] = handler
  }
  server.addService(definition, handlers)
  if (options.isPlain !== true) {
    const description = descriptionOf(service, options)
    server.addService(
      { Describe: grpcMethod(StepIntrospectionService.method.describe) },
      {
        Describe: (_call: unknown, callback: (error: null, response: Message) => void) => {
          options.onDescribe?.()
          callback(null, description)
        },
      },
    )
  }
  const { host = '127.0.0.1' } = options
  const port = await listen(server, host, options.port ?? 0)
  return {
    address: `${host}:${port}`,
    executions,
    most: () => most,
    besides,
    traceparents,
    close() {
      server.forceShutdown()
      return Promise.resolve()
    },
  }
}

function descriptionOf(service: DescService, options: EchoServerOptions): DescribeResponse {
  const { digest = contractDigest(service), descriptors = fileDescriptorSet(service) } = options
  const contract = { service: service.typeName, contractDigest: digest }
  return create(DescribeResponseSchema, {
    version: options.version ?? 'test',
    instance: randomUUID(),
    contracts: [
      descriptors === 'none' ? contract : { ...contract, fileDescriptorSet: descriptors },
    ],
  })
}

function listen(server: Server, host: string, port: number): Promise<number> {
  const local = ServerCredentials.createInsecure()
  return new Promise((resolve, reject) =>
    server.bindAsync(`${host}:${port}`, local, (error, bound) =>
      error ? reject(error) : resolve(bound),
    ),
  )
}

async function act(method: DescMethodUnary, request: Asked): Promise<Message> {
  const [verb = '', what = '', more] = verbOf(request)
  if (verb === 'die') process.kill(process.pid, 'SIGKILL')
  if (verb === 'late') await sleep(Number(what))
  if (verb === 'hang') await sleep(60_000, undefined, { ref: false })
  if (verb === 'fail')
    throw table.fail(what, 'on request', more === undefined ? undefined : Number(more))
  if (verb === 'ends') throw table.fail('NOT_YET', 'its program ended', undefined, 'alone')
  if (verb === 'code') throw new PlainError(what)
  const digest = createHash('sha256')
    .update(toBinary(method.input, { ...request, context: undefined } as Message))
    .digest('hex')
  return create(method.output, { digest: verb === 'bad' ? 'short' : digest })
}

function verbOf(request: Asked): string[] {
  return (request.previous ?? request.members?.[0]?.name ?? '').split(':')
}

/** A status that no wrapper of ours makes. */
class PlainError extends Error {}

function grpcError(error: unknown): { code: number; details: string; metadata: Metadata } {
  if (!(error instanceof PlainError)) return statusOf(failureOf(error), 'wellspring.steps.echo.v1')
  const code = status[error.message as keyof typeof status]
  const metadata = new Metadata()
  const bytes = toBinary(StatusSchema, create(StatusSchema, { code, message: 'plain' }))
  metadata.set('grpc-status-details-bin', Buffer.from(bytes))
  return { code, details: 'plain', metadata }
}

if (import.meta.main) {
  const { address } = await openEchoServer({ port: Number(process.argv[2] ?? 0) })
  process.stdout.write(`${address}\n`)
}
