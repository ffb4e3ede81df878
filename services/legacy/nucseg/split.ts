/** Size of a plane. */
export type Size = { readonly widthPx: number; readonly heightPx: number }

/** How touching objects are told apart. */
export type SplitRule = {
  /** Two parts are two objects when the neck between them is thinner than this share of the thinner part. */
  readonly neckShareMax: number
  /** …and when the neck is thinner by at least this much, in pixels of half width. */
  readonly neckDepthMinPx: number
}

/**
 * Splits a mask at its necks: pixels join from the inside outwards (watershed of the distance to the
 * background), and where two basins meet they stay apart only when the neck is thin against both of them.
 * The rule is relative, so that it holds for nuclei of any size.
 * @returns labels, 0 outside, 1 to `count` inside, numbered by first pixel in reading order.
 */
export function splitAtNecks(
  mask: Uint8Array,
  size: Size,
  rule: SplitRule,
): { readonly labels: Uint32Array; readonly count: number } {
  const distance = distanceToBackground(mask, size)
  const basins = basinSet()
  // A rim of background, so that every pixel has eight neighbours.
  const width = size.widthPx + 2
  const basinOf = new Uint32Array(width * (size.heightPx + 2))
  const near = Int32Array.of(-width - 1, -width, -width + 1, -1, 1, width - 1, width, width + 1)
  const order = fromInsideOut(distance)
  for (let i = 0; i < order.length; i++) {
    const at = order[i] ?? 0
    const y = Math.floor(at / size.widthPx)
    const inRim = (y + 1) * width + (at - y * size.widthPx) + 1
    const level = distance[at] ?? 0
    let mine = 0
    for (let k = 0; k < near.length; k++) {
      const basin = basinOf[inRim + (near[k] ?? 0)] ?? 0
      if (basin === 0 || basin === mine) continue
      const theirs = basins.root(basin)
      if (mine === 0) mine = theirs
      else if (mine !== theirs) mine = basins.meet(mine, theirs, { level, rule })
    }
    basinOf[inRim] = mine === 0 ? basins.add(level) : mine
  }
  return numbered(basinOf, size, basins.root)
}

/** Exact Euclidean distance to the nearest 0 (Felzenszwalb & Huttenlocher 2012); outside the image is 1. */
export function distanceToBackground(mask: Uint8Array, size: Size): Float32Array {
  const { widthPx, heightPx } = size
  const far = widthPx + heightPx
  const distance = new Float32Array(mask.length)
  // Down and up every column: the distance within it.
  for (let i = 0; i < mask.length; i++) {
    if (mask[i] !== 0) distance[i] = i < widthPx ? far : (distance[i - widthPx] ?? 0) + 1
  }
  for (let i = mask.length - widthPx - 1; i >= 0; i--) {
    distance[i] = Math.min(distance[i] ?? 0, (distance[i + widthPx] ?? 0) + 1)
  }
  const row = createRow(widthPx)
  for (let y = 0; y < heightPx; y++) row(distance, y * widthPx)
  return distance
}

// One row of the distance transform: the lower envelope of a parabola at every pixel.
function createRow(count: number): (distance: Float32Array, start: number) => void {
  const squares = new Float64Array(count)
  const peaks = new Int32Array(count)
  const bounds = new Float64Array(count + 1)
  return (distance, start) => {
    let highest = 0
    for (let i = 0; i < count; i++) {
      const value = distance[start + i] ?? 0
      squares[i] = value * value
      if (value > highest) highest = value
    }
    if (highest === 0) return
    let last = 0
    peaks[0] = 0
    bounds[0] = -Infinity
    bounds[1] = Infinity
    for (let i = 1; i < count; i++) {
      const height = (squares[i] ?? 0) + i * i
      let cross = 0
      for (;;) {
        const peak = peaks[last] ?? 0
        cross = (height - (squares[peak] ?? 0) - peak * peak) / (2 * (i - peak))
        if (cross > (bounds[last] ?? 0)) break
        last--
      }
      last++
      peaks[last] = i
      bounds[last] = cross
      bounds[last + 1] = Infinity
    }
    for (let i = 0, k = 0; i < count; i++) {
      while ((bounds[k + 1] ?? Infinity) < i) k++
      const peak = peaks[k] ?? 0
      distance[start + i] = Math.sqrt((i - peak) * (i - peak) + (squares[peak] ?? 0))
    }
  }
}

// Foreground pixels by falling distance, in steps of 1/16 px: a counting sort, because there are many.
function fromInsideOut(distance: Float32Array): Uint32Array {
  const steps = 16
  let deepest = 0
  for (const value of distance) if (value > deepest) deepest = value
  const starts = new Uint32Array(Math.ceil(deepest * steps) + 2)
  const slot = (value: number) => starts.length - 2 - Math.floor(value * steps)
  let total = 0
  for (const value of distance) {
    if (value === 0) continue
    const next = slot(value) + 1
    starts[next] = (starts[next] ?? 0) + 1
    total++
  }
  for (let i = 1; i < starts.length; i++) starts[i] = (starts[i] ?? 0) + (starts[i - 1] ?? 0)
  const order = new Uint32Array(total)
  for (let at = 0; at < distance.length; at++) {
    const value = distance[at] ?? 0
    if (value === 0) continue
    const next = slot(value)
    const position = starts[next] ?? 0
    order[position] = at
    starts[next] = position + 1
  }
  return order
}

// Basins with a peak each, merged by union-find.
function basinSet() {
  const parents: number[] = [0]
  const peaks: number[] = [0]
  function root(basin: number): number {
    let at = basin
    while (parents[at] !== at) {
      parents[at] = parents[parents[at] ?? 0] ?? 0
      at = parents[at] ?? 0
    }
    return at
  }
  function add(peak: number): number {
    parents.push(parents.length)
    peaks.push(peak)
    return parents.length - 1
  }
  /** Returns the basin that the meeting pixel belongs to. */
  function meet(a: number, b: number, at: { level: number; rule: SplitRule }): number {
    const [high, low] = (peaks[a] ?? 0) >= (peaks[b] ?? 0) ? [a, b] : [b, a]
    const lowPeak = peaks[low] ?? 0
    const isNeck =
      at.level < lowPeak * at.rule.neckShareMax && lowPeak - at.level >= at.rule.neckDepthMinPx
    if (!isNeck) parents[low] = high
    return high
  }
  return { root, add, meet }
}

function numbered(
  basinOf: Uint32Array,
  { widthPx, heightPx }: Size,
  root: (basin: number) => number,
): { readonly labels: Uint32Array; readonly count: number } {
  const names = new Map<number, number>()
  const labels = new Uint32Array(widthPx * heightPx)
  for (let y = 0; y < heightPx; y++) {
    for (let x = 0; x < widthPx; x++) {
      const basin = basinOf[(y + 1) * (widthPx + 2) + x + 1] ?? 0
      if (basin === 0) continue
      const top = root(basin)
      let name = names.get(top)
      if (name === undefined) names.set(top, (name = names.size + 1))
      labels[y * widthPx + x] = name
    }
  }
  return { labels, count: names.size }
}
