// The kinds of trouble that come in: when each comes, drawn from a seed. Pure; all.ts carries them out.
import { deck, diceOf } from '../dice.ts'

export const KINDS = [
  'null-header',
  'bomb',
  'fat-entity',
  'share-gone',
  'retention',
  'odd-replica',
  'fifo-output',
  'otlp-flood',
] as const
export type Kind = (typeof KINDS)[number]

/** What a wrapper says its output is, and is not. */
export const OUTPUTS = ['fifo', 'sparse', 'symlink'] as const
export type Output = (typeof OUTPUTS)[number]

/** renumbered: two fields of the request have changed places; grown: it has a field more, and fits. */
export const VARIANTS = ['renumbered', 'grown'] as const
export type Variant = (typeof VARIANTS)[number]

export type KindFault =
  /** One of each odd record, on every topic that is read. */
  | { readonly kind: 'null-header' }
  /** A small batch of each codec that is huge once it is opened. */
  | { readonly kind: 'bomb' }
  /** The largest site, the largest plan, and the longest attempts. */
  | { readonly kind: 'fat-entity' }
  /** The folder that a plate's images are in is moved away, and put back. */
  | { readonly kind: 'share-gone'; readonly forMs: number }
  /** Records of one input partition are deleted before they are read; an operator accepts it. */
  | { readonly kind: 'retention'; readonly partition: number; readonly forMs: number }
  | { readonly kind: 'odd-replica'; readonly variant: Variant; readonly forMs: number }
  | { readonly kind: 'fifo-output'; readonly output: Output; readonly forMs: number }
  | { readonly kind: 'otlp-flood'; readonly coordinator: number }

export type PlannedKind = { readonly atMs: number; readonly fault: KindFault }

export type KindsOptions = {
  readonly seed: number
  readonly minutes: number
  readonly coordinators: number
  readonly tasks: number
  readonly kinds: readonly Kind[]
}

const limits = {
  /** Of a run that is long enough to judge neighbours; a short one crowds them. */
  gapMs: 12_000,
  crowdedMs: 4_000,
  crowdedMinutes: 2,
  /** Of the whole run, at most so much for kinds alone; of a short one less. */
  shareMax: 0.4,
  crowdedShareMax: 0.3,
  /** Later they come among all other faults. */
  laterMs: 20_000,
  forMs: 8_000,
} as const

/** How long kinds come with nothing else going on. */
export function kindsMs({ minutes, kinds }: Pick<KindsOptions, 'minutes' | 'kinds'>): number {
  const gapMs = gapOf(minutes)
  const shareMax = minutes < limits.crowdedMinutes ? limits.crowdedShareMax : limits.shareMax
  return gapMs * Math.min(kinds.length, Math.floor((minutes * 60_000 * shareMax) / gapMs))
}

/** From a moment on each kind once in a drawn order, as many as there is time for, and then among other faults. */
export function kindFaults(options: KindsOptions, fromMs: number): PlannedKind[] {
  const { seed, minutes, kinds } = options
  if (kinds.length === 0) return []
  // Dice of their own: other faults are the same with and without them.
  const dice = diceOf(seed ^ SALT)
  const faults = drawn(dice, options)
  const planned: PlannedKind[] = []
  const aloneMs = fromMs + kindsMs(options)
  for (let atMs = fromMs; atMs < aloneMs; atMs += gapOf(minutes))
    planned.push({ atMs, fault: faults.next().value })
  for (let atMs = aloneMs + limits.laterMs; atMs < minutes * 60_000; atMs += limits.laterMs)
    planned.push({ atMs: Math.round(atMs + dice() * limits.crowdedMs), fault: faults.next().value })
  return planned
}

const SALT = 0x6b696e64
const gapOf = (minutes: number): number =>
  minutes < limits.crowdedMinutes ? limits.crowdedMs : limits.gapMs

function* drawn(
  dice: () => number,
  { kinds, tasks, coordinators }: KindsOptions,
): Generator<KindFault, never> {
  const order = deck(dice, kinds)
  const outputs = deck(dice, OUTPUTS)
  const variants = VARIANTS.values()
  for (;;) {
    const kind = order.next().value
    const forMs = Math.round(limits.forMs * (0.6 + dice() * 0.4))
    switch (kind) {
      case 'null-header':
      case 'bomb':
      case 'fat-entity':
        yield { kind }
        break
      case 'share-gone':
        yield { kind, forMs }
        break
      case 'retention':
        yield { kind, forMs, partition: Math.floor(dice() * tasks) }
        break
      case 'odd-replica':
        // The one that does not fit comes first, and every other time.
        yield {
          kind,
          forMs,
          variant: variants.next().value ?? (dice() < 0.5 ? 'renumbered' : 'grown'),
        }
        break
      case 'fifo-output':
        yield { kind, forMs, output: outputs.next().value }
        break
      case 'otlp-flood':
        yield { kind, coordinator: Math.floor(dice() * coordinators) }
        break
    }
  }
}
