/**
 * CellProfiler's PowerLogLogSlope: slope of ln S(r) over ln r, where S(r) sums the power spectrum over the
 * pixels with floor(radius) + 1 = r, r = 2 … floor(N / 8) − 1.
 *
 * Source: CellProfiler measureimagequality.py and centrosome radial_power_spectrum.py, with two habits kept:
 * S is a sum and not a mean, and indices wrap at N − 1 and not at N. Left out: the division by the median
 * absolute deviation, which shifts ln S and never its slope. Over the largest centred square of a power of
 * two up to `sideMaxPx`, where CellProfiler takes the whole image.
 * @returns 0 for a flat image, and for one with a side of less than 32 px.
 */
export function powerLogLogSlope(image: Plane): number {
  const square = centredSquare(image)
  const { side, re } = square
  let sum = 0
  for (const value of re) sum += value
  const mean = sum / re.length
  for (let i = 0; i < re.length; i++) re[i] = (re[i] ?? 0) - mean
  const im = new Float64Array(re.length)
  const radiusMax = Math.floor(side / 8) - 1
  transform(re, im, { side, radiusMax })
  const sums = new Float64Array(radiusMax + 1)
  const near = lowFrequencies(side, radiusMax)
  for (const v of near) {
    for (const u of near) {
      const radius = Math.floor(Math.hypot(wrapped(u, side), wrapped(v, side))) + 1
      if (radius > radiusMax) continue
      const at = v * side + u
      sums[radius] = (sums[radius] ?? 0) + (re[at] ?? 0) ** 2 + (im[at] ?? 0) ** 2
    }
  }
  return slopeOfLogs(sums)
}

type Plane = {
  readonly values: ArrayLike<number>
  readonly widthPx: number
  readonly heightPx: number
}

const sideMaxPx = 512

function centredSquare(image: Plane): { readonly side: number; readonly re: Float64Array } {
  const { widthPx, heightPx, values } = image
  const side = Math.min(sideMaxPx, 2 ** Math.floor(Math.log2(Math.min(widthPx, heightPx))))
  const left = Math.floor((widthPx - side) / 2)
  const top = Math.floor((heightPx - side) / 2)
  const re = new Float64Array(side * side)
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) re[y * side + x] = values[(top + y) * widthPx + left + x] ?? 0
  }
  return { side, re }
}

function wrapped(index: number, side: number): number {
  return Math.min(index, side - 1 - index)
}

// Indices that can lie within the radius: the others are never looked at, so never transformed.
function lowFrequencies(side: number, radiusMax: number): number[] {
  const all = Array.from({ length: side }, (_, index) => index)
  return all.filter((index) => wrapped(index, side) < radiusMax)
}

// Rows whole, then only the columns of low frequency.
function transform(
  re: Float64Array,
  im: Float64Array,
  { side, radiusMax }: { readonly side: number; readonly radiusMax: number },
): void {
  const fft = plan(side)
  for (let y = 0; y < side; y++) {
    fft(re.subarray(y * side, (y + 1) * side), im.subarray(y * side, (y + 1) * side))
  }
  const columnRe = new Float64Array(side)
  const columnIm = new Float64Array(side)
  for (const x of lowFrequencies(side, radiusMax)) {
    for (let y = 0; y < side; y++) {
      columnRe[y] = re[y * side + x] ?? 0
      columnIm[y] = im[y * side + x] ?? 0
    }
    fft(columnRe, columnIm)
    for (let y = 0; y < side; y++) {
      re[y * side + x] = columnRe[y] ?? 0
      im[y * side + x] = columnIm[y] ?? 0
    }
  }
}

/** In-place radix-2 Fourier transform (Cooley & Tukey 1965) of `length` values, a power of two. */
export function plan(length: number): (re: Float64Array, im: Float64Array) => void {
  const bits = Math.log2(length)
  const reversed = Uint32Array.from({ length }, (_, index) => {
    let mirror = 0
    for (let bit = 0; bit < bits; bit++) mirror |= ((index >> bit) & 1) << (bits - 1 - bit)
    return mirror
  })
  const cos = Float64Array.from({ length: length / 2 }, (_, k) =>
    Math.cos((2 * Math.PI * k) / length),
  )
  const sin = Float64Array.from(
    { length: length / 2 },
    (_, k) => -Math.sin((2 * Math.PI * k) / length),
  )
  return (re, im) => {
    for (let i = 0; i < length; i++) {
      const j = reversed[i] ?? 0
      if (j <= i) continue
      const [a, b] = [re[i] ?? 0, im[i] ?? 0]
      re[i] = re[j] ?? 0
      im[i] = im[j] ?? 0
      re[j] = a
      im[j] = b
    }
    for (let half = 1; half < length; half *= 2) {
      const stride = length / half / 2
      for (let start = 0; start < length; start += half * 2) {
        for (let k = 0; k < half; k++) {
          const [low, high] = [start + k, start + k + half]
          const c = cos[k * stride] ?? 0
          const s = sin[k * stride] ?? 0
          const a = (re[high] ?? 0) * c - (im[high] ?? 0) * s
          const b = (re[high] ?? 0) * s + (im[high] ?? 0) * c
          re[high] = (re[low] ?? 0) - a
          im[high] = (im[low] ?? 0) - b
          re[low] = (re[low] ?? 0) + a
          im[low] = (im[low] ?? 0) + b
        }
      }
    }
  }
}

// Least squares of ln S on ln r over the radii that hold power.
function slopeOfLogs(sums: Float64Array): number {
  const points: [number, number][] = []
  for (let radius = 2; radius < sums.length; radius++) {
    const power = sums[radius] ?? 0
    if (power > 0) points.push([Math.log(radius), Math.log(power)])
  }
  if (points.length < 2) return 0
  const meanX = points.reduce((sum, [x]) => sum + x, 0) / points.length
  const meanY = points.reduce((sum, [, y]) => sum + y, 0) / points.length
  const covariance = points.reduce((sum, [x, y]) => sum + (x - meanX) * (y - meanY), 0)
  return covariance / points.reduce((sum, [x]) => sum + (x - meanX) ** 2, 0)
}
