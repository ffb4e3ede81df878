// Again, and when.
import type { Policy } from './pipeline/pipeline.ts'

/**
 * Full jitter: uniform below initial * multiplier^(attempt - 1), capped, in ms (Brooker, "Exponential Backoff And
 * Jitter"). attempt counts from 1; dice is in [0, 1).
 */
export function backoffMs(attempt: number, policy: Policy, dice: number): number {
  const ceilingMs = Math.min(
    policy.backoffMaxMs,
    policy.backoffInitialMs * policy.backoffMultiplier ** (attempt - 1),
  )
  return Math.max(1, Math.floor(dice * ceilingMs))
}
