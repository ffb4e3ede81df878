// I3: one key per effect, and no two executions of one key at a time in a process.
import type { CallLine, Evidence } from '../evidence.ts'
import { results } from './records.ts'

export function keys(evidence: Evidence): string[] {
  return [...onePerEffect(evidence), ...overlapping(evidence.calls), ...twice(evidence)]
}

/** Same (entity, step, generation, inputs) ⇔ same key. */
function onePerEffect(evidence: Evidence): string[] {
  const keyOf = new Map<string, string>()
  const effectOf = new Map<string, string>()
  const complaints = new Set<string>()
  const same = (known: Map<string, string>, name: string, value: string, what: string): void => {
    const before = known.get(name)
    if (before === undefined) known.set(name, value)
    else if (before !== value) complaints.add(`${what} ${name} has ${before} and ${value}`)
  }
  for (const { message } of results(evidence)) {
    const { entity, step, generation, inputDigest, idempotencyKey } = message
    const effect = `${entity}/${step} g${generation} of ${inputDigest}`
    same(keyOf, effect, idempotencyKey, 'effect')
    same(effectOf, idempotencyKey, effect, 'key')
  }
  const runOf = new Map<string, string>()
  for (const { key, entity, step } of evidence.calls) same(runOf, key, `${entity}/${step}`, 'key')
  for (const { message } of results(evidence))
    same(runOf, message.idempotencyKey, `${message.entity}/${message.step}`, 'key')
  return [...complaints]
}

function overlapping(calls: readonly CallLine[]): string[] {
  // A service that notes no process keeps no such promise.
  const noted = calls.filter(({ pid }) => pid !== 0)
  const byProcess = Map.groupBy(noted, ({ pid, key }) => `${pid} ${key}`)
  return [...byProcess.values()].flatMap((list) => {
    const complaints: string[] = []
    let last: CallLine | undefined
    for (const call of list.toSorted((a, b) => a.start - b.start || a.end - b.end)) {
      if (last && call.start < last.end)
        complaints.push(
          `${call.entity}/${call.step}: process ${call.pid} executed ${call.key} from ${last.start} to ${last.end} ` +
            `and again from ${call.start}`,
        )
      if (!last || call.end > last.end) last = call
    }
    return complaints
  })
}

/** A step that must not happen twice has one good execution per key. */
function twice({ pipeline, calls }: Evidence): string[] {
  const harmful = new Set(
    pipeline.steps.filter((one) => one.isNotIdempotent).map(({ name }) => name),
  )
  const done = Map.groupBy(
    calls.filter(({ step, outcome }) => outcome === 'ok' && harmful.has(step)),
    ({ key }) => key,
  )
  return [...done].flatMap(([key, list]) =>
    list.length > 1
      ? [`${list[0]?.entity}/${list[0]?.step}: the effect ${key} happened ${list.length} times`]
      : [],
  )
}
