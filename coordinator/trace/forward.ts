// OTLP over HTTP, the sending side: spans on their way to the lab's own tracing backend. Telemetry gives way: what the
// backend does not take in time is dropped and counted, never waited for. Nothing is lost: spans.v1 keeps all of it.
import { toBinary } from '@bufbuild/protobuf'
import {
  ExportTraceServiceRequestSchema,
  type ExportTraceServiceRequest,
} from '#proto/opentelemetry/proto/collector/trace/v1/trace_service_pb.ts'

const defaults = {
  queueBytesMax: 16 * 1024 * 1024,
  batchBytesMax: 512 * 1024,
  attemptsMax: 6,
  backoffInitialMs: 250,
  backoffMaxMs: 10_000,
  postTimeoutMs: 10_000,
  closeMs: 3_000,
} as const

/** Statuses that ask to be tried again (OTLP/HTTP specification, "Retryable response codes"). */
const retryable = new Set([429, 502, 503, 504])

export type ForwarderOptions = {
  /** OTEL_EXPORTER_OTLP_ENDPOINT; /v1/traces is appended. */
  readonly endpoint: string
  /** Told once per batch that is given up, and when the queue begins to overflow. */
  readonly onDropped: (why: string, spans: number) => void
  readonly queueBytesMax?: number
  readonly batchBytesMax?: number
  readonly attemptsMax?: number
  readonly backoffInitialMs?: number
}

export type Forwarder = {
  /** Takes a request to be sent. Returns false if the queue is full: it is dropped and counted. */
  offer(request: ExportTraceServiceRequest): boolean
  stats(): ForwarderStats
  /** Sends what is queued for at most 3 s, drops the rest. */
  close(): Promise<void>
}

/** Spans, but for queuedBytes. */
export type ForwarderStats = {
  readonly sent: number
  readonly dropped: number
  readonly queuedBytes: number
}

type Item = { readonly bytes: Uint8Array; readonly spans: number }

/** Opens a forwarder: one POST at a time, in the order of offers. Throws on an endpoint that is no http URL. */
export function openForwarder(options: ForwarderOptions): Forwarder {
  const url = tracesUrl(options.endpoint)
  const limits = { ...defaults, ...options }
  const ending = new AbortController()
  const queue: Item[] = []
  const count = { sent: 0, dropped: 0, queuedBytes: 0 }
  let overflowing = false
  let working: Promise<void> | undefined

  function drop(why: string, spans: number): void {
    count.dropped += spans
    options.onDropped(why, spans)
  }

  async function work(): Promise<void> {
    while (queue.length > 0) {
      const batch = takeBatch(queue, limits.batchBytesMax)
      const spans = batch.reduce((sum, item) => sum + item.spans, 0)
      // The encoding of two messages one after the other is that of their merge (proto3, "Last one wins").
      const body = Buffer.concat(batch.map((item) => item.bytes))
      const why = await post(url, body, { ...limits, ending: ending.signal })
      count.queuedBytes -= body.length
      overflowing = false
      if (why === undefined) count.sent += spans
      else drop(why, spans)
    }
    working = undefined
  }

  return {
    offer(request) {
      const bytes = toBinary(ExportTraceServiceRequestSchema, request)
      const spans = spansIn(request)
      if (ending.signal.aborted || count.queuedBytes + bytes.length > limits.queueBytesMax) {
        count.dropped += spans
        if (!overflowing) options.onDropped(`queue full (${limits.queueBytesMax} bytes)`, spans)
        overflowing = true
        return false
      }
      queue.push({ bytes, spans })
      count.queuedBytes += bytes.length
      working ??= work()
      return true
    },
    stats: () => ({ ...count }),
    async close() {
      const timer = setTimeout(() => ending.abort(), defaults.closeMs)
      await working
      clearTimeout(timer)
      ending.abort()
    },
  }
}

/** The URL that spans go to. Throws on an endpoint that is no http URL. */
export function tracesUrl(endpoint: string): URL {
  const url = URL.parse(endpoint)
  if (url?.protocol !== 'http:' && url?.protocol !== 'https:')
    throw new Error(
      `OTEL_EXPORTER_OTLP_ENDPOINT "${endpoint}" is no URL: want for instance http://localhost:4318`,
    )
  url.pathname = `${url.pathname.replace(/\/$/, '')}/v1/traces`
  return url
}

function takeBatch(queue: Item[], bytesMax: number): Item[] {
  let bytes = 0
  let items = 0
  while (items < queue.length) {
    bytes += queue[items]?.bytes.length ?? 0
    if (items > 0 && bytes > bytesMax) break
    items += 1
  }
  return queue.splice(0, items)
}

type PostLimits = {
  readonly attemptsMax: number
  readonly backoffInitialMs: number
  readonly backoffMaxMs: number
  readonly postTimeoutMs: number
  readonly ending: AbortSignal
}

/** Undefined once taken, else why not. */
async function post(url: URL, body: Buffer, limits: PostLimits): Promise<string | undefined> {
  let why = ''
  for (let attempt = 1; attempt <= limits.attemptsMax; attempt++) {
    if (limits.ending.aborted) return why || 'closed before it was sent'
    const ceilingMs = Math.min(limits.backoffMaxMs, limits.backoffInitialMs * 2 ** (attempt - 1))
    let waitMs = ceilingMs * (0.5 + Math.random() / 2)
    try {
      const response = await fetch(url, {
        method: 'POST',
        headers: { 'content-type': 'application/x-protobuf' },
        body,
        signal: AbortSignal.any([limits.ending, AbortSignal.timeout(limits.postTimeoutMs)]),
      })
      await response.body?.cancel()
      if (response.ok) return undefined
      why = `${url.href} answered ${response.status}`
      if (!retryable.has(response.status)) return why
      const askedMs = Number(response.headers.get('retry-after') ?? 0) * 1_000
      if (askedMs > 0) waitMs = Math.min(limits.backoffMaxMs, askedMs)
    } catch (cause) {
      const error = cause instanceof Error && cause.cause ? cause.cause : cause
      why = `${url.href}: ${error instanceof Error ? error.message : String(error)}`
    }
    if (attempt < limits.attemptsMax) await pause(waitMs, limits.ending)
  }
  return `${why} (${limits.attemptsMax} attempts)`
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    if (signal.aborted) done()
    else signal.addEventListener('abort', done)
  })
}

function spansIn(request: ExportTraceServiceRequest): number {
  let spans = 0
  for (const from of request.resourceSpans)
    for (const scope of from.scopeSpans) spans += scope.spans.length
  return spans
}
