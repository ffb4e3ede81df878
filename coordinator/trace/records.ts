// An entity's trace as a record of spans.v1, for the flush that completes it.
import { ExportTraceServiceRequestSchema } from '#proto/opentelemetry/proto/collector/trace/v1/trace_service_pb.ts'
import type { Task } from '../core/state.ts'
import type { NewRecord } from '@wellspring/kafka/records.ts'
import { exportRequest } from './build.ts'
import { encodeTrace } from './encode.ts'
import { entitySpans, entityTrace, tracedOf } from './spans.ts'

/** Undefined if the task has no state of the entity. */
export function spansRecord(state: Task, entity: string, partition: number): NewRecord | undefined {
  const traced = tracedOf(state, entity)
  if (!traced) return undefined
  const trace = entityTrace(state.application, entity, traced.view)
  const request = exportRequest(state.application, entitySpans(traced))
  return {
    topic: 'spans.v1',
    partition,
    key: trace,
    value: encodeTrace(request),
    headers: { 'wellspring-type': ExportTraceServiceRequestSchema.typeName },
    entity,
  }
}
