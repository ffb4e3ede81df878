// What the explorer is let loose on: small enough to be seen whole in seconds.
import { loadPipeline } from '../../coordinator/core/pipeline/check.ts'
import { pipeline as chain } from '../pipelines/echo-chain.ts'
import { pipeline as onceSpec } from '../pipelines/echo-once.ts'
import type { Scenario } from './world.ts'

const pure = loadPipeline({ ...chain, steps: chain.steps.slice(0, 1) })
const once = loadPipeline(onceSpec)
const small = { pipeline: pure, tasks: 1, processes: 2, inputs: 1 } as const

export const scenarios: readonly Scenario[] = [
  { ...small, name: 'two faults', budget: { faults: 2, moves: 0 } },
  { ...small, name: 'two inputs and a fault', inputs: 2, budget: { faults: 1, moves: 0 } },
  {
    ...small,
    name: 'two tasks side by side',
    tasks: 2,
    inputs: 2,
    budget: { faults: 0, moves: 0 },
  },
  {
    ...small,
    name: 'an effect that must not happen twice, and two faults',
    pipeline: once,
    budget: { faults: 2, moves: 0 },
  },
  {
    ...small,
    name: 'input that is deleted, read or not',
    isDeleting: true,
    budget: { faults: 0, moves: 1 },
  },
  { ...small, name: 'a rebalance', budget: { faults: 0, moves: 1 } },
  {
    ...small,
    name: 'an effect that must not happen twice, and a rebalance',
    pipeline: once,
    budget: { faults: 0, moves: 1 },
  },
]

/** Takes minutes: npm test sees as much of it as a few seconds allow, npm run model all (README.md). */
export const large: Scenario = {
  ...small,
  name: 'a fault and a rebalance',
  budget: { faults: 1, moves: 1 },
}
