// What the control API reads: the states of the tasks that this coordinator runs. It never writes.
import type { ServiceStatus } from '#proto/wellspring/control/v1/control_pb.ts'
import type { Pipeline } from '../core/pipeline.ts'
import type { Task } from '../core/state.ts'

export interface Model {
  readonly instance: string
  readonly pipeline: Pipeline
  /** Number of tasks of the application, owned or not. */
  readonly tasks: number
  /** States of the tasks that this coordinator owns and has restored, by task number. */
  owned(): ReadonlyMap<number, Task>
  services(): readonly ServiceStatus[]
  /** UTC milliseconds. */
  nowMs(): number
}
