// What must be left in the end of a world: of a retired plate its summary alone, and of every image announced a count or
// a dead letter.
import { fromBinary } from '@bufbuild/protobuf'
import { ImageAcquiredSchema } from '#proto/wellspring/record/v1/input_pb.ts'
import { DeadLetterSchema } from '#proto/wellspring/record/v1/output_pb.ts'
import { entityKey, plateOf } from '@wellspring/lab/entity.ts'
import type { Pipeline } from '../../coordinator/core/pipeline/pipeline.ts'
import { emptyTask, loadState, type Task } from '../../coordinator/core/state.ts'
import type { MemoryBroker } from '../../coordinator/log/memory.ts'
import type { LogRecord } from '@wellspring/kafka/records.ts'

type World = {
  readonly broker: MemoryBroker
  readonly pipeline: Pipeline
  readonly isRetiring: boolean
}

/** I12, and T5 by counting. */
export function remains({ broker, pipeline, isRetiring }: World, task: number): string[] {
  const recordsOf = (topic: 'state.v1' | 'images.v1' | 'dead-letters.v1'): LogRecord[] =>
    broker.committed(topic).filter((record) => record.partition === task)
  const state = emptyTask('sim', pipeline)
  for (const { key, value } of recordsOf('state.v1')) {
    const name = key?.toString() ?? ''
    if (!name.startsWith('#')) loadState(state, name, value)
  }
  return [
    ...history(state, isRetiring),
    ...uncounted(state, recordsOf('images.v1'), recordsOf('dead-letters.v1')),
  ]
}

function history(state: Task, isRetiring: boolean): string[] {
  const below = [...state.plans.keys(), ...state.wells.keys(), ...state.sites.keys()]
  return [...state.plates.keys()].flatMap((key) => {
    const plate = state.plates.get(key)
    const isLeft = (one: string): boolean => plateOf(one) === key
    const left = below.filter(isLeft)
    if (plate?.retired && left.length > 0) return [`I12 ${key} is retired, and left ${left.join()}`]
    if (isRetiring && plate?.close?.completed && !plate.changed && !plate.retired)
      return [`I12 ${key} is finished and was never retired`]
    return []
  })
}

/** Every announcement was taken in, counted as known, or set aside. */
function uncounted(
  state: Task,
  inputs: readonly LogRecord[],
  letters: readonly LogRecord[],
): string[] {
  const counts = new Map<string, number>()
  const add = (value: Uint8Array | null, by: number): void => {
    const plate = plateIn(value)
    if (plate) counts.set(plate, (counts.get(plate) ?? 0) + by)
  }
  for (const { value } of inputs) add(value, 1)
  for (const { value } of letters) {
    const letter = value && fromBinary(DeadLetterSchema, value)
    if (letter && letter.origin?.topic === 'images.v1') add(letter.originValue, -1)
  }
  return [...counts].flatMap(([key, count]) => {
    const { arrived = 0, duplicate = 0 } = state.plates.get(key) ?? {}
    if (arrived + duplicate === count) return []
    return [`T5 ${key}: ${count} images to take in, ${arrived} arrived and ${duplicate} known`]
  })
}

function plateIn(value: Uint8Array | null): string | undefined {
  if (value === null) return undefined
  try {
    const { identity } = fromBinary(ImageAcquiredSchema, value)
    return identity && plateOf(entityKey(identity))
  } catch {
    return undefined
  }
}
