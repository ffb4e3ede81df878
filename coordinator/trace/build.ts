// Small builders for OTLP messages, and the texts that go into them.
import { create } from '@bufbuild/protobuf'
import {
  ExportTraceServiceRequestSchema,
  type ExportTraceServiceRequest,
} from '#proto/opentelemetry/proto/collector/trace/v1/trace_service_pb.ts'
import type { AnyValue, KeyValue } from '#proto/opentelemetry/proto/common/v1/common_pb.ts'
import {
  Span_LinkSchema,
  Status_StatusCode,
  StatusSchema,
  type Span,
  type Span_Link,
  type Status,
} from '#proto/opentelemetry/proto/trace/v1/trace_pb.ts'
import { ErrorClass, ErrorClassSchema } from '#proto/wellspring/contract/v1/errors_pb.ts'
import type { StepFailure } from '#proto/wellspring/step/v1/failure_pb.ts'
import { spanId } from '../core/keys.ts'
import { wordOf } from '../core/view/word.ts'

/** Longest text in a span, characters. */
const textMax = 256

/** One request with one resource: what a flush appends to spans.v1, or a forwarder posts. */
export function exportRequest(
  application: string,
  spans: readonly Span[],
): ExportTraceServiceRequest {
  return create(ExportTraceServiceRequestSchema, {
    resourceSpans: [
      {
        resource: {
          attributes: attributes({
            'service.name': 'wellspring-coordinator',
            'service.namespace': application,
          }),
        },
        scopeSpans: [{ scope: { name: 'wellspring.coordinator' }, spans: [...spans] }],
      },
    ],
  })
}

/**
 * Attributes in the order given; undefined and empty ones are left out. Whole numbers travel as integers. The messages
 * are written as literals: create() takes ten times as long, and a trace has a hundred attributes.
 */
export function attributes(
  values: Readonly<Record<string, string | number | boolean | undefined>>,
): KeyValue[] {
  const list: KeyValue[] = []
  for (const key in values) {
    const value = values[key]
    if (value === undefined || value === '') continue
    list.push({
      $typeName: 'opentelemetry.proto.common.v1.KeyValue',
      key,
      value: { $typeName: 'opentelemetry.proto.common.v1.AnyValue', value: anyValue(value) },
    })
  }
  return list
}

function anyValue(value: string | number | boolean): AnyValue['value'] {
  if (typeof value === 'string') return { case: 'stringValue', value: cut(value) }
  if (typeof value === 'boolean') return { case: 'boolValue', value }
  if (Number.isSafeInteger(value)) return { case: 'intValue', value: BigInt(value) }
  return { case: 'doubleValue', value }
}

/** Status of a failed span: class, reason and message. */
export function failedStatus(failure: StepFailure | undefined): Status {
  const why = failure ? `${className(failure.class)} ${failure.reason}: ${failure.message}` : ''
  return create(StatusSchema, { code: Status_StatusCode.ERROR, message: cut(why) })
}

/** RETRYABLE, POISON, …; AMBIGUOUS where the class is not stated. */
export function className(of: ErrorClass): string {
  return wordOf(ErrorClassSchema, of === ErrorClass.UNSPECIFIED ? ErrorClass.AMBIGUOUS : of)
}

/** Link to the root span of another of our traces. */
export function rootLink(trace: string): Span_Link {
  return link(trace, spanId(trace, 'root'))
}

/** Link to whatever a W3C traceparent names; undefined if it names nothing valid. */
export function traceparentLink(traceparent: string): Span_Link | undefined {
  const match = /^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}/.exec(traceparent)
  const [, trace = '', span = ''] = match ?? []
  if (!/[1-9a-f]/.test(trace) || !/[1-9a-f]/.test(span)) return undefined
  return link(trace, span)
}

function link(trace: string, span: string): Span_Link {
  return create(Span_LinkSchema, { traceId: bytesOf(trace), spanId: bytesOf(span), flags: 1 })
}

/** Nanoseconds since the epoch from UTC milliseconds, exact to the microsecond. */
export function nanos(ms: number): bigint {
  return BigInt(Math.round(ms * 1000)) * 1000n
}

export function bytesOf(hex: string): Uint8Array {
  return new Uint8Array(Buffer.from(hex, 'hex'))
}

function cut(text: string): string {
  return text.length <= textMax ? text : `${text.slice(0, textMax - 1)}…`
}
