// A changelog, decoded: what a fixture says was in it, and what today's code finds.
import { toJson, type DescMessage } from '@bufbuild/protobuf'
import {
  PlateStateSchema,
  RunPayloadSchema,
  SiteStateSchema,
  WellStateSchema,
} from '#proto/wellspring/journal/v1/state_pb.ts'
import { PlatePlanSchema } from '#proto/wellspring/lab/v1/plan_pb.ts'
import type { Entities } from '../../coordinator/core/entities.ts'
import type { Pipeline } from '../../coordinator/core/pipeline/pipeline.ts'
import { emptyTask, loadState, type Task } from '../../coordinator/core/state.ts'
import type { LogRecord } from '@wellspring/kafka/records.ts'

export type Decoded = Readonly<Record<string, unknown>>

/** The state that a changelog leaves, every entity as JSON. */
export function decodedState(pipeline: Pipeline, log: readonly LogRecord[]): Decoded {
  const task = emptyTask('sim', pipeline)
  for (const { key, value } of log) {
    const name = key?.toString() ?? ''
    if (!name.startsWith('#')) loadState(task, name, value)
  }
  return decodedTask(task)
}

export function decodedTask({ plans, plates, wells, sites, payloads }: Task): Decoded {
  const json = <D extends DescMessage>(schema: D, map: Entities<D>, suffix = '') =>
    [...map.keys()].flatMap((key) => {
      const entity = map.get(key)
      return entity ? [[key + suffix, toJson(schema, entity)]] : []
    })
  return Object.fromEntries([
    ...json(PlatePlanSchema, plans, '#plan'),
    ...json(PlateStateSchema, plates),
    ...json(WellStateSchema, wells),
    ...json(SiteStateSchema, sites),
    ...json(RunPayloadSchema, payloads),
  ])
}
