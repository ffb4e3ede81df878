// Chance from a text seed: the same text gives the same numbers, everywhere.

export interface Dice {
  /** From 0 up to, but not, 1. */
  next(): number
  /** From min up to, but not, max. */
  between(min: number, max: number): number
  /** A whole number from 0 to below n. */
  below(n: number): number
  /** A whole number from the first to the second, both included. */
  from(range: readonly [number, number]): number
  /** Standard normal. */
  normal(): number
}

/** sfc32 seeded by FNV-1a of the text; fast enough for every pixel. */
export function diceOf(seed: string): Dice {
  let a = fnv1a(seed)
  let b = fnv1a(`${seed}b`)
  let c = fnv1a(`${seed}c`)
  let counter = 1
  let spare: number | undefined
  const next = (): number => {
    const t = (((a + b) | 0) + counter) | 0
    counter = (counter + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = (((c << 21) | (c >>> 11)) + t) | 0
    return (t >>> 0) / 4_294_967_296
  }
  for (let i = 0; i < 12; i++) next()
  const normal = (): number => {
    if (spare !== undefined) {
      const kept = spare
      spare = undefined
      return kept
    }
    // Box-Muller gives two at a time.
    const radius = Math.sqrt(-2 * Math.log(1 - next()))
    const angle = 2 * Math.PI * next()
    spare = radius * Math.sin(angle)
    return radius * Math.cos(angle)
  }
  return {
    next,
    between: (min, max) => min + (max - min) * next(),
    below: (n) => Math.floor(next() * n),
    from: ([min, max]) => min + Math.floor(next() * (max - min + 1)),
    normal,
  }
}

function fnv1a(text: string): number {
  let hash = 0x811c9dc5
  for (const char of text) hash = Math.imul(hash ^ (char.codePointAt(0) ?? 0), 0x01000193)
  return hash | 0
}
