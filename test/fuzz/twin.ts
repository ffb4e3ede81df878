// The same input on the memory twin, under a coordinator that takes it in, decides and flushes; and what must hold of what
// it leaves in the log.
import assert from 'node:assert/strict'
import { fromBinary } from '@bufbuild/protobuf'
import { DeadLetterSchema } from '#proto/wellspring/record/v1/output_pb.ts'
import { loadPipeline } from '../../coordinator/core/pipeline/check.ts'
import { limits } from '../../coordinator/task/limits.ts'
import { INPUT_TOPICS } from '@wellspring/kafka/topic-names.ts'
import { writable } from '../../coordinator/log/writable.ts'
import { batchesOf } from '@wellspring/kafka/record-decoder.ts'
import { pipeline as levels } from '../pipelines/echo-levels.ts'
import { openWorld } from '../sim/world.ts'
import type { Case } from './cases.ts'

const pipeline = loadPipeline(levels)
/** Simulated time that a case may take, all waiting included. */
const CASE_MS = 2_000
/** One whose clocks are right and that has no standby. */
const SEED = 2

/** Has a coordinator take the cases in. Returns how many offsets they covered, and how many dead letters there are. */
export async function takeIn(cases: readonly Case[]): Promise<{ offsets: number; aside: number }> {
  const world = openWorld({
    seed: SEED,
    tasks: 1,
    pipeline,
    script: () => undefined,
    deliverMax: 200,
    bounds: { ...limits, retireAfterMs: Infinity },
  })
  const { broker } = world
  const ends = { 'images.v1': 0, 'commands.v1': 0 }
  for (const { topic, covers, batches } of cases) {
    // What is cut off is fetched again, until it is not.
    if (batchesOf(batches(0)).length === 0) continue
    broker.produceBatches(topic, 0, covers, batches)
    ends[topic] += covers
  }
  world.start()
  world.after(1, () => world.rebalance())
  const isThrough = (): boolean => {
    const engine = world.processes[0]?.host.engine(0)
    const at = engine?.takenTo()
    const isBehind = !at || INPUT_TOPICS.some((topic) => at[topic] !== ends[topic])
    return !isBehind && engine?.load().isFlushing === false
  }
  assert.ok(await world.run(cases.length * CASE_MS, isThrough), 'everything is taken in')
  assert.deepEqual(world.complaints, [])
  return {
    offsets: ends['images.v1'] + ends['commands.v1'],
    aside: judgeLetters(broker.committed('dead-letters.v1'), ends),
  }
}

type Written = { readonly key: Buffer | null; readonly value: Buffer | null }

/** Each offset is set aside once at most, for a reason that is not ours, in a record that can be written and read. */
function judgeLetters(
  letters: readonly Written[],
  ends: Readonly<Record<(typeof INPUT_TOPICS)[number], number>>,
): number {
  const seen = new Map<string, Set<number>>(INPUT_TOPICS.map((topic) => [topic, new Set()]))
  let aside = 0
  for (const { value } of letters) {
    assert.ok(value && value.length < writable.recordBytesMax)
    const { origin, failure } = fromBinary(DeadLetterSchema, value)
    if (!origin) continue
    aside += 1
    assert.notEqual(failure?.reason, 'PROCESSING_FAILED', failure?.message)
    const { topic, offset, lastOffset = offset } = origin
    const offsets = seen.get(topic)
    assert.ok(offsets && lastOffset < ends[topic as keyof typeof ends])
    for (let at = offset; at <= lastOffset; at += 1) {
      assert.ok(!offsets.has(at), `${topic}/${at} is set aside twice`)
      offsets.add(at)
    }
  }
  return aside
}
