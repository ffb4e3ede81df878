// The calls that a task has under way. What began in an earlier life of the task is told to nobody.
import type { Call, Event } from '../core/event.ts'
import { freeCall, takeCall } from './limits.ts'
import type { TaskOptions } from './options.ts'
import { attemptTraceparent } from '../trace/spans.ts'
import { unknownOutcome } from './unknown-outcome.ts'

export type TaskCalls = {
  /** Starts a call, or attaches to it; its outcome is told once, as an event. */
  start(call: Call): void
  /** The outcome of a call that only attaches, if there is nothing to attach to. */
  unknown(call: Call): Event | undefined
  count(): number
  /** A new life: the outcome of what runs is not taken until it is asked for again. */
  reset(): void
}

export function taskCalls(
  options: TaskOptions,
  told: (outcome: Event, service: string) => void,
): TaskCalls {
  const { caller, budget, clock, owner, task } = options
  let life = 0
  let calls = 0
  const callsOf = new Map<string, number>()

  return {
    count: () => calls,
    unknown(call) {
      if (!call.attachOnly || caller.knows(call.idempotencyKey, call.attempt)) return undefined
      // Nobody can say whether the effect happened, and it must not happen twice.
      return unknownOutcome(call, clock.nowMs())
    },
    start(call) {
      const {
        entity,
        step,
        idempotencyKey,
        attempt,
        request,
        timeoutMs,
        generation,
        trace,
        alone,
      } = call
      const born = life
      const name = { entity, n: trace, step: step.name, generation, attempt }
      const traceparent = attemptTraceparent(owner.application, name)
      const service = step.method.parent.typeName
      calls += 1
      callsOf.set(service, (callsOf.get(service) ?? 0) + 1)
      takeCall(budget, service)
      caller.call(
        { idempotencyKey, task, step, entity, attempt, request, timeoutMs, traceparent, alone },
        (outcome) => {
          if (born !== life) return
          calls -= 1
          callsOf.set(service, (callsOf.get(service) ?? 0) - 1)
          told({ kind: 'outcome', entity, step: step.name, idempotencyKey, outcome }, service)
        },
      )
    },
    reset() {
      life += 1
      const freed = [...callsOf]
      calls = 0
      callsOf.clear()
      for (const [service, count] of freed) freeCall(budget, service, count)
    },
  }
}
