// Images that wait in images.v1 until the clock starts: produced in a transaction, which a coordinator sees at its
// commit, all at once.
import type { Producer } from 'kafkajs'
import type { PlatePlan } from '#proto/wellspring/lab/v1/plan_pb.ts'
import { taskOf } from '@wellspring/kafka/partition.ts'
import type { OutgoingRecord } from '@wellspring/kafka/client.ts'
import { createKafka } from '@wellspring/kafka/connection.ts'
import { imageRecords, planOf, type Layout, type Stage } from '../e2e/stage.ts'

const limits = { sendRecords: 2_000, transactionMs: 300_000 } as const

export type Feed = {
  /** Everything is at the broker; the returned function shows it, and resolves when that is done. */
  prepare(records: readonly OutgoingRecord[]): Promise<() => Promise<void>>
  close(): Promise<void>
}

export async function openFeed(stage: Stage, tasks: number): Promise<Feed> {
  const producer: Producer = createKafka({ brokers: stage.brokers }).producer({
    transactionalId: `${stage.topicPrefix}feed`,
    transactionTimeout: limits.transactionMs,
    maxInFlightRequests: 1,
    retry: { retries: 0 },
  })
  await producer.connect()
  return {
    async prepare(records) {
      const transaction = await producer.transaction()
      for (let at = 0; at < records.length; at += limits.sendRecords)
        await transaction.sendBatch({
          acks: -1,
          topicMessages: [
            {
              topic: `${stage.topicPrefix}images.v1`,
              messages: records.slice(at, at + limits.sendRecords).map(messageOf),
            },
          ],
        })
      return () => transaction.commit()
    },
    close: () => producer.disconnect(),
  }

  function messageOf({ key, value, headers }: OutgoingRecord) {
    const bytes = value === null ? null : Buffer.from(value)
    return { key, value: bytes, headers: { ...headers }, partition: taskOf(key, tasks) }
  }
}

/** Plans of `count` plates, the same number for every task in turn; names begin with `round`. */
export function plansFor(round: string, count: number, tasks: number, layout: Layout): PlatePlan[] {
  const plans: PlatePlan[] = []
  for (let n = 0; plans.length < count; n += 1) {
    const plate = `${round}-${n}`
    if (taskOf(`E/${plate}`, tasks) === plans.length % tasks) plans.push(planOf(plate, layout))
  }
  return plans
}

export function imagesOf(plans: readonly PlatePlan[]): OutgoingRecord[] {
  return plans.flatMap(imageRecords)
}
