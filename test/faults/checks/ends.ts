// T5, I1: everything planned ends in exactly one of a result, a dead letter and a hole, and nothing is there twice.
import type { CommittedRecord, Evidence, Position } from '../evidence.ts'
import { once, planned, stepsAt, upwards } from './names.ts'
import {
  announcements,
  closes,
  deadLetters,
  isLost,
  latestCloses,
  placeOf,
  plateEvents,
  results,
} from './records.ts'

export type End = {
  readonly kind: 'result' | 'dead-letter'
  readonly revision: number
  readonly generation: number
  readonly record: CommittedRecord
}

/** T5. */
export function allEnded(evidence: Evidence): string[] {
  const complaints: string[] = []
  const holes = holesNamed(evidence)
  const unnamed = new Map<string, Set<string>>()
  for (const { entity, level } of planned(evidence).values())
    for (const { name: step } of stepsAt(evidence, level)) {
      const run = `${entity}/${step}`
      const ends = latestEnds(evidence, run)
      if (new Set(ends.map(({ kind }) => kind)).size > 1)
        complaints.push(`${run} has a result and a dead letter of one revision and generation`)
      const hole = holeOver(holes, entity)
      if (ends.some(({ kind }) => kind === 'result') && hole?.reason === 'NEVER_ARRIVED')
        complaints.push(`${run} has a result, and the close of ${hole.by} says it never arrived`)
      if (ends.length > 0 || hole !== undefined) continue
      if (
        latestCloses(evidence)
          .get(entity)
          ?.skipped.some((skip) => skip.step === step)
      )
        continue
      const above = leftOutBy(evidence, entity)
      if (above) unnamed.set(above.by, (unnamed.get(above.by) ?? new Set()).add(above.member))
      else complaints.push(`${run} has no result, no dead letter, and no close names it a hole`)
    }
  for (const [by, members] of unnamed) {
    const leftOut = latestCloses(evidence).get(by)?.holesLeftOut ?? 0
    if (members.size > leftOut)
      complaints.push(`${by}: ${members.size} members have no end; its close leaves out ${leftOut}`)
  }
  return complaints
}

/** Ends of a step run that no later one replaces: one, or two that contradict each other. */
function latestEnds(evidence: Evidence, run: string): readonly End[] {
  return endsByRun(evidence).get(run) ?? []
}

const endsByRun = once((evidence) => {
  const ends = new Map<string, End[]>()
  const take = (run: string, end: End): void => {
    const known = ends.get(run)?.[0]
    const order =
      known === undefined ? 1 : end.revision - known.revision || end.generation - known.generation
    if (order > 0) ends.set(run, [end])
    if (order === 0) ends.get(run)?.push(end)
  }
  for (const { record, message } of results(evidence)) {
    const { entity, step, revision, generation } = message
    take(`${entity}/${step}`, { kind: 'result', revision, generation, record })
  }
  for (const { record, message } of deadLetters(evidence)) {
    const { entity, step, revision, generation } = message
    if (step !== '')
      take(`${entity}/${step}`, { kind: 'dead-letter', revision, generation, record })
  }
  return ends
})

type NamedHole = { readonly by: string; readonly reason: string }

/** Holes of the latest closes, by entity. */
const holesNamed = once((evidence): ReadonlyMap<string, NamedHole> => {
  const holes = new Map<string, NamedHole>()
  for (const [by, close] of latestCloses(evidence))
    for (const { entity, reason } of close.holes)
      if (entity.startsWith(`${by}/`)) holes.set(entity, { by, reason })
  return holes
})

function holeOver(holes: ReadonlyMap<string, NamedHole>, entity: string): NamedHole | undefined {
  for (const one of upwards(entity)) {
    const hole = holes.get(one)
    if (hole) return hole
  }
  return undefined
}

/** A group above whose list of holes was too long, and which of its members the entity is or is in. */
function leftOutBy(
  evidence: Evidence,
  entity: string,
): { readonly by: string; readonly member: string } | undefined {
  let member = entity
  for (const by of upwards(entity)) {
    if (by !== entity && (latestCloses(evidence).get(by)?.holesLeftOut ?? 0) > 0)
      return { by, member }
    member = by
  }
  return undefined
}

