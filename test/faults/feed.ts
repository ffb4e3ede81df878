// Brings a seed's plates to the broker at a steady pace, and waits until everything planned has ended.
import { setTimeout as sleep } from 'node:timers/promises'
import { audit, type AuditReport } from '../../cli/audit.ts'
import type { TopicRecord } from '../../cli/ledger.ts'
import type { Pipeline } from '../../coordinator/core/pipeline/pipeline.ts'
import type { Client, OutgoingRecord } from '@wellspring/kafka/client.ts'
import { plateStream } from './plates.ts'

const limits = { feedEveryMs: 250, restLookMs: 2_000 } as const

export type Pace = { readonly seed: number; readonly imagesPerSecond: number }

/** Announces images at the pace until enough plates are begun, and ends those. Returns how many records. */
export async function feed(
  client: Client,
  { seed, imagesPerSecond }: Pace,
  isEnough: () => boolean,
): Promise<number> {
  const perTurn = Math.max(1, Math.round((imagesPerSecond * limits.feedEveryMs) / 1_000))
  let part: OutgoingRecord[] = []
  let count = 0
  const startMs = performance.now()
  for (const record of plateStream(seed, isEnough)) {
    part.push(record)
    count += 1
    if (part.length < perTurn) continue
    await surely(() => client.produce(part))
    part = []
    const dueMs = startMs + (count * 1_000) / imagesPerSecond
    await sleep(Math.max(0, dueMs - performance.now()))
  }
  await surely(() => client.produce(part))
  return count
}

/** The broker may be away: a record may be there twice then, and must not be missing. */
export async function surely(work: () => Promise<void>): Promise<void> {
  for (;;) {
    try {
      return await work()
    } catch {
      await sleep(limits.feedEveryMs)
    }
  }
}

export type Rest = {
  readonly report: AuditReport
  readonly isAtRest: boolean
  /** Why the topics could not be read; undefined: they could. */
  readonly problem?: string
}

/** Until everything planned has ended, or the time is up. */
export async function untilRest(client: Client, pipeline: Pipeline, endsMs: number): Promise<Rest> {
  let report = nothingOf(pipeline)
  for (;;) {
    let problem: string | undefined
    try {
      report = await auditOf(client, pipeline)
      if (report.planned > 0 && report.missing === 0) return { report, isAtRest: true }
    } catch (error) {
      problem = String(error)
    }
    const isEnough = Date.now() > endsMs
    if (isEnough) return { report, isAtRest: false, ...(problem === undefined ? {} : { problem }) }
    await sleep(limits.restLookMs)
  }
}

const nothingOf = (pipeline: Pipeline): AuditReport =>
  audit([], { label: pipeline.label, steps: [] })

async function auditOf(client: Client, pipeline: Pipeline): Promise<AuditReport> {
  const records: TopicRecord[] = []
  for (const topic of ['commands.v1', 'results.v1', 'dead-letters.v1'] as const)
    for await (const { partition, offset, key, value, headers } of client.readAll(topic)) {
      const type = headers['wellspring-type'] ?? ''
      const bytes = value ?? Buffer.alloc(0)
      records.push({ topic, partition, offset, key: key?.toString() ?? '', type, value: bytes })
    }
  const steps = pipeline.steps.map(({ name, policy }) => ({ name, level: policy.level }))
  return audit(records, { label: pipeline.label, steps })
}
