// Invariants (../INVARIANTS.md) asserted where code relies on them. One that does not hold is a defect of ours: whatever
// the event or the flush has done so far is forgotten, since it was computed from what cannot be.

/** By their numbers in INVARIANTS.md. */
export type InvariantId = 'T1' | 'T2' | 'I1' | 'I2' | 'I4' | 'I10'

export class InvariantBroken extends Error {
  readonly invariant: InvariantId
  /** The entity or the place that it was noticed at. */
  readonly at: string

  constructor(invariant: InvariantId, sentence: string, at: string) {
    super(`invariant ${invariant} is broken at ${at}: it must hold that ${sentence}`)
    this.name = 'InvariantBroken'
    this.invariant = invariant
    this.at = at
  }
}

/**
 * Throws InvariantBroken unless the condition holds; `sentence` completes "it must hold that". Thrown while a record is
 * taken in, the record is set aside; while an outcome or a deadline is, its plate stops; in a flush, the task is taken
 * over again from what is committed. Nothing is made while it holds: this stands on the hot path.
 */
export function invariant(
  condition: boolean,
  id: InvariantId,
  sentence: string,
  at: string,
): asserts condition {
  if (!condition) throw new InvariantBroken(id, sentence, at)
}
