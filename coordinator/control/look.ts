// How a task that is assigned here stands, for people.
import type { TaskLook } from './model.ts'
import type { InputTopic } from '@wellspring/kafka/topic-names.ts'
import type { TaskEngine } from '../task/task.ts'

export function lookAt(engine: TaskEngine): TaskLook {
  const { task, phase, sinceMs, state } = engine
  const isRunning = phase === 'running'
  const down = isRunning ? undefined : engine.trouble().down()
  const lastError = isRunning ? '' : engine.trouble().lastError()
  // Where nothing but input is missing, what was read of state is whole.
  const read = down && down.trouble.lost.length > 0 ? down.trouble.read : undefined
  return { task, isRunning, sinceMs, down, lastError, state: state ?? read?.state }
}

/** Next offset per input, all below it taken in; undefined: not known. */
export function readTo(engine: TaskEngine): Readonly<Record<InputTopic, number>> | undefined {
  return engine.takenTo() ?? engine.trouble().down()?.trouble.read?.next
}
