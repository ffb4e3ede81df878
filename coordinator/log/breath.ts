// A task that has thousands of inputs takes some in each turn of the event loop: taken in one go, by eight tasks one
// after the other, they kept heartbeats, outcomes and every timer waiting for a second.
import type { Clock } from './clock.ts'
import type { Limits } from './limits.ts'

type Breath = {
  /** Whether one more input may be taken in after so many in this turn. False: `goOn` is called in another one. */
  lasts(taken: number): boolean
}

export function breath(
  { clock, limits }: { readonly clock: Clock; readonly limits: Limits },
  goOn: () => void,
): Breath {
  let isLater = false
  return {
    lasts(taken) {
      if (taken < limits.inputsPerTurnMax) return true
      if (isLater) return false
      isLater = true
      clock.after(0, () => {
        isLater = false
        goOn()
      })
      return false
    },
  }
}
