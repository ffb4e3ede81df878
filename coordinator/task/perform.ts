// What the core asks for, carried out: records into the next flush, timers, calls.
import type { Call, Effect } from '../core/event.ts'
import type { Task } from '../core/state.ts'
import { addOutput, addRecord, type Batch } from './batch.ts'
import type { Timers } from './timers.ts'
import { spansRecord } from '../trace/records.ts'
import { rootTraceparent } from '../trace/spans.ts'

export type Performer = {
  readonly task: number
  readonly application: string
  readonly state: Task
  /** What the next flush writes, as of now. */
  batch(): Batch
  readonly timers: Timers
  call(call: Call): void
  /** A call that was answered at once may have ended this life of the task: the rest is dropped. */
  isOver(): boolean
}

export function perform(effects: readonly Effect[], performer: Performer): void {
  const { task, application, state, timers } = performer
  for (const effect of effects) {
    if (performer.isOver()) return
    switch (effect.kind) {
      case 'call':
        performer.call(effect)
        break
      case 'output': {
        const { entity, trace } = effect
        addOutput(performer.batch(), task, effect, rootTraceparent(application, entity, trace))
        break
      }
      case 'timer':
        timers.set(effect)
        break
      case 'completed': {
        const record = spansRecord(state, effect.entity, task)
        if (record) addRecord(performer.batch(), record)
        break
      }
    }
  }
}
