// A changelog, decoded: what a fixture says was in it, and what today's code finds.
import type { DescMessage } from '@bufbuild/protobuf'
import { fromBinary, toJson } from '@bufbuild/protobuf'
import {
  PlateStateSchema,
  SiteStateSchema,
  WellStateSchema,
} from '#proto/wellspring/journal/v1/state_pb.ts'
import { PlatePlanSchema } from '#proto/wellspring/lab/v1/plan_pb.ts'
import type { Pipeline } from '../../coordinator/core/pipeline.ts'
import type { Task } from '../../coordinator/core/state.ts'
import { emptyTask, loadState } from '../../coordinator/core/state.ts'
import type { LogRecord } from '../../coordinator/log/port.ts'

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

export function decodedTask({ plans, plates, wells, sites }: Task): Decoded {
  const json = (schema: DescMessage, all: [key: string, bytes: Uint8Array][], suffix = '') =>
    all.map(([key, bytes]) => [key + suffix, toJson(schema, fromBinary(schema, bytes))])
  return Object.fromEntries([
    ...json(PlatePlanSchema, plans.all(), '#plan'),
    ...json(PlateStateSchema, plates.all()),
    ...json(WellStateSchema, wells.all()),
    ...json(SiteStateSchema, sites.all()),
  ])
}
