// Draws synthetic fields of view: nuclei (DNA) and the cells around them (RNA), as a 16-bit camera sees them.
import type { Dice } from './dice.ts'

/** Edge of every field. */
export const SIZE_PX = 512

/** Grey levels of the camera: a dark field gives offset + background, ± √(background + readNoise²). */
const camera = { offset: 100, background: 20, readNoise: 2 } as const

const nucleus = {
  radiusMinPx: 9,
  radiusMaxPx: 12.5,
  /** Border kept free, so that every nucleus is whole. */
  marginPx: 18,
  /** Free space between the outlines of two that do not touch. */
  gapPx: 9,
  /** Share that touches its predecessor. */
  touching: 0.1,
  edgePx: 2.2,
} as const

export type Nucleus = {
  readonly x: number
  readonly y: number
  /** Half axes. */
  readonly a: number
  readonly b: number
  readonly angle: number
  /** Peak grey level over background. */
  readonly grey: number
}

export type Stain = 'DNA' | 'RNA'

/** Places exactly `count` nuclei, whole and apart, but for some pairs that touch. Throws when there is no room. */
export function placeNuclei(count: number, dice: Dice): readonly Nucleus[] {
  const placed: Nucleus[] = []
  const paired = new Set<Nucleus>()
  for (let tries = 0; placed.length < count; tries++) {
    if (tries > count * 1_000) throw new Error(`no room for ${count} nuclei in ${SIZE_PX} px`)
    const last = placed.at(-1)
    const touches = last && !paired.has(last) && dice.next() < nucleus.touching ? last : undefined
    const candidate = shapeAt(touches, dice)
    if (!fits(candidate, placed, touches)) continue
    placed.push(candidate)
    if (touches) paired.add(touches).add(candidate)
  }
  return placed
}

function shapeAt(touches: Nucleus | undefined, dice: Dice): Nucleus {
  const a = dice.between(nucleus.radiusMinPx, nucleus.radiusMaxPx)
  const b = a * dice.between(0.78, 1)
  const shape = { a, b, angle: dice.between(0, Math.PI), grey: dice.between(700, 1_500) }
  if (!touches) {
    const { marginPx } = nucleus
    const at = (): number => dice.between(marginPx, SIZE_PX - marginPx)
    return { ...shape, x: at(), y: at() }
  }
  // Ends of the long axes meet, so that a neck shows.
  const reach = touches.a + a - 1
  const [dx, dy] = [Math.cos(touches.angle) * reach, Math.sin(touches.angle) * reach]
  return { ...shape, angle: touches.angle, x: touches.x + dx, y: touches.y + dy }
}

function fits(one: Nucleus, placed: readonly Nucleus[], touches: Nucleus | undefined): boolean {
  const { marginPx, gapPx } = nucleus
  const inside = (at: number): boolean => at >= marginPx && at <= SIZE_PX - marginPx
  if (!inside(one.x) || !inside(one.y)) return false
  return placed.every(
    (other) =>
      other === touches || Math.hypot(one.x - other.x, one.y - other.y) > one.a + other.a + gapPx,
  )
}

export type Optics = {
  readonly stain: Stain
  /** Gaussian blur of the light; 0: in focus. */
  readonly blurPx: number
}

/** Row by row, SIZE_PX × SIZE_PX grey levels. Blur comes before noise, as it does in a microscope. */
export function drawField(nuclei: readonly Nucleus[], optics: Optics, dice: Dice): Uint16Array {
  const light = new Float32Array(SIZE_PX * SIZE_PX)
  for (const one of nuclei) {
    if (optics.stain === 'DNA') drawNucleus(light, one, dice)
    else drawCell(light, one, dice)
  }
  if (optics.blurPx > 0) blur(light, optics.blurPx)
  return expose(light, dice)
}

function expose(light: Float32Array, dice: Dice): Uint16Array {
  const { offset, background, readNoise } = camera
  const grey = new Uint16Array(light.length)
  for (let i = 0; i < light.length; i++) {
    const photons = background + (light[i] ?? 0)
    const noise = dice.normal() * Math.sqrt(photons + readNoise ** 2)
    grey[i] = Math.min(Math.max(Math.round(offset + photons + noise), 0), 65_535)
  }
  return grey
}

