// How well a plate's controls are apart. Every function answers undefined, and never a number that flatters, when
// a control has fewer than two wells or the controls do not vary: without variance Z' would be a false 1.

type Values = readonly number[]

/**
 * Z' = 1 − 3 (σp + σn) / |μp − μn|, sample standard deviations. Above 0 a plate can be screened, above 0.5 it is
 * excellent. Source: Zhang, Chung and Oldenburg, J. Biomol. Screen. 4(2), 1999; cellHTS2 getZfactor.R.
 */
export function zPrime(positive: Values, negative: Values): number | undefined {
  return factor(positive, negative, { centre: mean, spread: deviation })
}

/** Z' with medians and 1.4826 MAD: one outlying well does not spoil it. Source: cellHTS2 getZfactor.R, robust. */
export function robustZPrime(positive: Values, negative: Values): number | undefined {
  return factor(positive, negative, { centre: median, spread: scaledMad })
}

/** SSMD = (μp − μn) / √(σp² + σn²). Source: Zhang, J. Biomol. Screen. 12(4), 2007. */
export function ssmd(positive: Values, negative: Values): number | undefined {
  return difference(positive, negative, { centre: mean, spread: deviation })
}

/** SSMD with medians and 1.4826 MAD. Source: as ssmd, robust form. */
export function robustSsmd(positive: Values, negative: Values): number | undefined {
  return difference(positive, negative, { centre: median, spread: scaledMad })
}

/** Coefficient of variation, σ / |μ|. */
export function variation(values: Values): number | undefined {
  if (values.length < 2 || !varies(values) || mean(values) === 0) return undefined
  return deviation(values) / Math.abs(mean(values))
}

type Form = {
  readonly centre: (values: Values) => number
  readonly spread: (values: Values) => number
}

function factor(positive: Values, negative: Values, form: Form): number | undefined {
  const gap = form.centre(positive) - form.centre(negative)
  const spread = form.spread(positive) + form.spread(negative)
  return isSound(positive, negative, spread) && gap !== 0
    ? 1 - (3 * spread) / Math.abs(gap)
    : undefined
}

function difference(positive: Values, negative: Values, form: Form): number | undefined {
  const gap = form.centre(positive) - form.centre(negative)
  const spread = Math.hypot(form.spread(positive), form.spread(negative))
  return isSound(positive, negative, spread) ? gap / spread : undefined
}

function isSound(positive: Values, negative: Values, spread: number): boolean {
  if (positive.length < 2 || negative.length < 2) return false
  return (varies(positive) || varies(negative)) && spread > 0
}

// Rounding gives equal values a standard deviation of 1e-17, so the values themselves are asked.
function varies(values: Values): boolean {
  return values.some((value) => value !== values[0])
}

function mean(values: Values): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}

function deviation(values: Values): number {
  if (!varies(values)) return 0
  const centre = mean(values)
  const squares = values.reduce((sum, value) => sum + (value - centre) ** 2, 0)
  return Math.sqrt(squares / (values.length - 1))
}

function median(values: Values): number {
  const sorted = values.toSorted((a, b) => a - b)
  const half = sorted.length / 2
  return ((sorted[Math.ceil(half) - 1] ?? NaN) + (sorted[Math.floor(half)] ?? NaN)) / 2
}

function scaledMad(values: Values): number {
  const centre = median(values)
  return 1.4826 * median(values.map((value) => Math.abs(value - centre)))
}
