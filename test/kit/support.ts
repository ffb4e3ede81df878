// What the kit's tests share: a client that speaks raw gRPC, requests, wrappers as processes, an OTLP receiver.
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { TestContext } from 'node:test'
import {
  create,
  fromBinary,
  type DescMessage,
  type DescMethodUnary,
  type MessageShape,
} from '@bufbuild/protobuf'
import { anyUnpack } from '@bufbuild/protobuf/wkt'
import {
  Client,
  Metadata,
  credentials,
  type ClientUnaryCall,
  type ServiceError,
} from '@grpc/grpc-js'
import {
  ErrorInfoSchema,
  RetryInfoSchema,
  type ErrorInfo,
  type RetryInfo,
} from '#proto/google/rpc/error_details_pb.ts'
import { StatusSchema } from '#proto/google/rpc/status_pb.ts'
import { ExportTraceServiceRequestSchema } from '#proto/opentelemetry/proto/collector/trace/v1/trace_service_pb.ts'
import type { Span } from '#proto/opentelemetry/proto/trace/v1/trace_pb.ts'
import {
  EchoErrorSchema,
  EchoImageRequestSchema,
  EchoService,
  type EchoImageRequest,
  type EchoImageResponse,
} from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import { CallContextSchema, type CallContext } from '#proto/wellspring/step/v1/call_pb.ts'
import { grpcMethod } from '../../proto/grpc.ts'
import { ALONE } from '../../proto/kit-reasons.ts'
import { start, type Call, type Serving } from '../../services/kit/serve.ts'

export const entity = 'E1/P1/a1/B07/t0/s2/z0/DNA'
export const digest = 'a'.repeat(64)

export function contextOf(key: string, over: Partial<CallContext> = {}): CallContext {
  const identity = { experiment: 'E1', plate: 'P1', acquisition: 'a1' }
  return create(CallContextSchema, {
    identity,
    entity: over.entity ?? entity,
    step: over.step ?? 'echo',
    pipeline: 'test-1',
    idempotencyKey: key.padStart(32, '0'),
    attempt: over.attempt ?? 1,
    generation: 1,
  })
}

export function echoRequest(key: string, over: Partial<CallContext> = {}): EchoImageRequest {
  return create(EchoImageRequestSchema, { context: contextOf(key, over), previous: 'x' })
}

export type EchoHandler = (
  request: EchoImageRequest,
  call: Call,
) => Promise<{ digest: string }> | { digest: string }

/** An echo service in this process whose EchoImage is the given handler; drained when the test ends. */
export async function startEcho(
  test: TestContext,
  handler: EchoHandler,
  environment: NodeJS.ProcessEnv = {},
): Promise<Serving & { client: Client }> {
  const members = (): { digest: string } => ({ digest })
  const serving = await start(
    {
      name: 'echo',
      version: 'test',
      service: EchoService,
      errors: EchoErrorSchema,
      handlers: {
        echoImage: handler,
        echoImageOnce: members,
        echoSite: members,
        echoWell: members,
        echoPlate: members,
      },
    },
    { WELLSPRING_DRAIN_MS: '100', ...environment },
  )
  test.after(() => serving.drain())
  return { ...serving, client: clientOf(test, serving.address) }
}

export function clientOf(test: TestContext, address: string): Client {
  const client = new Client(address, credentials.createInsecure())
  test.after(() => client.close())
  return client
}

export type Pending<Output> = { readonly call: ClientUnaryCall; readonly answer: Promise<Output> }

export type CallOptions = {
  readonly timeoutMs?: number
  readonly traceparent?: string
  /** It may end the program. */
  readonly alone?: boolean
}

