// The next of the inputs, taken in under the guard against what kills a process or throws.
import type { Event } from '../core/event.ts'
import { UnreadableState } from '../core/unreadable.ts'
import { failureOf, type CrashGuard } from './crash-guard.ts'
import type { Inbox } from './inbox.ts'
import type { Intake } from './intake.ts'
import { LogError } from '@wellspring/kafka/errors.ts'

type Parts = { readonly inbox: Inbox; readonly crashGuard: CrashGuard; readonly intake: Intake }

/**
 * False: a flush must be committed before anything more is taken in. What `take` throws becomes a LogError of kind
 * unknown: memory is not to be trusted, and the next time the record is set aside. UnreadableState stays what it is.
 */
export function takeNext(
  { inbox, crashGuard, intake }: Parts,
  take: (event: Event) => void,
): boolean {
  const input = inbox.peek()
  if (!input) return true
  if (!crashGuard.mayTake(input)) return false
  const guilt = crashGuard.guiltOf(input)
  if ('batch' in input && !guilt) {
    inbox.open()
    return true
  }
  inbox.take()
  try {
    take(intake.eventOf(input, guilt))
  } catch (error) {
    // That is not the record's fault.
    if (error instanceof UnreadableState) throw error
    crashGuard.blame(input, error)
    throw new LogError('unknown', failureOf(error), { cause: error })
  }
  crashGuard.taken(input, inbox.size() === 0)
  return true
}