/** I1: no key twice, revisions count 1, 2, …, every plate is told of, and what was refused is set aside once. */
export function exactlyOnce(evidence: Evidence): string[] {
  return [
    ...keysTwice(evidence),
    ...revisionsInOrder(evidence),
    ...platesTold(evidence),
    ...refusedOnce(evidence),
  ]
}

function keysTwice({ committed }: Evidence): string[] {
  const seen = new Map<string, CommittedRecord>()
  return committed.flatMap((record) => {
    if (!['results.v1', 'quality.v1', 'dead-letters.v1'].includes(record.topic)) return []
    const name = `${record.topic} ${record.key}`
    const first = seen.get(name)
    seen.set(name, first ?? record)
    return first ? [`${record.key} is at ${placeOf(first)} and again at ${placeOf(record)}`] : []
  })
}

function revisionsInOrder(evidence: Evidence): string[] {
  const last = new Map<string, number>()
  const complaints: string[] = []
  const { label } = evidence.pipeline
  const take = (record: CommittedRecord, run: string, revision: number): void => {
    const before = last.get(run) ?? 0
    if (revision !== before + 1)
      complaints.push(`${placeOf(record)}: ${run} has revision ${revision} after ${before}`)
    last.set(run, Math.max(before, revision))
    const key = `${run}@${label}#${revision}`
    if (record.key !== key)
      complaints.push(`${placeOf(record)} is ${key} under the key ${record.key}`)
  }
  for (const { record, message } of results(evidence)) {
    const { entity, step, revision, supersedesRevision } = message
    take(record, `${entity}/${step}`, revision)
    if (supersedesRevision !== revision - 1)
      complaints.push(`${record.key} says it replaces revision ${supersedesRevision}`)
  }
  for (const { record, message } of closes(evidence))
    take(record, `${message.entity}/close`, message.revision)
  return complaints
}

/** plate-events.v1: one per close that was completed, and at rest the latest was. */
function platesTold(evidence: Evidence): string[] {
  const complaints: string[] = []
  const told = new Set<string>()
  for (const { record, message } of plateEvents(evidence)) {
    const name = `${message.entity}#${message.revision}`
    if (told.has(name)) complaints.push(`${placeOf(record)}: plate event ${name} is there twice`)
    told.add(name)
  }
  for (const [entity, { revision }] of latestCloses(evidence)) {
    const isPlate = entity.split('/').length === 3
    if (isPlate && !told.has(`${entity}#${revision}`))
      complaints.push(`no plate event tells of close ${revision} of ${entity}`)
  }
  return complaints
}

/** What cannot be taken in ends in one dead letter, and a good image of a plan in none. */
function refusedOnce(evidence: Evidence): string[] {
  const letters = new Map<string, number>()
  const tooLate = new Set<string>()
  for (const { message } of deadLetters(evidence)) {
    if (!message.origin) continue
    const place = placeOf(message.origin)
    letters.set(place, (letters.get(place) ?? 0) + 1)
    // Its plate was finished and forgotten: nothing can be told of the image any more.
    if (message.failure?.reason === 'PLATE_RETIRED') tooLate.add(place)
  }
  const readable = new Set(announcements(evidence).map(({ record }) => placeOf(record)))
  const { poisoned: made, incoming } = evidence.circumstances
  // What may be either is judged elsewhere (H1).
  const odd = new Set(incoming?.odd.map(placeOf))
  const isToBeRefused = (place: Position): boolean =>
    !odd.has(placeOf(place)) && !isLost(evidence, place)
  const poisoned = new Set(made.filter(isToBeRefused).map(placeOf))
  for (const record of evidence.committed)
    if (record.topic === 'images.v1' && !readable.has(placeOf(record)) && isToBeRefused(record))
      poisoned.add(placeOf(record))
  const refused = [...poisoned].flatMap((place) => {
    const count = letters.get(place) ?? 0
    return count === 1 ? [] : [`${place} cannot be taken in, and has ${count} dead letters`]
  })
  const innocent = announcements(evidence).flatMap(({ record, entity }) => {
    const place = placeOf(record)
    const isGood =
      planned(evidence).has(entity) && ![poisoned, tooLate, odd].some((exempt) => exempt.has(place))
    return isGood && letters.has(place)
      ? [`${place} is ${entity}, a good image, and was refused`]
      : []
  })
  return [...refused, ...innocent]
}