/** Makes a call; a failed one rejects with Refused. */
export function begin<Input extends DescMessage, Output extends DescMessage>(
  client: Client,
  method: DescMethodUnary<Input, Output>,
  request: MessageShape<Input>,
  { timeoutMs = 10_000, traceparent, alone }: CallOptions = {},
): Pending<MessageShape<Output>> {
  const { path, requestSerialize, responseDeserialize } = grpcMethod(method)
  const metadata = new Metadata()
  if (traceparent !== undefined) metadata.set('traceparent', traceparent)
  if (alone === true) metadata.set(ALONE, '1')
  const { promise, resolve, reject } = Promise.withResolvers<MessageShape<Output>>()
  const call = client.makeUnaryRequest(
    path,
    requestSerialize,
    responseDeserialize,
    request,
    metadata,
    { deadline: Date.now() + timeoutMs },
    (error, response) => {
      if (error === null && response !== undefined) resolve(response)
      else reject(new Refused(error))
    },
  )
  promise.catch(() => {})
  return { call, answer: promise }
}

export function echo(
  client: Client,
  request: EchoImageRequest,
  options?: CallOptions,
): Promise<EchoImageResponse> {
  return begin(client, EchoService.method.echoImage, request, options).answer
}

/** A failed call, its details decoded. */
export class Refused extends Error {
  override readonly name = 'Refused'
  readonly code: number | undefined
  readonly details: string
  readonly info: ErrorInfo | undefined
  readonly retry: RetryInfo | undefined
  readonly detailsBytes: number

  constructor(error: ServiceError | null) {
    super(error?.message ?? 'no error and no response')
    this.code = error?.code
    this.details = error?.details ?? ''
    const [bytes] = error?.metadata?.get('grpc-status-details-bin') ?? []
    const packed = Buffer.isBuffer(bytes) ? fromBinary(StatusSchema, bytes).details : []
    this.detailsBytes = bytes?.length ?? 0
    this.info = packed.map((any) => anyUnpack(any, ErrorInfoSchema)).find((info) => info)
    this.retry = packed.map((any) => anyUnpack(any, RetryInfoSchema)).find((info) => info)
  }
}

/** The failure of a call that must fail. */
export async function refusal(answer: Promise<unknown>): Promise<Refused> {
  try {
    await answer
  } catch (error) {
    if (error instanceof Refused) return error
    throw error
  }
  throw new Error('the call succeeded')
}

export type Wrapper = { readonly child: ChildProcess; readonly address: string }

/** The echo service as a process of its own; ended when the test ends. */
export function spawnEcho(test: TestContext, environment: NodeJS.ProcessEnv): Promise<Wrapper> {
  return spawnWrapper(test, ['services/echo/main.ts'], environment)
}

/** A wrapper as a process of its own, from arguments of Node; ended when the test ends. */
export async function spawnWrapper(
  test: TestContext,
  args: readonly string[],
  environment: NodeJS.ProcessEnv = {},
): Promise<Wrapper> {
  const child = spawn(process.execPath, args, {
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  test.after(() => child.kill('SIGKILL'))
  const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string]
  return { child, address: (JSON.parse(line) as { address: string }).address }
}

/** A directory that is gone when the test ends. */
export function scratch(test: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'kit-test-'))
  test.after(() => rmSync(path, { recursive: true, force: true }))
  return path
}

/** A collector that keeps the spans it is sent. */
export async function startCollector(
  test: TestContext,
): Promise<{ url: string; spans: Span[]; services: Set<string> }> {
  const spans: Span[] = []
  const services = new Set<string>()
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const message = fromBinary(ExportTraceServiceRequestSchema, Buffer.concat(chunks))
      for (const { resource, scopeSpans } of message.resourceSpans) {
        const name = resource?.attributes.find(({ key }) => key === 'service.name')
        if (name?.value?.value.case === 'stringValue') services.add(name.value.value.value)
        for (const scope of scopeSpans) spans.push(...scope.spans)
      }
      response.writeHead(200, { 'content-type': 'application/x-protobuf' }).end()
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  test.after(() => {
    server.closeAllConnections()
    server.close()
  })
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return { url: `http://127.0.0.1:${address.port}`, spans, services }
}

export function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}

/** A span's attributes as plain values. */
export function attributesOf(span: Span): Record<string, unknown> {
  return Object.fromEntries(
    span.attributes.map(({ key, value }) => {
      const plain = value?.value.value
      return [key, typeof plain === 'bigint' ? Number(plain) : plain]
    }),
  )
}
