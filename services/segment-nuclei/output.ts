import { join } from 'node:path'
import { parse } from 'csv-parse/sync'
import { openLeft, readLeft } from '../kit/files.ts'

const tableBytesMax = 64 * 1024 * 1024

/** What the program wrote, once all of it agrees. */
export type Output = {
  readonly nucleiCount: number
  readonly threshold: number
  readonly foregroundFraction: number
  readonly medianAreaPx: number
  readonly touchingBorder: number
}

/**
 * Reads the tables in `folder` and demands that they, the label image and each other agree: the program's exit
 * code and done file alone have been seen to lie. Throws an Error that says what is missing or short.
 */
export async function readOutput(folder: string, hasLabels: boolean): Promise<Output> {
  const [summary, ...others] = await rowsOf(join(folder, 'Image.csv'))
  if (summary === undefined || others.length > 0) throw new Error('Image.csv: want one row')
  const nuclei = await rowsOf(join(folder, 'Nuclei.csv'))
  const of = (row: Record<string, string>, column: string) => {
    const value = Number(row[column] || NaN)
    if (Number.isFinite(value)) return value
    throw new Error(`column ${column} holds "${row[column]}": want a number`)
  }
  const nucleiCount = of(summary, 'Count_Nuclei')
  if (nuclei.length !== nucleiCount) {
    throw new Error(`Nuclei.csv has ${nuclei.length} rows, Image.csv counts ${nucleiCount}`)
  }
  const [width, height] = [of(summary, 'Width_DNA'), of(summary, 'Height_DNA')]
  if (hasLabels) await checkLabels(join(folder, 'Nuclei_labels.png'), width, height)
  const area = of(summary, 'AreaOccupied_TotalArea_Nuclei')
  return {
    nucleiCount,
    threshold: of(summary, 'Threshold_FinalThreshold_Nuclei'),
    foregroundFraction: of(summary, 'AreaOccupied_AreaOccupied_Nuclei') / area,
    medianAreaPx: of(summary, 'Median_Nuclei_AreaShape_Area'),
    touchingBorder: nuclei.filter(
      (row) =>
        of(row, 'AreaShape_BoundingBoxMinimum_X') <= 0 ||
        of(row, 'AreaShape_BoundingBoxMinimum_Y') <= 0 ||
        of(row, 'AreaShape_BoundingBoxMaximum_X') >= width ||
        of(row, 'AreaShape_BoundingBoxMaximum_Y') >= height,
    ).length,
  }
}

// Rows of the wrong length are an error of csv-parse: a table cut short in a row does not pass.
async function rowsOf(path: string): Promise<Record<string, string>[]> {
  return parse(await readLeft(path, tableBytesMax), { columns: true })
}

// PNG: IHDR comes first (width, height, bit depth at 16, 20, 24), IEND last.
async function checkLabels(path: string, width: number, height: number): Promise<void> {
  const { handle: file, sizeBytes: size } = await openLeft(path)
  try {
    const { buffer: head } = await file.read(Buffer.alloc(26), 0, 26, 0)
    const { buffer: tail } = await file.read(Buffer.alloc(12), 0, 12, Math.max(0, size - 12))
    const dimensions = [head.readUInt32BE(16), head.readUInt32BE(20), head.readUInt8(24)]
    if (dimensions.join() === [width, height, 16].join() && tail.includes('IEND')) return
  } finally {
    await file.close()
  }
  throw new Error(`Nuclei_labels.png is cut short or not ${width} x ${height} of 16 bit`)
}
