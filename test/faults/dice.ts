// Chance from a seed: the same seed, the same draws.

/** Uniform in [0, 1), the same for the same seed (mulberry32). */
export function diceOf(seed: number): () => number {
  let at = seed >>> 0
  return () => {
    at = (at + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(at ^ (at >>> 15), at | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** All cards in a drawn order, again and again. */
export function* deck<T>(dice: () => number, cards: readonly T[]): Generator<T, never> {
  for (;;)
    yield* cards
      .map((card) => ({ card, at: dice() }))
      .toSorted((a, b) => a.at - b.at)
      .map(({ card }) => card)
}
