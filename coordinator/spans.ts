// Spans in and out: wrappers' spans go to spans.v1 outside transactions; what is committed there goes to the backend.
import { setTimeout as sleep } from 'node:timers/promises'
import { fromBinary } from '@bufbuild/protobuf'
import { ExportTraceServiceRequestSchema } from '#proto/opentelemetry/proto/collector/trace/v1/trace_service_pb.ts'
import type { Config } from './config.ts'
import { taskOf } from './core/ids.ts'
import type { Client } from './log/client.ts'
import { bounded, createKafka } from './log/connection.ts'
import type { Logger } from './logger.ts'
import { openForwarder } from './trace/forward.ts'
import { receiveSpans } from './trace/otlp.ts'

export type SpanDesk = { readonly address: string; close(): Promise<void> }

/** Serves the OTLP port, and forwards spans.v1 when a backend is set. */
export async function openSpanDesk(
  config: Config,
  client: Client,
  logger: Logger,
): Promise<SpanDesk> {
  const receiver = await receiveSpans({
    listen: config.otlp,
    hosts: config.hosts,
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
  const consumer = kafka.consumer({ groupId: `${config.application}-otlp`, maxWaitTimeInMs: 250 })
  await consumer.connect()
  await consumer.subscribe({ topics: [`${config.topicPrefix}spans.v1`], fromBeginning: true })
  let isOpen = true
  await consumer.run({
    async eachMessage(payload) {
      const { message } = payload
      if (message.value === null) return
      const request = fromBinary(ExportTraceServiceRequestSchema, message.value)
      while (isOpen && !forwarder.offer(request)) {
        await sleep(FULL_PAUSE_MS)
        await payload.heartbeat()
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
