// Spans in and out: wrappers' spans go to spans.v1 outside transactions; what is committed there goes to the backend.
import { setTimeout as sleep } from 'node:timers/promises'
import { fromBinary } from '@bufbuild/protobuf'
import {
  ExportTraceServiceRequestSchema,
  type ExportTraceServiceRequest,
} from '#proto/opentelemetry/proto/collector/trace/v1/trace_service_pb.ts'
import type { Config } from './config.ts'
import { taskOf } from '@wellspring/kafka/partition.ts'
import type { Client } from '@wellspring/kafka/client.ts'
import { bounded, createKafka } from '@wellspring/kafka/connection.ts'
import { recordsOf } from '@wellspring/kafka/fetched.ts'
import { groupTimes } from './log/group.ts'
import { passedOver } from '@wellspring/kafka/passed-over.ts'
import type { LogRecord, Unreadable } from '@wellspring/kafka/records.ts'
import { EVIDENCE_BYTES_MAX } from '@wellspring/kafka/record-decoder.ts'
import { look } from './wire.ts'
import type { Logger } from '@wellspring/kafka/logger.ts'
import { openForwarder } from './trace/forward.ts'
import { receiveSpans } from './trace/otlp.ts'

export type SpanRelay = { readonly address: string; close(): Promise<void> }

/** Serves the OTLP port, and forwards spans.v1 when a backend is set. */
export async function openSpanRelay(
  config: Config,
  client: Client,
  logger: Logger,
): Promise<SpanRelay> {
  const receiver = await receiveSpans({
    listen: config.otlp,
    hosts: config.hosts,
    onRefused: (why) => logger('warn', 'spans were refused', { why }),
    async onTraces(parts) {
      const records = parts.map(({ trace, value }) => ({
        topic: 'spans.v1' as const,
        key: trace,
        value,
        headers: { 'wellspring-type': ExportTraceServiceRequestSchema.typeName },
        partition: taskOf(trace, config.tasks),
      }))
      await client.produce(records)
    },
  })
  const forwarding = config.otlpBackend
    ? await forward(config, config.otlpBackend, logger)
    : undefined
  return {
    address: receiver.address,
    async close() {
      await receiver.close()
      await forwarding?.close()
    },
  }
}

/** How long a span waits for room in the forwarder's queue before it is tried again. */
const FULL_PAUSE_MS = 200

/**
 * Exports what is committed on spans.v1, at least once. One group for all coordinators, so that each span leaves
 * through one of them, and goes on where the last one stopped.
 */
async function forward(
  config: Config,
  endpoint: string,
  logger: Logger,
): Promise<{ close(): Promise<void> }> {
  const forwarder = openForwarder({
    endpoint,
    onDropped: (why, spans) => logger('warn', 'spans dropped', { why, spans }),
  })
  const kafka = createKafka({ ...config, clientId: `${config.instance}-otlp`, logger })
  const consumer = kafka.consumer({
    groupId: `${config.application}-otlp`,
    ...groupTimes(config.sessionTimeoutMs),
    maxWaitTimeInMs: 250,
  })
  await consumer.connect()
  await consumer.subscribe({ topics: [`${config.topicPrefix}spans.v1`], fromBeginning: true })
  let isOpen = true
  const skip = passedOver(logger)
  await consumer.run({
    async eachBatch(turn) {
      for (const record of recordsOf(turn.batch, 'spans.v1', skip)) {
        const request = requestIn(record, skip)
        while (request && isOpen && !forwarder.offer(request)) {
          await sleep(FULL_PAUSE_MS)
          await turn.heartbeat()
        }
      }
    },
  })
  return {
    async close() {
      isOpen = false
      await bounded(consumer.disconnect(), 2_000)
      await forwarder.close()
    },
  }
}

/** Messages in a record of spans, which is 1 MB at most: each costs some 200 bytes. */
const MESSAGES_MAX = 250_000

/** undefined: a tombstone, or no spans. */
function requestIn(
  record: LogRecord,
  skip: (unreadable: Unreadable) => void,
): ExportTraceServiceRequest | undefined {
  const { topic, partition, offset, value } = record
  if (value === null) return undefined
  try {
    const { messages } = look(ExportTraceServiceRequestSchema, value)
    if (messages > MESSAGES_MAX) throw new Error(`it has ${messages} messages in it`)
    return fromBinary(ExportTraceServiceRequestSchema, value)
  } catch (error) {
    const message = `no spans: ${String(error)}`
    const bytes = value.subarray(0, EVIDENCE_BYTES_MAX)
    skip({ topic, partition, offset, last: offset, reason: 'UNDECODABLE', message, bytes })
    return undefined
  }
}
