// Sends one of each odd record, on every topic that is read.
import { planRecord } from '../../e2e/stage.ts'
import { plainBatch } from '../batch.ts'
import { plateKeyOf } from './entities.ts'
import type { Ground } from './ground.ts'
import { oddRecords } from './odd-records.ts'

export async function sendOdd(
  n: number,
  { tasks, announce, produce, notes }: Ground,
): Promise<boolean> {
  const { plan, odd } = oddRecords(n, tasks)
  notes.plates.add(plateKeyOf(plan))
  await announce([planRecord(plan)])
  // One by one: a batch must not be refused for one record in it.
  for (const { topic, partition, record, timestampMs, what } of odd) {
    const { code } = await produce(topic, partition, plainBatch([record], timestampMs))
    if (code !== 0)
      throw new Error(`a broker did not let a record with ${what} into ${topic}: ${code}`)
  }
  return true
}
