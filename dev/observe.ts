// What really is on the topics about one experiment. The screen and the summary know nothing else.
import { setTimeout as sleep } from 'node:timers/promises'
import { fromBinary, type DescMessage, type MessageShape } from '@bufbuild/protobuf'
import {
  DeadLetterSchema,
  EntityStatusSchema,
  LevelClosedSchema,
  QualityVerdictSchema,
  StepResultSchema,
  type EntityStatus,
  type LevelClosed,
  type DeadLetter,
  type QualityVerdict,
  type StepResult,
} from '#proto/wellspring/record/v1/output_pb.ts'
import type { Client } from '@wellspring/kafka/client.ts'
import type { LogRecord } from '@wellspring/kafka/records.ts'

export type Observed = {
  /** Latest of every plate and well. */
  readonly status: Map<string, EntityStatus>
  /** By result key. */
  readonly results: Map<string, StepResult>
  /** Latest of every entity. */
  readonly closes: Map<string, LevelClosed>
  /** By the key of the result that was judged. */
  readonly verdicts: Map<string, QualityVerdict>
  readonly deadLetters: Map<string, DeadLetter>
  /** Wall clock of the last record. */
  lastAt: number
}

const TOPICS = ['status.v1', 'results.v1', 'quality.v1', 'dead-letters.v1'] as const
const limits = { againMs: 1_000 } as const

export function emptyObserved(): Observed {
  const [status, results, closes] = [new Map(), new Map(), new Map()]
  return {
    status,
    results,
    closes,
    verdicts: new Map(),
    deadLetters: new Map(),
    lastAt: Date.now(),
  }
}

/**
 * Follows the topics until the signal, each on a connection of its own; a broker that goes away is waited for.
 * onRecord is called after every record of the experiment.
 */
export async function observe(
  experiment: string,
  open: () => Client,
  signal: AbortSignal,
  onRecord: (seen: Observed) => void,
): Promise<void> {
  const seen = emptyObserved()
  const follow = async (topic: (typeof TOPICS)[number]): Promise<void> => {
    while (!signal.aborted) {
      const client = open()
      try {
        // From the start each time: what is applied twice changes nothing.
        for await (const record of client.follow(topic, { from: 'start', signal }))
          if (apply(seen, experiment, record)) onRecord(seen)
      } catch {
        await sleep(limits.againMs, undefined, { signal }).catch(() => {})
      } finally {
        await client.close()
      }
    }
  }
  await Promise.all(TOPICS.map(follow))
}

/** Takes one record in. False: it is of another experiment. */
export function apply(seen: Observed, experiment: string, record: LogRecord): boolean {
  const key = record.key?.toString() ?? ''
  if (record.value === null || !key.startsWith(`${experiment}/`)) return false
  const type = record.headers['wellspring-type']
  const read = <D extends DescMessage>(schema: D): MessageShape<D> | undefined =>
    record.value !== null && type === schema.typeName ? fromBinary(schema, record.value) : undefined
  const status = read(EntityStatusSchema)
  if (status) seen.status.set(key, status)
  const result = read(StepResultSchema)
  if (result) seen.results.set(key, result)
  const close = read(LevelClosedSchema)
  if (close && close.revision >= (seen.closes.get(close.entity)?.revision ?? 0))
    seen.closes.set(close.entity, close)
  const verdict = read(QualityVerdictSchema)
  if (verdict) seen.verdicts.set(key, verdict)
  const letter = read(DeadLetterSchema)
  if (letter) seen.deadLetters.set(key, letter)
  seen.lastAt = Date.now()
  return true
}

/** The latest result of a step for every entity that has one. */
export function latestOf(seen: Observed, step: string): Map<string, StepResult> {
  const latest = new Map<string, StepResult>()
  for (const result of seen.results.values())
    if (result.step === step && result.revision >= (latest.get(result.entity)?.revision ?? 0))
      latest.set(result.entity, result)
  return latest
}
