// When a topic came to rest: by its end offsets, which cost next to nothing, so that looking does not slow what is
// looked at.
import { setTimeout as sleep } from 'node:timers/promises'
import { createKafka } from '@wellspring/kafka/connection.ts'
import { openReader, type TopicName } from '@wellspring/kafka/fetch.ts'
import type { LogRecord } from '@wellspring/kafka/records.ts'
import type { Stage } from '../e2e/stage.ts'

const limits = { lookEveryMs: 20, longestMs: 300_000 } as const

export type Ends = {
  /** Sum of the ends of a topic's partitions, markers of transactions included. */
  end(topic: TopicName): Promise<number>
  /** performance.now() at which the end last moved, once it is at `past` or beyond and has rested for restMs. */
  rest(topic: TopicName, past: number, restMs: number): Promise<number>
  /** Committed records of a topic that were not given before. */
  news(topic: TopicName): Promise<LogRecord[]>
  close(): Promise<void>
}

export function openEnds(stage: Stage, tasks: number): Ends {
  const reader = openReader(createKafka({ brokers: stage.brokers }), stage.topicPrefix)
  const partitions = Array.from({ length: tasks }, (_, index) => index)
  const read = new Map<TopicName, Map<number, number>>()
  const seen = new Map<TopicName, { end: number; movedMs: number }>()

  async function ends(topic: TopicName): Promise<Map<number, number>> {
    const offsets = await reader.offsets(topic, partitions)
    return new Map([...offsets].map(([partition, { high }]) => [partition, high]))
  }

  async function end(topic: TopicName): Promise<number> {
    return [...(await ends(topic)).values()].reduce((sum, high) => sum + high, 0)
  }

  return {
    end,
    async rest(topic, past, restMs) {
      const startMs = performance.now()
      for (;;) {
        const now = await end(topic)
        const nowMs = performance.now()
        const last = seen.get(topic)
        const movedMs = last?.end === now ? last.movedMs : nowMs
        seen.set(topic, { end: now, movedMs })
        if (now >= past && nowMs - movedMs > restMs) return movedMs
        if (nowMs - startMs > limits.longestMs)
          throw new Error(`${topic} did not come to rest in ${limits.longestMs} ms`)
        await sleep(limits.lookEveryMs)
      }
    },
    async news(topic) {
      const wanted = await ends(topic)
      const at = read.get(topic) ?? new Map(partitions.map((partition) => [partition, 0]))
      read.set(topic, at)
      const records: LogRecord[] = []
      const behind = (): Map<number, number> =>
        new Map([...at].filter(([partition, next]) => next < (wanted.get(partition) ?? 0)))
      for (let open = behind(); open.size > 0; open = behind())
        for (const { partition, records: more, next } of await reader.fetch(topic, open)) {
          records.push(...more)
          at.set(partition, Math.max(next, at.get(partition) ?? 0))
        }
      return records
    },
    close: () => reader.close(),
  }
}
