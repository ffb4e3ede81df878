// Which step runs a person means: an entity and everything below it, and --where step=…,reason=…,class=….
import type { DeadLetter, EntityStatus } from '#proto/wellspring/record/v1/output_pb.ts'
import type { Ledger, RunEnd } from './ledger.ts'
import { classWord } from './states.ts'
import type { Field, Where } from './where.ts'

export type Parked = RunEnd & { readonly deadLetter: DeadLetter }

/** The runs that are parked now, at or below an entity (all of it, or its last parts), where the fields match. */
export function parkedRuns(ledger: Ledger, within: string, where: Where): Parked[] {
  return [...ledger.ends.values()].flatMap((end) => {
    const { entity, deadLetter } = end
    if (deadLetter === undefined || !isWithin(entity, within)) return []
    const fits = [...where].every(([field, value]) => fieldOf(field, entity, deadLetter) === value)
    return fits ? [{ ...end, deadLetter }] : []
  })
}

/** A plate that is stopped now, and why. */
export type StoppedPlate = { readonly entity: string; readonly reason: string }

/** Plates among these statuses, the latest of each, that are stopped now, at or below what is named or above it. */
export function stoppedPlates(
  statuses: ReadonlyMap<string, EntityStatus>,
  within: string,
): StoppedPlate[] {
  return [...statuses.values()].flatMap(({ entity, stopped, retiredAt }) => {
    if (!stopped || retiredAt || !isWithin(entity, within)) return []
    return [{ entity, reason: stopped.reason }]
  })
}

/** True when an entity is the named one, below it, or named by an inner run of its parts ("P1/B07"). */
export function isWithin(entity: string, within: string): boolean {
  return within === '' || `/${entity}/`.includes(`/${within.replace(/^\/|\/$/g, '')}/`)
}

const LEVELS: Readonly<Record<number, string>> = { 3: 'plate', 5: 'well', 6: 'site', 8: 'image' }

function fieldOf(field: Field, entity: string, letter: DeadLetter): string {
  const parts = entity.split('/')
  switch (field) {
    case 'step':
      return letter.step
    case 'reason':
      return letter.failure?.reason ?? ''
    case 'class':
      return classWord(letter.failure?.class ?? 0)
    case 'level':
      return LEVELS[parts.length] ?? ''
    case 'plate':
      return parts[1] ?? ''
    case 'well':
      return parts[3] ?? ''
  }
}
