// Spans as tests look at them: from OTLP requests, whether a backend took them or spans.v1 keeps them.
import assert from 'node:assert/strict'
import { fromBinary } from '@bufbuild/protobuf'
import {
  ExportTraceServiceRequestSchema,
  type ExportTraceServiceRequest,
} from '#proto/opentelemetry/proto/collector/trace/v1/trace_service_pb.ts'
import type { Span_SpanKind as Kind } from '#proto/opentelemetry/proto/trace/v1/trace_pb.ts'
import type { Client } from '@wellspring/kafka/client.ts'

export type Seen = {
  readonly service: string
  readonly trace: string
  readonly id: string
  /** Empty for a root. */
  readonly parent: string
  readonly name: string
  readonly kind: Kind
  readonly links: readonly string[]
}

/** What spans.v1 holds now; every record must be of the one trace that its key names. */
export async function seenIn(client: Client): Promise<Seen[]> {
  const all: Seen[] = []
  for await (const { key, value } of client.readAll('spans.v1')) {
    const spans = spansOf(fromBinary(ExportTraceServiceRequestSchema, value ?? Buffer.alloc(0)))
    for (const { trace } of spans) assert.equal(key?.toString(), trace)
    all.push(...spans)
  }
  return all
}

export function rootsOf(spans: readonly Seen[]): Seen[] {
  return spans.filter(({ parent }) => parent === '')
}

/** Spans whose parent is not in their trace. */
export function orphansOf(spans: readonly Seen[]): Seen[] {
  const ids = new Set(spans.map(({ trace, id }) => `${trace}/${id}`))
  return spans.filter(({ trace, parent }) => parent !== '' && !ids.has(`${trace}/${parent}`))
}

export function spansOf(request: ExportTraceServiceRequest): Seen[] {
  return request.resourceSpans.flatMap(({ resource, scopeSpans }) => {
    const name = resource?.attributes.find(({ key }) => key === 'service.name')?.value?.value
    const service = name?.case === 'stringValue' ? name.value : ''
    return scopeSpans.flatMap(({ spans }) =>
      spans.map((span) => ({
        service,
        trace: hex(span.traceId),
        id: hex(span.spanId),
        parent: hex(span.parentSpanId),
        name: span.name,
        kind: span.kind,
        links: span.links.map((link) => `${hex(link.traceId)}/${hex(link.spanId)}`),
      })),
    )
  })
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
