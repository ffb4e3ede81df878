import { readPixels, subtractOffset, type Pixels } from '../pixels.ts'
import { shapeColumns, shapeOf } from './shape.ts'

export type Job = {
  /** Label image, 0 is background. */
  readonly labels: string
  readonly images: readonly {
    readonly channel: string
    readonly path: string
    /** Grey level to subtract first. */
    readonly offset?: number
  }[]
}

/** A table as CSV, one row per object. */
export type Table = { readonly csv: string; readonly rows: number }

/** Measures every object of a label image in every channel. Throws when the files cannot be read or do not fit. */
export async function measureObjects(job: Job): Promise<Table> {
  const labels = await readPixels(job.labels)
  const channels = []
  for (const { channel, path, offset = 0 } of job.images) {
    const image = await readPixels(path)
    subtractOffset(image, offset)
    if (image.widthPx !== labels.widthPx || image.heightPx !== labels.heightPx) {
      const [a, b] = [image, labels].map((size) => `${size.widthPx} x ${size.heightPx}`)
      throw new Error(`${channel} is ${a} pixels, its labels are ${b}`)
    }
    channels.push({ channel, image })
  }
  return tableOf(labels, channels)
}

type Channel = { readonly channel: string; readonly image: Pixels }

/** The table itself. Intensities are shares of the pixel type's maximum, as CellProfiler scales them. */
export function tableOf(labels: Pixels, channels: readonly Channel[]): Table {
  const objects = [...objectsOf(labels)].toSorted(([a], [b]) => a - b)
  const header = ['ImageNumber', 'ObjectNumber', ...shapeColumns]
  for (const { channel } of channels) {
    header.push(...intensityColumns.map((column) => `Intensity_${column}Intensity_${channel}`))
  }
  const lines = objects.map(([number, pixels]) => {
    const shape = shapeOf(outlineOf(pixels, labels.widthPx))
    const row = [1, number, ...shapeColumns.map((column) => shape[column])]
    for (const { image } of channels) row.push(...intensitiesOf(image, pixels))
    return row.map((value) => (Number.isFinite(value) ? String(value) : 'nan')).join(',')
  })
  return { csv: [header.join(','), ...lines, ''].join('\n'), rows: lines.length }
}

const intensityColumns = ['Integrated', 'Max', 'Mean', 'Median', 'Min', 'Std'] as const

function intensitiesOf(image: Pixels, pixels: readonly number[]): number[] {
  const scale = 2 ** image.bitsPerPixel - 1
  const values = Float64Array.from(pixels, (at) => (image.values[at] ?? 0) / scale).sort()
  const count = values.length
  const sum = values.reduce((total, value) => total + value, 0)
  const mean = sum / count
  const variance = values.reduce((total, value) => total + (value - mean) ** 2, 0) / count
  const median = ((values[(count - 1) >> 1] ?? NaN) + (values[count >> 1] ?? NaN)) / 2
  return [sum, values.at(-1) ?? NaN, mean, median, values[0] ?? NaN, Math.sqrt(variance)]
}

function objectsOf(labels: Pixels): Map<number, number[]> {
  const objects = new Map<number, number[]>()
  labels.values.forEach((label, at) => {
    if (label === 0) return
    const pixels = objects.get(label)
    if (pixels === undefined) objects.set(label, [at])
    else pixels.push(at)
  })
  return objects
}

function outlineOf(pixels: readonly number[], widthPx: number) {
  const xs = pixels.map((at) => at % widthPx)
  const ys = pixels.map((at) => Math.floor(at / widthPx))
  const most = (values: readonly number[], better: (a: number, b: number) => number) =>
    values.reduce((best, value) => better(best, value))
  return {
    xs,
    ys,
    minX: most(xs, Math.min),
    maxX: most(xs, Math.max),
    minY: most(ys, Math.min),
    maxY: most(ys, Math.max),
  }
}
