// OTLP over HTTP, the receiving side: wrappers export here by their standard OTEL_* settings.
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:http'
import { promisify } from 'node:util'
import { gunzip } from 'node:zlib'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import type { Listening } from '../listen.ts'
import { listenHttp } from '../listen.ts'
import { StatusSchema } from '#proto/google/rpc/status_pb.ts'
import type { ExportTraceServiceRequest } from '#proto/opentelemetry/proto/collector/trace/v1/trace_service_pb.ts'
import {
  ExportTraceServiceRequestSchema,
  ExportTraceServiceResponseSchema,
} from '#proto/opentelemetry/proto/collector/trace/v1/trace_service_pb.ts'

const protobuf = 'application/x-protobuf'
const gunzipped = promisify(gunzip)
const defaults = { bodyBytesMax: 4 * 1024 * 1024, bodyTimeoutMs: 10_000 } as const

export type ReceiverOptions = {
  /** host:port; port 0 takes any. */
  readonly listen: string
  /** Takes the spans; a rejection is answered 503, so that the sender tries again. */
  readonly onSpans: (request: ExportTraceServiceRequest) => void | Promise<void>
  /** Largest body, before and after gzip. */
  readonly bodyBytesMax?: number
}

/** Serves POST /v1/traces for protobuf bodies, plain or gzip. Rejects if it cannot listen. */
export async function receiveSpans(options: ReceiverOptions): Promise<Listening> {
  const server = createServer({ requestTimeout: defaults.bodyTimeoutMs }, (request, response) => {
    answer(request, options).then(
      (body) => send(response, 200, body),
      (cause: unknown) => {
        const { status, message } = refusalOf(cause)
        if (status === 503) response.setHeader('retry-after', '1')
        // What is left of a refused body is not worth reading.
        if (status === 413) response.setHeader('connection', 'close')
        send(response, status, toBinary(StatusSchema, create(StatusSchema, { message })))
      },
    )
  })
  return listenHttp(server, options.listen)
}

/** An answer that is not 200. */
class Refusal extends Error {
  readonly status: number
  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

function refusalOf(cause: unknown): { status: number; message: string } {
  if (cause instanceof Refusal) return cause
  return { status: 503, message: `spans were not taken, try again: ${String(cause)}` }
}

async function answer(request: IncomingMessage, options: ReceiverOptions): Promise<Uint8Array> {
  const path = (request.url ?? '').split('?', 1)[0]
  if (path !== '/v1/traces') throw new Refusal(404, `no ${path} here: POST spans to /v1/traces`)
  if (request.method !== 'POST') throw new Refusal(405, `${request.method}: POST spans instead`)
  const type = (request.headers['content-type'] ?? '').split(';', 1)[0]?.trim().toLowerCase()
  if (type !== protobuf)
    throw new Refusal(
      415,
      `content type "${type}" is not taken: set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf (${protobuf})`,
    )
  const bytesMax = options.bodyBytesMax ?? defaults.bodyBytesMax
  const bytes = await unpacked(await bodyOf(request, bytesMax), request, bytesMax)
  await options.onSpans(decoded(bytes))
  return toBinary(ExportTraceServiceResponseSchema, create(ExportTraceServiceResponseSchema))
}

function decoded(bytes: Uint8Array): ExportTraceServiceRequest {
  try {
    return fromBinary(ExportTraceServiceRequestSchema, bytes)
  } catch (cause) {
    throw new Refusal(400, `the body is no ExportTraceServiceRequest: ${String(cause)}`)
  }
}

async function unpacked(
  body: Buffer,
  request: IncomingMessage,
  bytesMax: number,
): Promise<Uint8Array> {
  const encoding = request.headers['content-encoding'] ?? 'identity'
  if (encoding === 'identity') return body
  if (encoding !== 'gzip') throw new Refusal(415, `content encoding "${encoding}": want gzip`)
  try {
    return await gunzipped(body, { maxOutputLength: bytesMax })
  } catch (cause) {
    const tooLarge = cause instanceof RangeError
    if (tooLarge) throw tooMuch(bytesMax)
    throw new Refusal(400, `the body is no gzip: ${String(cause)}`)
  }
}

async function bodyOf(request: IncomingMessage, bytesMax: number): Promise<Buffer> {
  if (Number(request.headers['content-length'] ?? 0) > bytesMax) throw tooMuch(bytesMax)
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > bytesMax) throw tooMuch(bytesMax)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

function tooMuch(bytesMax: number): Refusal {
  return new Refusal(413, `more than ${bytesMax} bytes: export smaller batches`)
}

function send(response: ServerResponse, status: number, body: Uint8Array): void {
  if (response.destroyed) return
  response.writeHead(status, { 'content-type': protobuf, 'content-length': body.length })
  response.end(body)
}
