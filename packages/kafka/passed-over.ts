// What a reader passed because it cannot be read: counted, and told once in a while, however much of it there is.
import type { Logger } from './logger.ts'
import { nameOf } from './fetched.ts'
import type { Unreadable } from './records.ts'

const TELL_EVERY_MS = 60_000

/** Counts; the first is told at once, the next after a minute. */
export function passedOver(logger: Logger | undefined): (unreadable: Unreadable) => void {
  let toldMs = -Infinity
  let passed = 0
  return (unreadable) => {
    passed += 1
    if (performance.now() - toldMs < TELL_EVERY_MS) return
    toldMs = performance.now()
    const { reason, message } = unreadable
    logger?.('warn', 'passed what cannot be read', {
      last: nameOf(unreadable),
      reason,
      why: message,
      passed,
    })
  }
}
