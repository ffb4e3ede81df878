// OTLP over HTTP, the receiving side: wrappers export here by their standard OTEL_* settings. Whatever is sent, it costs
// bounded memory and slices of time; what can never be taken is refused for good, and only real overload for now.
import type { IncomingMessage, ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { gunzip, inflate } from 'node:zlib'
import { create, toBinary } from '@bufbuild/protobuf'
import type { Listening } from '../listen.ts'
import { listenHttp } from '../listen.ts'
import { StatusSchema } from '#proto/google/rpc/status_pb.ts'
import { ExportTraceServiceResponseSchema } from '#proto/opentelemetry/proto/collector/trace/v1/trace_service_pb.ts'
import type { TracePart } from './divide.ts'
import { divide } from './divide.ts'
import type { Scanned } from './scan.ts'
import { scan, Unfit } from './scan.ts'

const protobuf = 'application/x-protobuf'

export const receiverLimits = {
  /** Of one body, as it comes and unpacked. */
  bodyBytesMax: 4 * 1024 * 1024,
  /** Bodies that are being read or wait for their turn, together. */
  bytesHeldMax: 16 * 1024 * 1024,
  postsMax: 64,
  /** Bodies that are unpacked, looked through and written at once. */
  worksMax: 2,
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
  const desk = new Desk(options)
  const { listen, hosts, onRefused } = options
  return listenHttp(
    (request, response) => {
      desk.answer(request).then(
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

class Desk {
  readonly #limits: ReceiverLimits
  readonly #onTraces: ReceiverOptions['onTraces']
  readonly #waiting: (() => void)[] = []
  #posts = 0
  #works = 0
  #bytesHeld = 0

  constructor({ limits, onTraces }: ReceiverOptions) {
    this.#limits = { ...receiverLimits, ...limits }
    this.#onTraces = onTraces
  }

  async answer(request: IncomingMessage): Promise<Uint8Array> {
    const encoding = encodingOf(request)
    if (this.#posts >= this.#limits.postsMax) throw busy()
    this.#posts += 1
    let held = 0
    try {
      const body = await this.#bodyOf(request, (bytes) => {
        held += bytes
        this.#bytesHeld += bytes
        if (this.#bytesHeld > this.#limits.bytesHeldMax) throw busy()
      })
      return await this.#inTurn(() => this.#take(body, encoding))
    } finally {
      this.#posts -= 1
      this.#bytesHeld -= held
    }
  }

  async #take(body: Buffer, encoding: Encoding): Promise<Uint8Array> {
    const { bodyBytesMax } = this.#limits
    const bytes = await unpacked(body, encoding, bodyBytesMax)
    const scanned = await this.#gently(scan(bytes))
    if (scanned.spans.length === 0 && scanned.rejected > 0)
      throw new Refusal(400, `no span is taken: ${scanned.why}`)
    const parts = await this.#gently(divide(bytes, scanned))
    if (parts.length > 0) await this.#onTraces(parts)
    return toBinary(ExportTraceServiceResponseSchema, responseTo(scanned))
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

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (this.#works < this.#limits.worksMax) this.#works += 1
    else await new Promise<void>((resolve) => this.#waiting.push(resolve))
    try {
      return await work()
    } finally {
      const next = this.#waiting.shift()
      if (next) next()
      else this.#works -= 1
    }
  }

  async #bodyOf(request: IncomingMessage, hold: (bytes: number) => void): Promise<Buffer> {
    const { bodyBytesMax } = this.#limits
    if (Number(request.headers['content-length'] ?? 0) > bodyBytesMax) throw tooMuch(bodyBytesMax)
    const chunks: Buffer[] = []
    let bytes = 0
    for await (const chunk of request as AsyncIterable<Buffer>) {
      bytes += chunk.length
      if (bytes > bodyBytesMax) throw tooMuch(bodyBytesMax)
      hold(chunk.length)
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

const unpack = { gzip: promisify(gunzip), deflate: promisify(inflate) } as const

async function unpacked(body: Buffer, encoding: Encoding, bytesMax: number): Promise<Buffer> {
  if (encoding === 'identity') return body
  try {
    return await unpack[encoding](body, { maxOutputLength: bytesMax })
  } catch (cause) {
    if (cause instanceof RangeError) throw tooMuch(bytesMax)
    throw new Refusal(400, `the body is no ${encoding}: ${String(cause)}`)
  }
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
