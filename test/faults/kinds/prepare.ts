// What has to be there before kinds of trouble can come.
import { setTimeout as sleep } from 'node:timers/promises'
import type { Client } from '@wellspring/kafka/client.ts'
import { surely } from '../feed.ts'
import { produceBatch } from '../raw.ts'
import { makeBombs, type Bombs } from './bomb.ts'
import type { Kind } from './draw.ts'
import { newNotes, type Ground } from './ground.ts'
import { hostilePosts } from './otlp.ts'

const limits = { againMs: 250, triesMax: 80 } as const
/** No leader, another leader, too few copies: soon there will be one. */
const PASSING = new Set([3, 5, 6, 7, 13, 19, 20])

/** Seconds of one core: before the run, so that it does not slow anybody down. */
export async function prepare(kinds: readonly Kind[]): Promise<Bombs> {
  if (kinds.includes('otlp-flood')) hostilePosts()
  return kinds.includes('bomb') ? await makeBombs() : new Map()
}

export function openGround(
  client: Client,
  given: Omit<Ground, 'announce' | 'produce' | 'notes'>,
): Ground {
  const { brokers, topicPrefix } = given
  return {
    ...given,
    notes: newNotes(),
    announce: (records) => surely(() => client.produce(records)),
    async produce(topic, partition, batch) {
      for (let tries = 1; ; tries += 1) {
        const place = { topic: topicPrefix + topic, partition }
        const answer = await produceBatch(brokers, place, batch).catch(() => undefined)
        if (answer && !PASSING.has(answer.code)) return answer
        if (tries >= limits.triesMax) throw new Error(`no broker takes a batch of ${topic} in`)
        await sleep(limits.againMs)
      }
    },
  }
}
