/** One object: its pixels' coordinates, relative to nothing but the image. */
export type Outline = {
  readonly xs: readonly number[]
  readonly ys: readonly number[]
  readonly minX: number
  readonly minY: number
  readonly maxX: number
  readonly maxY: number
}

/**
 * AreaShape columns of an object, as CellProfiler's MeasureObjectSizeShape defines them, which is to say
 * scikit-image's regionprops: axes from central moments without the 1/12 of a pixel's own extent, perimeter
 * after Benkrid & Crookes, orientation in degrees from the vertical, hull through the pixels' edge midpoints.
 */
export function shapeOf(object: Outline): Record<ShapeColumn, number> {
  const area = object.xs.length
  const centerX = object.xs.reduce((sum, x) => sum + x, 0) / area
  const centerY = object.ys.reduce((sum, y) => sum + y, 0) / area
  let [varX, varY, cov] = [0, 0, 0]
  for (let i = 0; i < area; i++) {
    const dx = (object.xs[i] ?? 0) - centerX
    const dy = (object.ys[i] ?? 0) - centerY
    varX += (dx * dx) / area
    varY += (dy * dy) / area
    cov += (dx * dy) / area
  }
  const middle = (varX + varY) / 2
  const spread = Math.hypot((varX - varY) / 2, cov)
  const [large, small] = [middle + spread, Math.max(0, middle - spread)]
  const boxArea = (object.maxX - object.minX + 1) * (object.maxY - object.minY + 1)
  const perimeter = perimeterOf(object)
  return {
    AreaShape_Area: area,
    AreaShape_BoundingBoxArea: boxArea,
    AreaShape_Center_X: centerX,
    AreaShape_Center_Y: centerY,
    AreaShape_Eccentricity: large === 0 ? 0 : Math.sqrt(1 - small / large),
    AreaShape_EquivalentDiameter: Math.sqrt((4 * area) / Math.PI),
    AreaShape_Extent: area / boxArea,
    AreaShape_FormFactor: (4 * Math.PI * area) / perimeter ** 2,
    AreaShape_MajorAxisLength: 4 * Math.sqrt(large),
    AreaShape_MinorAxisLength: 4 * Math.sqrt(small),
    AreaShape_Orientation: orientation(varX, varY, cov),
    AreaShape_Perimeter: perimeter,
    AreaShape_Solidity: area / hullArea(object),
  }
}

export const shapeColumns = [
  'AreaShape_Area',
  'AreaShape_BoundingBoxArea',
  'AreaShape_Center_X',
  'AreaShape_Center_Y',
  'AreaShape_Eccentricity',
  'AreaShape_EquivalentDiameter',
  'AreaShape_Extent',
  'AreaShape_FormFactor',
  'AreaShape_MajorAxisLength',
  'AreaShape_MinorAxisLength',
  'AreaShape_Orientation',
  'AreaShape_Perimeter',
  'AreaShape_Solidity',
] as const

export type ShapeColumn = (typeof shapeColumns)[number]

function orientation(varX: number, varY: number, cov: number): number {
  if (Math.abs(varX - varY) <= 1e-9 * varX) return cov > 0 ? 45 : -45
  return (Math.atan2(2 * cov, varY - varX) / 2) * (180 / Math.PI)
}

// The object in its box with a rim of `rim` empty pixels.
function boxed(
  object: Outline,
  rim: number,
): { readonly grid: Uint8Array; readonly width: number } {
  const width = object.maxX - object.minX + 1 + 2 * rim
  const height = object.maxY - object.minY + 1 + 2 * rim
  const grid = new Uint8Array(width * height)
  for (let i = 0; i < object.xs.length; i++) {
    const x = (object.xs[i] ?? 0) - object.minX + rim
    const y = (object.ys[i] ?? 0) - object.minY + rim
    grid[y * width + x] = 1
  }
  return { grid, width }
}

