// When an ingested plate closes without what its metadata promised.
export type Completeness = {
  /** Share of the expected members, 0 to 1. */
  readonly quorum: number
  readonly quorumAfterMs: number
  readonly deadlineMs: number
}

/** Everything on disk is announced at once, so half a minute of quiet means that nothing more comes. */
export const COMPLETENESS: Completeness = { quorum: 0.9, quorumAfterMs: 10_000, deadlineMs: 30_000 }
