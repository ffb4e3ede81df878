// Bounded state on a real broker: finished plates are retired, the changelog compacts, and a restore reads summaries.
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'node:test'
import { fromBinary } from '@bufbuild/protobuf'
import { EntityStatusSchema } from '#proto/wellspring/record/v1/output_pb.ts'
import { loadPipeline } from '../../coordinator/core/pipeline/check.ts'
import { emptyTask } from '../../coordinator/core/state.ts'
import { createKafka } from '@wellspring/kafka/connection.ts'
import { openKafkaLog } from '../../coordinator/log/kafka.ts'
import { nothingRead, takeOver } from '../../coordinator/task/restore.ts'
import { pipeline as levels } from '../pipelines/echo-levels.ts'
import { imageRecords, openStage, planOf, planRecord, type Stage } from './stage.ts'

const PLATES = ['P1', 'P2', 'P3', 'P4']
const LAYOUT = { wells: 12, sites: 3, channels: 2 }
const WITHIN_MS = 60_000

test('a task full of plates, retired and compacted, restores from their summaries alone', async (t) => {
  const stage = await openStage({ pipeline: 'echo-levels.ts', tasks: 1 })
  try {
    await compactSoon(stage)
    const plans = PLATES.map((name) => planOf(name, LAYOUT))
    const first = await stage.coordinator('c1', { WELLSPRING_RETIRE_AFTER_MS: '5000' })
    await stage.client.produce([...plans.map(planRecord), ...plans.flatMap(imageRecords)])
    const report = await stage.untilDone(WITHIN_MS)
    const before = (await latest(stage, 'state.v1')).size
    assert.ok(before > PLATES.length * LAYOUT.wells * LAYOUT.sites, `${before} records`)
    // A segment is closed by what is written behind it: the same plan again is nothing but its offset.
    const endsMs = Date.now() + WITHIN_MS
    let left = await latest(stage, 'state.v1')
    while (left.size > PLATES.length + 2 && Date.now() < endsMs) {
      await stage.client.produce([planRecord(planOf('P1', LAYOUT))])
      await sleep(300)
      left = await latest(stage, 'state.v1')
    }
    assert.deepEqual(
      [...left.keys()].toSorted(),
      ['#ckpt', '#owner', ...PLATES.map((name) => `E/${name}/a1`)],
      `of ${before} keys`,
    )
    const told = async (): Promise<string[]> =>
      [...(await latest(stage, 'status.v1'))]
        .flatMap(([key, value]) => (value === null ? [] : [`${key} ${isRetired(value)}`]))
        .toSorted()
    const expected = PLATES.map((name) => `E/${name}/a1 true`)
    while ((await told()).length > expected.length && Date.now() < endsMs) await sleep(300)
    assert.deepEqual(await told(), expected, 'status tells the plates, and no wells')
    await first.stop()
    const { read, sizes } = await restore(stage)
    assert.deepEqual(sizes, [0, PLATES.length, 0, 0])
    assert.ok(read < 100, `${read} records were read`)
    t.diagnostic(`${before} keys before; a restore read ${read} records`)
    assert.deepEqual(await stage.audit(), report, 'and the audit is what it was')
    assert.deepEqual([report.missing, report.duplicate, report.unplanned], [0, 0, 0])
  } finally {
    await stage.close()
  }
})

function isRetired(value: Buffer): boolean {
  return fromBinary(EntityStatusSchema, value).retiredAt !== undefined
}

/** Production keeps an hour in a segment, and tombstones for a day. */
async function compactSoon({ brokers, topicPrefix }: Stage): Promise<void> {
  const admin = createKafka({ brokers, clientId: 'test', logger: () => {} }).admin()
  await admin.connect()
  const configEntries = Object.entries({
    'cleanup.policy': 'compact',
    'segment.ms': '200',
    'min.cleanable.dirty.ratio': '0.001',
    'max.compaction.lag.ms': '200',
    'delete.retention.ms': '0',
  }).map(([name, value]) => ({ name, value }))
  const name = `${topicPrefix}state.v1`
  await admin.alterConfigs({ validateOnly: false, resources: [{ type: 2, name, configEntries }] })
  await admin.disconnect()
}

/** The latest record of every key that a topic still has; null: a tombstone. */
async function latest(
  { client }: Stage,
  topic: 'state.v1' | 'status.v1',
): Promise<Map<string, Buffer | null>> {
  const found = new Map<string, Buffer | null>()
  for await (const { key, value } of client.readAll(topic)) found.set(key?.toString() ?? '', value)
  return found
}

/** A take-over as production does it: how many records it reads, and what it holds then. */
async function restore(stage: Stage): Promise<{ read: number; sizes: number[] }> {
  const pipeline = loadPipeline(levels)
  const log = await openKafkaLog({
    brokers: stage.brokers,
    topicPrefix: stage.topicPrefix,
    application: stage.topicPrefix,
    tasks: 1,
    instance: 'test',
    controlAddress: '',
    sessionTimeoutMs: 6_000,
    logger: () => {},
  })
  let read = 0
  const back = await takeOver({
    log: {
      ...log,
      readState: (task, from, onRecord) =>
        log.readState(task, from, (record) => {
          read += 1
          return onRecord(record)
        }),
    },
    task: 0,
    back: nothingRead(emptyTask('test', pipeline)),
    owner: { application: 'test', instance: 'test', controlAddress: '' },
    isWanted: () => true,
    nowMs: Date.now,
  })
  const { plans, plates, wells, sites } = back.state
  await back.writer.close()
  await log.close()
  return { read, sizes: [plans, plates, wells, sites].map((map) => map.size()) }
}
