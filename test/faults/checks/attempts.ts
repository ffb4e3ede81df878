// I9: attempts keep the policy, and what is parked is in the dead letters, once a generation.
import { fromBinary } from '@bufbuild/protobuf'
import {
  PlateStateSchema,
  RunState,
  SiteStateSchema,
  WellStateSchema,
  type StepRun,
} from '#proto/wellspring/journal/v1/state_pb.ts'
import type { Evidence } from '../evidence.ts'
import { once } from './names.ts'
import { deadLetters, journals, placeOf, results } from './records.ts'

export function attempts(evidence: Evidence): string[] {
  const complaints: string[] = []
  const max = new Map(evidence.pipeline.steps.map((step) => [step.name, step.attemptsMax]))
  const judge = (where: string, step: string, count: number): void => {
    const most = max.get(step) ?? Number.POSITIVE_INFINITY
    if (count > most) complaints.push(`${where}: ${count} attempts, the contract allows ${most}`)
  }
  for (const { record, message } of results(evidence))
    judge(`${placeOf(record)} ${message.entity}/${message.step}`, message.step, message.attempts)
  for (const { entity, step, attempt, key } of evidence.calls)
    judge(`${entity}/${step} was called under ${key}`, step, attempt)
  const parked = new Map<string, number>()
  for (const { record, message } of deadLetters(evidence)) {
    const { entity, step, generation } = message
    if (step === '') continue
    judge(`${placeOf(record)} ${entity}/${step}`, step, message.attempts)
    const name = `${entity}/${step} g${generation}`
    const times = (parked.get(name) ?? 0) + 1
    parked.set(name, times)
    if (times === 2) complaints.push(`${name} is in the dead letters more than once`)
  }
  for (const { entity, step, run } of runsAtRest(evidence))
    if (run.state === RunState.PARKED && !parked.has(`${entity}/${step} g${run.generation}`))
      complaints.push(`${entity}/${step} g${run.generation} is parked, and in no dead letter`)
  return complaints
}

export type RunAtRest = { readonly entity: string; readonly step: string; readonly run: StepRun }

/** Every step run of the last state in the log. */
export const runsAtRest = once((evidence): readonly RunAtRest[] => {
  const found: RunAtRest[] = []
  const take = (entity: string, runs: readonly StepRun[]): void => {
    for (const run of runs)
      found.push({
        entity,
        step: evidence.pipeline.steps[run.step]?.name ?? `step ${run.step}`,
        run,
      })
  }
  for (const journal of journals(evidence).values()) {
    const last = new Map(journal.map(({ key, value }) => [key ?? '', value]))
    for (const [key, value] of last) {
      // Further images of a site are in records beside its own, of the same form.
      const [entity = '', beside = ''] = key.split('#')
      if (value === null || entity === '' || !/^(images\..*)?$/.test(beside)) continue
      const segments = entity.split('/').length
      if (segments === 3) take(entity, fromBinary(PlateStateSchema, value).runs)
      if (segments === 5) take(entity, fromBinary(WellStateSchema, value).runs)
      if (segments !== 6) continue
      const site = fromBinary(SiteStateSchema, value)
      take(entity, site.runs)
      for (const { z, channel, runs } of site.images) take(`${entity}/z${z}/${channel?.name}`, runs)
    }
  }
  return found
})
