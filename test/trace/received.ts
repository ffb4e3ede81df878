// A receiver of spans for tests: what it is posted, decoded again.
import { fromBinary } from '@bufbuild/protobuf'
import {
  ExportTraceServiceRequestSchema,
  type ExportTraceServiceRequest,
} from '#proto/opentelemetry/proto/collector/trace/v1/trace_service_pb.ts'
import type { Listening } from '../../coordinator/listen.ts'
import { receiveSpans, type ReceiverLimits } from '../../coordinator/trace/otlp.ts'

/** Hands every part of every post on as a request of its own. */
export function receiveRequests(
  listen: string,
  onRequest: (request: ExportTraceServiceRequest) => void | Promise<void>,
  limits: Partial<ReceiverLimits> = {},
): Promise<Listening> {
  return receiveSpans({
    listen,
    limits,
    async onTraces(parts) {
      for (const { value } of parts)
        await onRequest(fromBinary(ExportTraceServiceRequestSchema, value))
    },
  })
}
