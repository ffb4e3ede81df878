// Figures of a workload: how they are gathered, and how they are shown.

/** What a workload gives: one JSON line, and words for people. */
export type Figures = {
  readonly workload: string
  /** Whether every target of the workload was reached. */
  readonly ok: boolean
  readonly [name: string]: unknown
}

export type Say = (line: string) => void

export type Workload = {
  readonly name: string
  readonly what: string
  run(say: Say): Promise<Figures>
}

/** The p-th part (0 … 1) of values by nearest rank; NaN of none. */
export function quantile(values: readonly number[], p: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil(p * sorted.length) - 1)] ?? NaN
}

/** The middle value, the mean of the two middle ones of an even number. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const half = sorted.length / 2
  const [low = NaN, high = NaN] = [sorted[Math.ceil(half) - 1], sorted[Math.floor(half)]]
  return (low + high) / 2
}

/** Largest less smallest. */
export function spread(values: readonly number[]): number {
  return Math.max(...values) - Math.min(...values)
}

export function rounded(value: number, digits = 3): number {
  return Number(value.toFixed(digits))
}

/** A whole number from the environment, for longer or shorter runs. */
export function setting(name: string, standard: number): number {
  const value = Number(process.env[name] ?? standard)
  if (!Number.isInteger(value) || value < 1)
    throw new Error(`${name}="${process.env[name]}" is no whole number from 1`)
  return value
}
