// What the control API reads: the states of the tasks that this coordinator runs, and how each stands. It never writes.
import type { ServiceStatus } from '#proto/wellspring/control/v1/control_pb.ts'
import type { Pipeline } from '../core/pipeline/pipeline.ts'
import type { Task } from '../core/state.ts'
import type { InputLook } from '../task/retention.ts'
import type { Down } from '../task/taking-over.ts'

/** A task that is assigned to this coordinator. Times are UTC milliseconds. */
export type TaskLook = {
  readonly task: number
  readonly isRunning: boolean
  /** Since when it is so. */
  readonly sinceMs: number
  /** Why it cannot run; undefined: it runs, or is being taken over. */
  readonly down: Down | undefined
  /** What went wrong last, while it is being taken over. */
  readonly lastError: string
  /** Its state; while it is down, what was committed last, if that can be relied on. */
  readonly state: Task | undefined
}

export interface Model {
  readonly instance: string
  readonly application: string
  readonly topicPrefix: string
  readonly pipeline: Pipeline
  /** Number of tasks of the application, owned or not. */
  readonly tasks: number
  /** States of the tasks that this coordinator owns and has restored, by task number. */
  owned(): ReadonlyMap<number, Task>
  /** The tasks that are assigned to it, whether they run or not, in order. */
  assigned(): readonly TaskLook[]
  /** How far the inputs of an assigned task are read. Rejects when Kafka does not tell. */
  inputs(task: number): Promise<readonly InputLook[]>
  services(): readonly ServiceStatus[]
  /** UTC milliseconds. */
  nowMs(): number
}