/** An ellipse with a soft edge and a few darker and brighter patches of chromatin. */
function drawNucleus(light: Float32Array, one: Nucleus, dice: Dice): void {
  const phase = dice.between(0, 6)
  paint(light, one, 1.3, (distance, dx, dy) => {
    const edge = clamp(((1 - distance) * one.b) / nucleus.edgePx + 0.5)
    const patch = 1 + 0.12 * Math.sin(dx * 0.55 + phase) * Math.cos(dy * 0.5 - phase)
    return one.grey * edge * patch
  })
}

/** Cytoplasm that fades outwards, with bright granules, and nucleoli inside the nucleus. */
function drawCell(light: Float32Array, one: Nucleus, dice: Dice): void {
  paint(light, one, 3, (distance) => one.grey * 0.35 * Math.exp(-((distance / 1.5) ** 2)))
  for (let i = 0; i < 14; i++) {
    const [far, angle] = [dice.between(1, 2.1) * one.a, dice.between(0, 2 * Math.PI)]
    drawSpot(light, one.x + far * Math.cos(angle), one.y + far * Math.sin(angle), one.grey * 0.5)
  }
  for (let i = 0; i < 3; i++) {
    const [far, angle] = [dice.between(0, 0.6) * one.b, dice.between(0, 2 * Math.PI)]
    drawSpot(light, one.x + far * Math.cos(angle), one.y + far * Math.sin(angle), one.grey * 0.8)
  }
}

function drawSpot(light: Float32Array, x: number, y: number, grey: number): void {
  const spot = { x, y, a: 2, b: 2, angle: 0, grey }
  paint(light, spot, 2.5, (distance) => grey * Math.exp(-(distance ** 2)))
}

/** Lays f over the ellipse's surroundings, up to `reach` times its size; the brighter one wins. */
function paint(
  light: Float32Array,
  { x, y, a, b, angle }: Nucleus,
  reach: number,
  f: (distance: number, dx: number, dy: number) => number,
): void {
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)]
  const far = Math.ceil(a * reach)
  const last = SIZE_PX - 1
  for (let py = Math.max(0, Math.floor(y - far)); py <= Math.min(last, y + far); py++)
    for (let px = Math.max(0, Math.floor(x - far)); px <= Math.min(last, x + far); px++) {
      const [dx, dy] = [px - x, py - y]
      const distance = Math.hypot((dx * cos + dy * sin) / a, (dy * cos - dx * sin) / b)
      if (distance > reach) continue
      const at = py * SIZE_PX + px
      light[at] = Math.max(light[at] ?? 0, f(distance, dx, dy))
    }
}

/** Gaussian, row-wise and column-wise, dark beyond the border. */
function blur(light: Float32Array, sigma: number): void {
  const far = Math.ceil(3 * sigma)
  const weights = Array.from({ length: 2 * far + 1 }, (_, i) =>
    Math.exp(-((i - far) ** 2) / (2 * sigma ** 2)),
  )
  const sum = weights.reduce((total, weight) => total + weight)
  const kernel = Float32Array.from(weights, (weight) => weight / sum)
  const line = new Float32Array(SIZE_PX)
  const pass = (start: number, step: number): void => {
    for (let i = 0; i < SIZE_PX; i++) line[i] = light[start + i * step] ?? 0
    for (let i = 0; i < SIZE_PX; i++) {
      let value = 0
      for (let k = Math.max(-far, -i); k <= Math.min(far, SIZE_PX - 1 - i); k++)
        value += (line[i + k] ?? 0) * (kernel[k + far] ?? 0)
      light[start + i * step] = value
    }
  }
  for (let row = 0; row < SIZE_PX; row++) pass(row * SIZE_PX, 1)
  for (let column = 0; column < SIZE_PX; column++) pass(column, SIZE_PX)
}

function clamp(value: number): number {
  return Math.min(Math.max(value, 0), 1)
}