// K. Benkrid and D. Crookes, Design and FPGA implementation of a perimeter estimator: every border pixel counts
// by the pattern of border pixels around it.
function perimeterOf(object: Outline): number {
  const { grid, width } = boxed(object, 2)
  const border = new Uint8Array(grid.length)
  for (let i = 0; i < grid.length; i++) {
    if (grid[i] === 0) continue
    const inner =
      grid[i - 1] === 1 && grid[i + 1] === 1 && grid[i - width] === 1 && grid[i + width] === 1
    if (!inner) border[i] = 1
  }
  const at = (i: number) => border[i] ?? 0
  let length = 0
  for (let i = width + 1; i < border.length - width - 1; i++) {
    if (border[i] === 0) continue
    const straight = at(i - 1) + at(i + 1) + at(i - width) + at(i + width)
    const diagonal = at(i - width - 1) + at(i - width + 1) + at(i + width - 1) + at(i + width + 1)
    length += stepLengths.get(1 + 2 * straight + 10 * diagonal) ?? 0
  }
  return length
}

const stepLengths = new Map([
  ...[5, 7, 15, 17, 25, 27].map((pattern) => [pattern, 1] as const),
  ...[21, 33].map((pattern) => [pattern, Math.SQRT2] as const),
  ...[13, 23].map((pattern) => [pattern, (1 + Math.SQRT2) / 2] as const),
])

// Pixels whose centre lies in the convex hull of the object's edge midpoints.
function hullArea(object: Outline): number {
  const hull = convexHull(edgeMidpoints(object))
  let count = 0
  for (let y = object.minY; y <= object.maxY; y++) {
    let left = Infinity
    let right = -Infinity
    hull.forEach((a, i) => {
      const b = hull[(i + 1) % hull.length] ?? a
      if (Math.min(a.y, b.y) > y || Math.max(a.y, b.y) < y) return
      const xs = a.y === b.y ? [a.x, b.x] : [a.x + ((y - a.y) * (b.x - a.x)) / (b.y - a.y)]
      left = Math.min(left, ...xs)
      right = Math.max(right, ...xs)
    })
    count += Math.floor(right + 1e-9) - Math.ceil(left - 1e-9) + 1
  }
  return count
}

type Point = { readonly x: number; readonly y: number }

// Of every row only its ends can lie on the hull, but a row's own top and bottom midpoints can as well.
function edgeMidpoints(object: Outline): Point[] {
  const rows = new Map<number, { left: number; right: number }>()
  for (let i = 0; i < object.xs.length; i++) {
    const x = object.xs[i] ?? 0
    const row = rows.get(object.ys[i] ?? 0)
    if (row === undefined) rows.set(object.ys[i] ?? 0, { left: x, right: x })
    else [row.left, row.right] = [Math.min(row.left, x), Math.max(row.right, x)]
  }
  return [...rows].flatMap(([y, { left, right }]) => [
    { x: left - 0.5, y },
    { x: right + 0.5, y },
    ...[left, right].flatMap((x) => [
      { x, y: y - 0.5 },
      { x, y: y + 0.5 },
    ]),
  ])
}

// Andrew's monotone chain.
function convexHull(points: readonly Point[]): Point[] {
  const sorted = points.toSorted((a, b) => a.x - b.x || a.y - b.y)
  const half = (ordered: readonly Point[]) => {
    const chain: Point[] = []
    for (const point of ordered) {
      while (chain.length >= 2 && turn(chain.at(-2), chain.at(-1), point) <= 0) chain.pop()
      chain.push(point)
    }
    return chain.slice(0, -1)
  }
  return [...half(sorted), ...half(sorted.toReversed())]
}

function turn(a: Point | undefined, b: Point | undefined, c: Point): number {
  if (a === undefined || b === undefined) return 0
  return (b.x - a.x) * (c.y - a.y) - (b.y - a.y) * (c.x - a.x)
}
