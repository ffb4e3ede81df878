import type { Pixels } from '../pixels.ts'
import { splitAtNecks } from './split.ts'
import { foreground, varianceToMean, type Foreground } from './threshold.ts'

/** One nucleus. Bounds are pixels, the maxima exclusive, as CellProfiler counts them. */
export type Nucleus = {
  areaPx: number
  sumX: number
  sumY: number
  intensity: number
  minX: number
  minY: number
  maxX: number
  maxY: number
}

/** What a field holds. */
export type Field =
  | { readonly kind: 'empty' }
  | {
      readonly kind: 'nuclei'
      /** 0 is background, nucleus i has label i + 1. */
      readonly labels: Uint16Array
      readonly nuclei: readonly Nucleus[]
      readonly level: number
    }

const limits = {
  /** A field of fluorescence with less than this holds noise only. */
  varianceToMeanMin: 1,
  /** Smaller parts are noise, or cut off by the border. */
  areaMinPx: 30,
  /** So are parts smaller than this share of the area that halves the foreground. */
  areaShareMin: 0.05,
  /** 16-bit labels. */
  nucleiMax: 65_535,
}

// An edge lies where the light falls to this share of the nucleus' mean over background.
const edgeShare = 0.6
const roughRule = { neckShareMax: 0.95, neckDepthMinPx: 0.5 }
const finalRule = { neckShareMax: 0.9, neckDepthMinPx: 0.5 }

/**
 * Finds the nuclei of a fluorescence image: foreground, rough split, every part cut back to its own edge
 * (one threshold draws bright nuclei too wide, and wide nuclei have no necks), final split.
 */
export function segmentNuclei(image: Pixels): Field {
  if (varianceToMean(image.values) < limits.varianceToMeanMin) return { kind: 'empty' }
  const found = foreground(image)
  cutBackToEdges(found, image)
  const { labels, count } = splitAtNecks(found.mask, image, finalRule)
  const nuclei = measured(image, labels, count)
  return kept(nuclei, labels, found.level)
}

function cutBackToEdges({ mask, smooth }: Foreground, image: Pixels): void {
  const { labels, count } = splitAtNecks(mask, image, roughRule)
  const sums = new Float64Array(count + 1)
  const areas = new Float64Array(count + 1)
  labels.forEach((label, i) => {
    sums[label] = (sums[label] ?? 0) + (smooth[i] ?? 0)
    areas[label] = (areas[label] ?? 0) + 1
  })
  const means = sums.map((sum, label) => sum / (areas[label] ?? 1))
  const background = means[0] ?? 0
  labels.forEach((label, i) => {
    const edge = background + edgeShare * ((means[label] ?? 0) - background)
    if (label !== 0 && (smooth[i] ?? 0) < edge) mask[i] = 0
  })
}

function measured(image: Pixels, labels: Uint32Array, count: number): Nucleus[] {
  const nuclei = Array.from({ length: count }, unmeasured)
  const { widthPx, values } = image
  labels.forEach((label, i) => {
    const nucleus = nuclei[label - 1]
    if (nucleus === undefined) return
    const x = i % widthPx
    const y = (i - x) / widthPx
    nucleus.areaPx++
    nucleus.sumX += x
    nucleus.sumY += y
    nucleus.intensity += values[i] ?? 0
    nucleus.minX = Math.min(nucleus.minX, x)
    nucleus.minY = Math.min(nucleus.minY, y)
    nucleus.maxX = Math.max(nucleus.maxX, x + 1)
    nucleus.maxY = Math.max(nucleus.maxY, y + 1)
  })
  return nuclei
}

function unmeasured(): Nucleus {
  const nothing = { areaPx: 0, sumX: 0, sumY: 0, intensity: 0, maxX: 0, maxY: 0 }
  return { ...nothing, minX: Infinity, minY: Infinity }
}

function kept(nuclei: readonly Nucleus[], labels: Uint32Array, level: number): Field {
  const names = new Uint16Array(nuclei.length + 1)
  const areaMinPx = Math.max(limits.areaMinPx, limits.areaShareMin * halvingArea(nuclei))
  const large = nuclei.filter((nucleus, i) => {
    if (nucleus.areaPx < areaMinPx) return false
    names[i + 1] = 1
    return true
  })
  if (large.length > limits.nucleiMax) throw new Error(`${large.length} nuclei do not fit 16 bit`)
  let next = 1
  for (let i = 1; i < names.length; i++) if (names[i] === 1) names[i] = next++
  return {
    kind: 'nuclei',
    labels: Uint16Array.from(labels, (l) => names[l] ?? 0),
    nuclei: large,
    level,
  }
}

// Half of the foreground lies in nuclei of this area or more: a typical size that debris cannot pull down.
function halvingArea(nuclei: readonly Nucleus[]): number {
  const areas = nuclei.map((nucleus) => nucleus.areaPx).toSorted((a, b) => b - a)
  const half = areas.reduce((sum, area) => sum + area, 0) / 2
  let sum = 0
  return areas.find((area) => (sum += area) >= half) ?? 0
}
