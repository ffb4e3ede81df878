// Nuclei counted in an entity.
import { fromBinary } from '@bufbuild/protobuf'
import { groupOf } from './context.ts'
import { levelOf } from '@wellspring/lab/entity.ts'
import { membersOf } from './life.ts'
import { outputOf } from './payload.ts'
import type { Step } from './pipeline/pipeline.ts'
import { runsOf } from './standing.ts'
import type { Task } from './state.ts'

/**
 * The field nuclei_count of an entity's own step's latest result, else the sum over its members; 0 where no step counts.
 */
export function objectsOf(task: Task, key: string): number {
  const retired = task.plates.get(key)?.retired
  if (retired) return retired.objects
  const level = levelOf(key)
  if (!task.pipeline.steps.some((step) => step.policy.level <= level && isCounting(step))) return 0
  const own = ownObjects(task, key)
  if (own !== undefined) return own
  if (!groupOf(task, key)) return 0
  return membersOf(task, key).reduce((sum, member) => sum + objectsOf(task, member), 0)
}

/** What an entity's own step counted; undefined if none did. */
export function ownObjects(task: Task, key: string): number | undefined {
  for (const step of task.pipeline.at(levelOf(key)).filter(isCounting)) {
    const run = runsOf(task, key)?.find((one) => one.step === step.index && one.revision > 0)
    if (!run) continue
    const { nucleiCount } = fromBinary(step.method.output, outputOf(task, { key, run })) as {
      nucleiCount?: unknown
    }
    return typeof nucleiCount === 'number' ? nucleiCount : 0
  }
  return undefined
}

function isCounting({ method }: Step): boolean {
  return method.output.field['nucleiCount'] !== undefined
}
