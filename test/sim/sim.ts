// npm run sim -- [--seed N] [--worlds M]: runs simulated worlds; a seed that failed is replayed by its number.
import { parseArgs } from 'node:util'
import { fromBinary } from '@bufbuild/protobuf'
import { CheckpointSchema } from '#proto/wellspring/journal/v1/state_pb.ts'
import { loadPipeline } from '../../coordinator/core/pipeline/check.ts'
import type { Pipeline } from '../../coordinator/core/pipeline/pipeline.ts'
import { CHECKPOINT_KEY } from '../../coordinator/task/batch.ts'
import { INPUT_TOPICS, type InputTopic } from '@wellspring/kafka/topic-names.ts'
import { pipeline as chain } from '../pipelines/echo-chain.ts'
import { pipeline as levels } from '../pipelines/echo-levels.ts'
import { pipeline as once } from '../pipelines/echo-once.ts'
import { broken } from './checks.ts'
import { FAULTS_UNTIL_MS, scriptOf, tell, trouble } from './story.ts'
import { EPOCH_MS, diceOf, openWorld, type World } from './world.ts'

const pipelines: readonly Pipeline[] = [levels, levels, levels, chain, once].map((spec) =>
  loadPipeline(spec),
)
const WORLD_ENDS_MS = 900_000

/** Everything that a world broke; empty when all held. */
export async function simulate(seed: number): Promise<string[]> {
  const pipeline = pipelines[seed % pipelines.length]
  if (!pipeline) throw new Error('no pipeline')
  const executions = new Map<string, number>()
  const script = scriptOf(diceOf(seed ^ 0x5eed), executions)
  const retireAfterMs = retirement(seed)
  const world = openWorld({ seed, tasks: 1 + (seed % 3), pipeline, script, retireAfterMs })
  const members = 1 + Math.floor(world.dice() * 3)
  for (let count = 0; count < members; count += 1) world.start()
  world.after(1, () => world.rebalance())
  const story = tell(world)
  if (seed % 3 === 0) retain(world, 300 + (seed % 7) * 400)
  const outageMs = trouble(world)
  const isDone = await world.run(
    WORLD_ENDS_MS,
    () => world.nowMs() > FAULTS_UNTIL_MS + 10_000 && isIdle(world),
  )
  const complaints = [
    ...world.complaints,
    ...broken({
      broker: world.broker,
      pipeline,
      executions,
      isRetiring: retireAfterMs < Infinity,
      outageEndedMs: outageMs === undefined ? undefined : EPOCH_MS + outageMs,
      announced: new Map([...story.announced].map(([key, atMs]) => [key, EPOCH_MS + atMs])),
    }),
  ]
  if (!isDone) complaints.unshift('T6 it did not come to rest')
  return complaints
}

/** In half of the worlds finished plates are retired: some at once, some while late data and commands arrive. */
function retirement(seed: number): number {
  const dice = diceOf(seed ^ 0xf0d9e7)
  return dice() < 0.5 ? Infinity : Math.floor(dice() ** 2 * 10_000)
}

/** Retention: what was taken in, as far as is committed, is deleted from time to time; nobody may miss it. */
function retain(world: World, everyMs: number): void {
  const { broker } = world
  world.after(everyMs, () => {
    for (const { key, value, partition } of broker.committed('state.v1')) {
      if (key?.toString() !== CHECKPOINT_KEY || !value) continue
      for (const { topic, next } of fromBinary(CheckpointSchema, value).next)
        broker.deleteBelow(topic as InputTopic, partition, next)
    }
    if (world.nowMs() < FAULTS_UNTIL_MS) retain(world, everyMs)
  })
}

/** Every task runs somewhere, has read its inputs, and waits for nothing. */
function isIdle(world: World): boolean {
  // One that its writer never ended is ended by the broker, after its time-out.
  if (world.broker.hasOpenTransaction()) return false
  for (let task = 0; task < world.broker.tasks; task += 1) {
    const engine = world.processes
      .map((one) => one.host.engine(task))
      .find((one) => one?.phase === 'running')
    if (!engine) return false
    const { calls, inputs, timers, isFlushing } = engine.load()
    if (calls + inputs + timers > 0 || isFlushing) return false
    const next = engine.next()
    for (const topic of INPUT_TOPICS) {
      const high = world.broker
        .committed(topic)
        .filter((record) => record.partition === task).length
      if ((next?.[topic] ?? 0) < high) return false
    }
  }
  return true
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: { seed: { type: 'string' }, worlds: { type: 'string' } },
  })
  const first = Number(values.seed ?? Math.floor(Math.random() * 1_000_000))
  const worlds = Number(values.worlds ?? (values.seed === undefined ? 2_000 : 1))
  let failed = 0
  for (let seed = first; seed < first + worlds; seed += 1) {
    const complaints = await simulate(seed)
    if (complaints.length === 0) continue
    failed += 1
    console.log(`seed ${seed} broke ${complaints.length} rules (npm run sim -- --seed ${seed}):`)
    for (const complaint of complaints.slice(0, 10)) console.log(`  ${complaint}`)
    if (failed >= 10) break
  }
  console.log(`${worlds} worlds from seed ${first}: ${failed} failed`)
  process.exitCode = failed > 0 ? 1 : 0
}
