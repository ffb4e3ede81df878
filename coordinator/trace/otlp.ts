// OTLP over HTTP, the receiving side: wrappers export here by their standard OTEL_* settings. Whatever is sent, it costs
// bounded memory and slices of time; what can never be taken is refused for good, and only real overload for now.
import type { IncomingMessage, ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { createGunzip, createInflate } from 'node:zlib'
import { create, toBinary } from '@bufbuild/protobuf'
import { listenHttp, type Listening } from '../listen.ts'
import { StatusSchema } from '#proto/google/rpc/status_pb.ts'
import { ExportTraceServiceResponseSchema } from '#proto/opentelemetry/proto/collector/trace/v1/trace_service_pb.ts'
import { divide, type TracePart } from './divide.ts'
import { scan, Unfit, type Scanned } from './scan.ts'

const protobuf = 'application/x-protobuf'

export const receiverLimits = {
  /** Of one body, as it comes and unpacked. */
  bodyBytesMax: 4 * 1024 * 1024,
  /** Bodies that are being read or wait for their turn, and records that are being written, together. */
  bytesHeldMax: 16 * 1024 * 1024,
  postsMax: 64,
  /** Looking through a body takes so much time of the process, then leaves it to others for so long. */
  sliceMs: 5,
  restMs: 10,
} as const
export type ReceiverLimits = Readonly<Record<keyof typeof receiverLimits, number>>

export type ReceiverOptions = {
  /** host:port; port 0 takes any. */
  readonly listen: string
  /** Names by which others may ask (WELLSPRING_HOSTS). */
  readonly hosts?: readonly string[]
  /** Told why requests are refused before they are looked at. */
  readonly onRefused?: (why: string) => void
  /** Takes the parts of a request, by trace; a rejection is answered 503, so that the sender tries again. */
  readonly onTraces: (parts: readonly TracePart[]) => void | Promise<void>
  readonly limits?: Partial<ReceiverLimits>
}

/** Serves POST /v1/traces for protobuf bodies, plain, gzip or deflate. Rejects if it cannot listen. */
export async function receiveSpans(options: ReceiverOptions): Promise<Listening> {
  const intake = new SpanIntake(options)
  const { listen, hosts, onRefused } = options
  return listenHttp(
    (request, response) => {
      intake.answer(request).then(
        (body) => send(response, 200, body),
        (cause: unknown) => {
          const { status, message } = refusalOf(cause)
          if (status === 503) response.setHeader('retry-after', '1')
          // What is left of a refused body is not worth reading.
          if (!request.complete) response.setHeader('connection', 'close')
          send(response, status, toBinary(StatusSchema, create(StatusSchema, { message })))
        },
      )
    },
    { listen, hosts, onRefused },
  )
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
  if (cause instanceof Refusal || cause instanceof Unfit) return cause
  return { status: 503, message: `spans were not taken, try again: ${String(cause)}` }
}

class SpanIntake {
  readonly #limits: ReceiverLimits
  readonly #onTraces: ReceiverOptions['onTraces']
  /** What is unpacked, one body at a time. */
  readonly #lent: Buffer
  #last: Promise<unknown> = Promise.resolve()
  #posts = 0
  #bytesHeld = 0

  constructor({ limits, onTraces }: ReceiverOptions) {
    this.#limits = { ...receiverLimits, ...limits }
    this.#onTraces = onTraces
    this.#lent = Buffer.allocUnsafeSlow(this.#limits.bodyBytesMax)
  }

  async answer(request: IncomingMessage): Promise<Uint8Array> {
    const encoding = encodingOf(request)
    if (this.#posts >= this.#limits.postsMax) throw busy()
    this.#posts += 1
    const held = new Held((bytes) => this.#hold(bytes))
    try {
      const body = await this.#bodyOf(request, held)
      const { parts, response } = await this.#inTurn(() => this.#look(body, encoding))
      held.replace(parts.reduce((bytes, { value }) => bytes + value.length, 0))
      if (parts.length > 0) await this.#onTraces(parts)
      return response
    } finally {
      held.replace(0)
      this.#posts -= 1
    }
  }

  #hold(bytes: number): void {
    this.#bytesHeld += bytes
    if (bytes > 0 && this.#bytesHeld > this.#limits.bytesHeldMax) throw busy()
  }

  async #look(
    body: Buffer,
    encoding: Encoding,
  ): Promise<{ parts: TracePart[]; response: Uint8Array }> {
    const bytes = encoding === 'identity' ? body : await unpacked(body, encoding, this.#lent)
    const scanned = await this.#gently(scan(bytes))
    if (scanned.spans.length === 0 && scanned.rejected > 0)
      throw new Refusal(400, `no span is taken: ${scanned.why}`)
    const parts = await this.#gently(divide(bytes, scanned))
    return { parts, response: toBinary(ExportTraceServiceResponseSchema, responseTo(scanned)) }
  }

  /** Drives work to its end in slices, with rests: a flood of bodies leaves most of the time to the tasks. */
  async #gently<T>(work: Generator<undefined, T>): Promise<T> {
    let untilMs = performance.now() + this.#limits.sliceMs
    for (;;) {
      const next = work.next()
      if (next.done) return next.value
      if (performance.now() < untilMs) continue
      await sleep(this.#limits.restMs)
      untilMs = performance.now() + this.#limits.sliceMs
    }
  }

  /** One after another: they share the time that is given to spans, and the buffer. */
  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work)
    this.#last = turn.catch(() => {})
    return await turn
  }

  async #bodyOf(request: IncomingMessage, held: Held): Promise<Buffer> {
    const { bodyBytesMax } = this.#limits
    if (Number(request.headers['content-length'] ?? 0) > bodyBytesMax) throw tooMuch(bodyBytesMax)
    const chunks: Buffer[] = []
    let bytes = 0
    for await (const chunk of request as AsyncIterable<Buffer>) {
      bytes += chunk.length
      if (bytes > bodyBytesMax) throw tooMuch(bodyBytesMax)
      held.replace(bytes)
      chunks.push(chunk)
    }
    return Buffer.concat(chunks)
  }
}

