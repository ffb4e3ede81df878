// A world for tasks that cannot run: two processes, three tasks with a planned plate each, and a look at what is said.
import assert from 'node:assert/strict'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { loadPipeline } from '../../coordinator/core/pipeline/check.ts'
import { taskOf } from '@wellspring/kafka/partition.ts'
import { CHECKPOINT_KEY } from '../../coordinator/task/batch.ts'
import type { InputTopic } from '@wellspring/kafka/topic-names.ts'
import type { Down } from '../../coordinator/task/taking-over.ts'
import { PlateStateSchema } from '#proto/wellspring/journal/v1/state_pb.ts'
import { CommandSchema } from '#proto/wellspring/record/v1/input_pb.ts'
import {
  DeadLetterSchema,
  PlateEventSchema,
  type DeadLetter,
} from '#proto/wellspring/record/v1/output_pb.ts'
import { audit } from '../../cli/audit.ts'
import type { TopicRecord } from '../../cli/ledger.ts'
import { imageRecords, planOf, planRecord } from '../e2e/stage.ts'
import { pipeline as levels } from '../pipelines/echo-levels.ts'
import { stepsOf } from './checks.ts'
import { openWorld, type World, type WorldOptions } from './world.ts'

export const TASKS = 3
export const IMAGES = 8
export const pipeline = loadPipeline(levels)

/** A plate of each task, by task. */
export const names = Array.from({ length: TASKS }, (_, task) => {
  for (let at = 0; ; at += 1) if (taskOf(`E/P${at}`, TASKS) === task) return `P${at}`
})
const plans = names.map((name) => planOf(name, { wells: IMAGES, sites: 1, channels: 1 }))

export type Stage = {
  readonly world: World
  readonly announce: (task: number, from: number, to: number) => void
  readonly downOf: (task: number) => Down | undefined
  readonly closed: () => ReadonlySet<string>
  readonly until: (what: () => boolean, why: string) => Promise<void>
}

/** Two processes; every plate is planned, and none of its images announced. */
export async function stage(options: Partial<WorldOptions> = {}): Promise<Stage> {
  const world = openWorld({ seed: 4, tasks: TASKS, pipeline, script: () => undefined, ...options })
  world.start()
  world.start()
  world.after(1, () => world.rebalance())
  plans.forEach((plan, task) => {
    const { key, value } = planRecord(plan)
    world.after(5, () => world.broker.produce('commands.v1', task, key, value))
  })
  const until: Stage['until'] = async (what, why) => {
    assert.ok(await world.run(world.nowMs() + 200_000, what), `never: ${why}`)
  }
  await until(
    () =>
      new Set(committedKeys(world, CHECKPOINT_KEY).map(({ partition }) => partition)).size ===
      TASKS,
    'every task has a checkpoint',
  )
  return {
    world,
    announce(task, from, to) {
      const plan = plans[task]
      for (const { key, value } of plan ? imageRecords(plan).slice(from, to) : [])
        world.broker.produce('images.v1', task, key, value)
    },
    downOf(task) {
      for (const { host } of world.processes) {
        const engine = host.engine(task)
        if (engine && engine.phase !== 'running') return engine.trouble().down()
      }
      return undefined
    },
    closed() {
      const events = world.broker.committed('plate-events.v1')
      return new Set(
        events.flatMap(({ value }) => (value ? [fromBinary(PlateEventSchema, value).entity] : [])),
      )
    },
    until,
  }
}

export function committedKeys(world: World, wanted: string) {
  return world.broker.committed('state.v1').filter(({ key }) => key?.toString() === wanted)
}

export function acceptLoss(
  world: World,
  task: number,
  loss: { topic: InputTopic; from: number; to: number },
): void {
  const value = { ...loss, partition: task }
  const command = create(CommandSchema, {
    id: `${loss.from}-${loss.to}`,
    author: 'ada',
    reason: 'the share was full',
    action: { case: 'acceptLoss', value },
  })
  world.broker.produce('commands.v1', task, 'accept-loss', toBinary(CommandSchema, command))
}

export function deadLetters(world: World): DeadLetter[] {
  return world.broker
    .committed('dead-letters.v1')
    .flatMap(({ value }) => (value ? [fromBinary(DeadLetterSchema, value)] : []))
}

export function plateState(world: World, task: number) {
  const found = committedKeys(world, `E/${names[task]}/a1`).at(-1)
  assert.ok(found?.value)
  return fromBinary(PlateStateSchema, found.value)
}

export function audited(world: World) {
  const records = (['commands.v1', 'results.v1', 'dead-letters.v1'] as const).flatMap((topic) =>
    world.broker.committed(topic).flatMap(({ partition, offset, key, value, headers }) => {
      const type = headers['wellspring-type'] ?? CommandSchema.typeName
      const record = { topic, partition, offset, key: key?.toString() ?? '', type }
      return value ? [{ ...record, value } satisfies TopicRecord] : []
    }),
  )
  return audit(records, { label: pipeline.label, steps: stepsOf(pipeline) })
}
