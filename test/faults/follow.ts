// Readers that outlive the broker: every record of a topic once, whatever happens to the connection.
import { setTimeout as sleep } from 'node:timers/promises'
import type { Client } from '@wellspring/kafka/client.ts'
import type { TopicName } from '@wellspring/kafka/fetch.ts'
import type { LogRecord } from '@wellspring/kafka/records.ts'

const limits = { againMs: 250 } as const

/** Resolves after the signal. */
export async function followTopic(
  client: Client,
  topic: TopicName,
  signal: AbortSignal,
  onRecord: (record: LogRecord) => void,
): Promise<void> {
  const seen = new Map<number, number>()
  while (!signal.aborted) {
    try {
      for await (const record of client.follow(topic, { from: 'start', signal })) {
        const { partition, offset } = record
        if (offset <= (seen.get(partition) ?? -1)) continue
        seen.set(partition, offset)
        onRecord(record)
      }
    } catch {
      await sleep(limits.againMs)
    }
  }
}

export type Arrival = { readonly partition: number; readonly atMs: number }

/** When results were to be seen. */
export function followResults(
  client: Client,
  signal: AbortSignal,
): { readonly arrivals: readonly Arrival[]; readonly followed: Promise<void> } {
  const arrivals: Arrival[] = []
  const followed = followTopic(client, 'results.v1', signal, ({ partition }) => {
    arrivals.push({ partition, atMs: Date.now() })
  })
  return { arrivals, followed }
}
