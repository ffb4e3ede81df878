// What wrappers say of failures beside the words of their contracts: the reasons that each may fail for and the classes
// that these may have, that the program ended, and the wish of a caller to have it to itself.
import { ErrorClass } from '#proto/wellspring/contract/v1/errors_pb.ts'

const { RETRYABLE, OVERLOADED, PERMANENT, POISON, AMBIGUOUS } = ErrorClass

/** The first class is meant where none of them is stated. README.md of services/ says when each is used. */
export const KIT_REASONS = {
  /** POISON: what an artifact's URI names can be no file here. */
  INVALID_REQUEST: [PERMANENT, POISON],
  BAD_RESPONSE: [PERMANENT],
  FULL: [OVERLOADED],
  /** AMBIGUOUS: the step must not run twice, and may have begun. */
  DISK_FULL: [RETRYABLE, AMBIGUOUS],
  DEADLINE_EXCEEDED: [AMBIGUOUS],
  CANCELLED: [AMBIGUOUS],
  DRAINING: [AMBIGUOUS],
  /** What failed is not declared, whatever is claimed of it. */
  UNDECLARED: [AMBIGUOUS],
} as const satisfies Readonly<Record<string, readonly [ErrorClass, ...ErrorClass[]]>>

export type KitReason = keyof typeof KIT_REASONS

export function isKitReason(reason: string): reason is KitReason {
  return Object.hasOwn(KIT_REASONS, reason)
}

/** ErrorInfo.metadata: the program ended over this call. */
export const PROGRAM_ENDED = 'program_ended'
/** Whether it worked on this call alone when it ended. */
export type ProgramEnded = 'alone' | 'among-others'

/** Metadata of a call, '1': to be worked on while nothing else is, since it may end the program. */
export const ALONE = 'wellspring-alone'
