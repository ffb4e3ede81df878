// What a task needs of the world.
import type { Caller } from '../calls/port.ts'
import type { Pipeline } from '../core/pipeline/pipeline.ts'
import type { YieldBudget } from './yield-budget.ts'
import type { Clock } from '../clock.ts'
import type { Budget, Limits } from './limits.ts'
import type { Log } from '../log/port.ts'
import type { Owner } from './restore.ts'
import type { Standby } from './standby.ts'
import type { Logger } from '@wellspring/kafka/logger.ts'

export type TaskOptions = {
  readonly task: number
  readonly log: Log
  readonly standby?: Standby | undefined
  readonly caller: Caller
  readonly pipeline: Pipeline
  readonly owner: Owner
  readonly clock: Clock
  readonly random: () => number
  readonly limits: Limits
  readonly budget: Budget
  readonly yieldBudget: YieldBudget
  readonly logger: Logger
  /** Log the state's hash with every n-th flush (T3); default 0: never. */
  readonly stateDigestEvery?: number
  /** Going on would be wrong; the process must end with this message. */
  fatal(error: Error): void
}
