// Spans in and out: wrappers' spans go to spans.v1 outside transactions; what is committed there goes to the backend.
import { fromBinary, toBinary } from '@bufbuild/protobuf'
import { ExportTraceServiceRequestSchema } from '#proto/opentelemetry/proto/collector/trace/v1/trace_service_pb.ts'
import type { Config } from './config.ts'
import { taskOf } from './core/ids.ts'
import type { Client } from './log/client.ts'
import type { Logger } from './logger.ts'
import { byTrace } from './trace/build.ts'
import { openForwarder } from './trace/forward.ts'
import type { Receiver } from './trace/otlp.ts'
import { receiveSpans } from './trace/otlp.ts'

export type SpanDesk = { readonly address: string; close(): Promise<void> }

/** Serves the OTLP port, and forwards spans.v1 from now on when a backend is set. */
export async function openSpanDesk(
  config: Config,
  client: Client,
  logger: Logger,
): Promise<SpanDesk> {
  const receiver: Receiver = await receiveSpans({
    listen: config.otlp,
    async onSpans(request) {
      const records = [...byTrace(request)].map(([trace, part]) => ({
        topic: 'spans.v1' as const,
        key: trace,
        value: toBinary(ExportTraceServiceRequestSchema, part),
        headers: { 'wellspring-type': ExportTraceServiceRequestSchema.typeName },
        partition: taskOf(trace, config.tasks),
      }))
      await client.produce(records)
    },
  })
  const stopped = new AbortController()
  const forwarding = config.otlpBackend
    ? forward(config.otlpBackend, client, { logger, signal: stopped.signal })
    : undefined
  return {
    address: receiver.address,
    async close() {
      await receiver.close()
      stopped.abort()
      await forwarding
    },
  }
}

/** Until the signal: every span that is committed from now on, read_committed, in order of the topic. */
async function forward(
  endpoint: string,
  client: Client,
  { logger, signal }: { logger: Logger; signal: AbortSignal },
): Promise<void> {
  const forwarder = openForwarder({
    endpoint,
    onDropped: (why, spans) => logger('warn', 'spans dropped', { why, spans }),
  })
  try {
    for await (const record of client.follow('spans.v1', { from: 'end', signal }))
      if (record.value) forwarder.offer(fromBinary(ExportTraceServiceRequestSchema, record.value))
  } catch (error) {
    if (!signal.aborted) logger('error', 'spans are no longer forwarded', { error: String(error) })
  } finally {
    await forwarder.close()
  }
}
