// Spans of calls, exported by the standard OTEL_* settings; without an endpoint they cost nothing.
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  trace,
  type Attributes,
  type Span,
  type SpanContext,
  type Tracer,
} from '@opentelemetry/api'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto'
import { resourceFromAttributes } from '@opentelemetry/resources'
import { BasicTracerProvider, BatchSpanProcessor } from '@opentelemetry/sdk-trace-base'

export type Tracing = {
  /** Whether anybody will see spans: what is only for them need not be computed. */
  readonly on: boolean
  /** A SERVER span under a caller's trace context, which may be missing or damaged. */
  server(name: string, parent: string, attributes: Attributes): TraceSpan
  /** Hands over what is left, at most flushMs. */
  shutdown(): Promise<void>
}

export type TraceSpan = {
  /** W3C trace context of this span; without export that of the caller. */
  readonly traceparent: string
  child(name: string, attributes: Attributes): TraceSpan
  set(attributes: Attributes): void
  end(error?: string): void
}

const flushMs = 2_000

export function openTracing(
  name: string,
  version: string,
  environment: NodeJS.ProcessEnv,
): Tracing {
  if (!isWanted(environment)) return silent
  const resource = resourceFromAttributes({
    ...pairsOf(environment['OTEL_RESOURCE_ATTRIBUTES']),
    'service.name': environment['OTEL_SERVICE_NAME'] || name,
    'service.version': version,
    'service.instance.id': String(process.pid),
  })
  const base = environment['OTEL_EXPORTER_OTLP_ENDPOINT'] ?? ''
  const own = environment['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT']
  const url = own || `${base.replace(/\/$/, '')}/v1/traces`
  const provider = new BasicTracerProvider({
    resource,
    spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter({ url }))],
  })
  const tracer = provider.getTracer('wellspring.kit')
  return {
    on: true,
    server: (spanName, parent, attributes) =>
      startSpan(tracer, spanName, { kind: SpanKind.SERVER, parent: parse(parent), attributes }),
    async shutdown() {
      await Promise.race([
        provider.shutdown().catch(() => {}),
        sleep(flushMs, undefined, { ref: false }),
      ])
    },
  }
}

/** OTEL_EXPORTER_OTLP_(TRACES_)ENDPOINT is set, and nothing says no. */
function isWanted(environment: NodeJS.ProcessEnv): boolean {
  if (environment['OTEL_SDK_DISABLED'] === 'true') return false
  if (environment['OTEL_TRACES_EXPORTER'] === 'none') return false
  return Boolean(
    environment['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT'] || environment['OTEL_EXPORTER_OTLP_ENDPOINT'],
  )
}

function pairsOf(text: string | undefined): Record<string, string> {
  const pairs: Record<string, string> = {}
  for (const pair of (text ?? '').split(',')) {
    const at = pair.indexOf('=')
    if (at > 0) pairs[pair.slice(0, at).trim()] = decodeURIComponent(pair.slice(at + 1).trim())
  }
  return pairs
}

type SpanOptions = {
  readonly kind: SpanKind
  readonly parent: SpanContext | undefined
  readonly attributes: Attributes
}

function startSpan(tracer: Tracer, name: string, options: SpanOptions): TraceSpan {
  const { kind, parent, attributes } = options
  const context = parent === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, parent)
  const span = tracer.startSpan(name, { kind, attributes, root: parent === undefined }, context)
  return {
    traceparent: format(span),
    child: (childName, childAttributes) =>
      startSpan(tracer, childName, {
        kind: SpanKind.CLIENT,
        parent: span.spanContext(),
        attributes: childAttributes,
      }),
    set: (more) => void span.setAttributes(more),
    end(error) {
      if (error !== undefined) span.setStatus({ code: SpanStatusCode.ERROR, message: error })
      span.end()
    },
  }
}

function format(span: Span): string {
  const { traceId, spanId, traceFlags } = span.spanContext()
  return `00-${traceId}-${spanId}-${traceFlags & TraceFlags.SAMPLED ? '01' : '00'}`
}

/** The last valid one, should there be several (https://www.w3.org/TR/trace-context/#traceparent-header). */
function parse(traceparent: string): SpanContext | undefined {
  for (const one of traceparent.split(',').toReversed()) {
    const match = /^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})/.exec(one.trim())
    const [, traceId = '', spanId = '', flags = ''] = match ?? []
    if (!/[1-9a-f]/.test(traceId) || !/[1-9a-f]/.test(spanId)) continue
    return { traceId, spanId, traceFlags: Number.parseInt(flags, 16) & 1, isRemote: true }
  }
  return undefined
}

const silent: Tracing = {
  on: false,
  server: (_name, parent) => silentSpan(lastValid(parent)),
  shutdown: () => Promise.resolve(),
}

function silentSpan(traceparent: string): TraceSpan {
  const span: TraceSpan = { traceparent, child: () => span, set: () => {}, end: () => {} }
  return span
}

/** The caller's context as it is; a program that wants one gets one even from a caller without. */
function lastValid(traceparent: string): string {
  const parent = parse(traceparent)
  if (parent === undefined)
    return `00-${randomBytes(16).toString('hex')}-${randomBytes(8).toString('hex')}-00`
  return `00-${parent.traceId}-${parent.spanId}-${parent.traceFlags === 1 ? '01' : '00'}`
}
