// Data that ends the program that works on it. Whatever was in hand when a program ended is under suspicion: what was
// there twice is worked on alone, and what ends it alone too is poison. The others are not blamed.
import { create } from '@bufbuild/protobuf'
import { ErrorClass } from '#proto/wellspring/contract/v1/errors_pb.ts'
import { Level } from '#proto/wellspring/contract/v1/options_pb.ts'
import type { StepRun } from '#proto/wellspring/journal/v1/state_pb.ts'
import { StepFailureSchema, type StepFailure } from '#proto/wellspring/step/v1/failure_pb.ts'
import { openTrouble } from './attempts.ts'
import { nameOf } from './pipeline/contract.ts'
import type { Outcome } from './event.ts'
import type { Step } from './pipeline/pipeline.ts'

/** Ends that may be another's doing; then it is worked on alone. */
const ENDS_AMONG_OTHERS_MAX = 2
/** Ends in all, and of them alone, that are its own doing. */
const BLAMED = { ends: 3, alone: 2 } as const

/** Whether the next attempt of a run is to be worked on alone. Few attempts leave less time to find out. */
export function isSuspect(run: StepRun, { policy }: Step): boolean {
  const among = policy.attemptsMax > ENDS_AMONG_OTHERS_MAX + 1 ? ENDS_AMONG_OTHERS_MAX : 1
  return (run.trouble?.programEnds ?? 0) >= among
}

/**
 * Takes in whether the program ended over the attempt that failed. Returns the failure that the run is set aside for,
 * if it is found out; `isLast`: there is no attempt more.
 */
export function blame(
  run: StepRun,
  level: Level,
  { failure, programEnded }: Extract<Outcome, { kind: 'failed' }>,
  isLast: boolean,
): StepFailure | undefined {
  if (programEnded === undefined) return undefined
  const trouble = openTrouble(run)
  trouble.programEnds += 1
  if (programEnded === 'alone') trouble.programEndsAlone += 1
  const { programEnds: ends, programEndsAlone: alone } = trouble
  const isFoundOut = ends >= BLAMED.ends && alone >= BLAMED.alone
  const isAllThereIs = isLast && ends > 1 && alone > 0
  if (!isFoundOut && !isAllThereIs) return undefined
  const what = nameOf(Level, level).toLowerCase()
  return create(StepFailureSchema, {
    ...failure,
    class: ErrorClass.POISON,
    reason: 'ENDS_PROGRAM',
    message: `this ${what} ended the program ${ends} times; the last time: ${failure.message}`,
    hint: `look at the ${what} with another program; when this one is mended, redrive it`,
  })
}
