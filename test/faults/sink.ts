// A tracing backend that takes every span and keeps none, and how far the coordinators' reader of spans has come.
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { createKafka } from '@wellspring/kafka/connection.ts'
import type { Position } from './evidence.ts'

const limits = { passedWithinMs: 20_000, lookMs: 500 } as const
const TOPIC = 'spans.v1'

export type Sink = { readonly endpoint: string; close(): Promise<void> }

export async function openSink(): Promise<Sink> {
  const server = createServer((request, response) => {
    request.resume()
    request.once('end', () => response.writeHead(200).end())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    endpoint: `http://127.0.0.1:${port}`,
    async close() {
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
    },
  }
}

/** Where the group stands in every partition, once it has passed what is there now, or when the time is up. */
export async function spansRead(
  brokers: readonly string[],
  { topicPrefix, groupId }: { readonly topicPrefix: string; readonly groupId: string },
): Promise<Position[]> {
  const admin = createKafka({ brokers, clientId: 'faults-spans', logger: () => {} }).admin()
  const topic = topicPrefix + TOPIC
  await admin.connect()
  try {
    const ends = await admin.fetchTopicOffsets(topic)
    const end = new Map(ends.map(({ partition, high }) => [partition, Number(high)]))
    for (const untilMs = Date.now() + limits.passedWithinMs; ; await sleep(limits.lookMs)) {
      const found = await admin.fetchOffsets({ groupId, topics: [topic] })
      const read = found.flatMap(({ partitions }) =>
        partitions.map(({ partition, offset }) => ({
          topic: TOPIC,
          partition,
          offset: Number(offset),
        })),
      )
      const isPassed = read.every(({ partition, offset }) => offset >= (end.get(partition) ?? 0))
      if (isPassed || Date.now() > untilMs) return read
    }
  } finally {
    await admin.disconnect()
  }
}
