// Completeness deadlines that fell due wait until the inputs were read to the ends listed afterwards, so that an
// outage never closes a well over data that is waiting in the topic (docs/decisions/log.md, 4).
import type { Clock } from '../clock.ts'
import { INPUT_TOPICS, type InputTopic } from '@wellspring/kafka/topic-names.ts'
import type { Offsets } from '@wellspring/kafka/records.ts'

type Next = Readonly<Record<InputTopic, number>>

export type Deadlines = {
  add(entity: string): void
  /** Tells how far the inputs were taken in. */
  reached(next: Next): void
  /** Deadlines that wait for what is in the topics. */
  size(): number
  clear(): void
}

export type DeadlineOptions = {
  readonly clock: Clock
  readonly retryMs: number
  inputOffsets(): Promise<Readonly<Record<InputTopic, Offsets>>>
  next(): Next
  /** The deadlines of these entities may take effect. */
  fire(entities: readonly string[]): void
}

/** An answer older than this is asked for again. */
export const STALE_MS = 1_000

type Gate = { readonly entities: readonly string[]; until?: Next }

export function deadlines(options: DeadlineOptions): Deadlines {
  let waiting: string[] = []
  let gate: Gate | undefined
  let life = 0

  function list(): void {
    if (gate || waiting.length === 0) return
    const mine: Gate = { entities: waiting }
    const born = life
    gate = mine
    waiting = []
    const askedMs = options.clock.monotonicMs()
    options.inputOffsets().then(
      (ends) => {
        if (born !== life) return
        // An answer from before a pause of the process says nothing about what came meanwhile.
        if (options.clock.monotonicMs() - askedMs > STALE_MS) return again(mine)
        mine.until = {
          'images.v1': ends['images.v1'].high,
          'commands.v1': ends['commands.v1'].high,
        }
        reached(options.next())
      },
      () => {
        if (born === life) options.clock.after(options.retryMs, () => born === life && again(mine))
      },
    )
  }

  function again(stale: Gate): void {
    gate = undefined
    waiting.push(...stale.entities)
    list()
  }

  function reached(next: Next): void {
    const until = gate?.until
    if (!gate || !until || INPUT_TOPICS.some((topic) => next[topic] < until[topic])) return
    const { entities } = gate
    gate = undefined
    options.fire(entities)
    list()
  }

  return {
    add(entity) {
      waiting.push(entity)
      list()
    },
    reached,
    size: () => waiting.length + (gate?.entities.length ?? 0),
    clear() {
      life += 1
      waiting = []
      gate = undefined
    },
  }
}