type Encoding = 'identity' | 'gzip' | 'deflate'

/** What is said before the body: refused before it is read. */
function encodingOf(request: IncomingMessage): Encoding {
  const path = (request.url ?? '').split('?', 1)[0]
  if (path !== '/v1/traces') throw new Refusal(404, `no ${path} here: POST spans to /v1/traces`)
  if (request.method !== 'POST') throw new Refusal(405, `${request.method}: POST spans instead`)
  const type = (request.headers['content-type'] ?? '').split(';', 1)[0]?.trim().toLowerCase()
  if (type !== protobuf)
    throw new Refusal(
      415,
      `content type "${type}" is not taken: set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf (${protobuf})`,
    )
  const encoding = (request.headers['content-encoding'] ?? 'identity').trim().toLowerCase()
  if (encoding === 'identity' || encoding === 'gzip' || encoding === 'deflate') return encoding
  throw new Refusal(415, `content encoding "${encoding}": want gzip or deflate`)
}

/** Bytes that one post holds: what its part of the sum is. */
class Held {
  readonly #hold: (bytes: number) => void
  #bytes = 0

  constructor(hold: (bytes: number) => void) {
    this.#hold = hold
  }

  /** Now so many instead. Throws when that is too much, and is counted all the same. */
  replace(bytes: number): void {
    const more = bytes - this.#bytes
    this.#bytes = bytes
    this.#hold(more)
  }
}

const unpackers = { gzip: createGunzip, deflate: createInflate } as const
const chunkBytes = 64 * 1024

/** Unpacks into a buffer, whose beginning is returned. What is larger is refused when it is. */
async function unpacked(body: Buffer, encoding: Encoding, into: Buffer): Promise<Buffer> {
  if (encoding === 'identity') return body
  const stream = unpackers[encoding]({ chunkSize: chunkBytes })
  stream.end(body)
  let bytes = 0
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      if (bytes + chunk.length > into.length) throw tooMuch(into.length)
      bytes += chunk.copy(into, bytes)
    }
  } catch (cause) {
    if (cause instanceof Refusal) throw cause
    throw new Refusal(400, `the body is no ${encoding}: ${String(cause)}`)
  } finally {
    stream.destroy()
  }
  return into.subarray(0, bytes)
}

function responseTo({ rejected, why }: Scanned) {
  if (rejected === 0) return create(ExportTraceServiceResponseSchema)
  return create(ExportTraceServiceResponseSchema, {
    partialSuccess: { rejectedSpans: BigInt(rejected), errorMessage: `rejected: ${why}` },
  })
}

function tooMuch(bytesMax: number): Refusal {
  return new Refusal(413, `more than ${bytesMax} bytes: export smaller batches`)
}

function busy(): Refusal {
  return new Refusal(503, 'more spans than can be taken at once: try again in a second')
}

function send(response: ServerResponse, status: number, body: Uint8Array): void {
  if (response.destroyed) return
  response.writeHead(status, { 'content-type': protobuf, 'content-length': body.length })
  response.end(body)
}
