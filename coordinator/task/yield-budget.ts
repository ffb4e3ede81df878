// A process that has thousands of inputs takes some in each turn of the event loop, its tasks by turns: taken in one go
// they kept heartbeats, outcomes and every timer waiting for a second.
import type { Clock } from '../clock.ts'
import type { Limits } from './limits.ts'

export type YieldBudget = {
  /** Whether one more input may be taken in in this turn. False: `goOn` is called in a later one. */
  spend(goOn: () => void): boolean
}

type Options = { readonly clock: Clock; readonly limits: Pick<Limits, 'inputsPerTurnMax'> }

export function createYieldBudget({ clock, limits }: Options): YieldBudget {
  const waiting = new Set<() => void>()
  let taken = 0
  let isDue = false

  function nextTurn(): void {
    if (isDue) return
    isDue = true
    clock.after(0, () => {
      isDue = false
      taken = 0
      // Who is not done is added again, behind the others.
      for (const goOn of waiting) {
        if (taken >= limits.inputsPerTurnMax) break
        waiting.delete(goOn)
        goOn()
      }
      if (waiting.size > 0) nextTurn()
    })
  }

  return {
    spend(goOn) {
      nextTurn()
      if (taken < limits.inputsPerTurnMax) {
        taken += 1
        return true
      }
      waiting.add(goOn)
      return false
    },
  }
}
