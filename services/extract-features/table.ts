import { parse } from 'csv-parse/sync'

const shapes = [
  'Area',
  'BoundingBoxArea',
  'Center_X',
  'Center_Y',
  'Eccentricity',
  'EquivalentDiameter',
  'Extent',
  'FormFactor',
  'MajorAxisLength',
  'MinorAxisLength',
  'Orientation',
  'Perimeter',
  'Solidity',
]
const intensities = ['Integrated', 'Max', 'Mean', 'Median', 'Min', 'Std']
const identifiers = ['ImageNumber', 'ObjectNumber']

/** Columns of an object table with these channels, in order. */
export function columnsOf(channels: readonly string[]): string[] {
  return [
    ...identifiers,
    ...shapes.map((shape) => `AreaShape_${shape}`),
    ...channels.flatMap((channel) =>
      intensities.map((name) => `Intensity_${name}Intensity_${channel}`),
    ),
  ]
}

/** A table without objects. */
export function emptyTable(columns: readonly string[]): string {
  return `${columns.join(',')}\n`
}

/**
 * Checks a table against what was asked for, and sums it up: mean of every column over its objects.
 * Throws an Error that names the missing column or the number of rows.
 */
export function checkTable(
  csv: string,
  columns: readonly string[],
  rowsExpected: number,
): { readonly name: string; readonly value: number }[] {
  const [header = [], ...rows]: string[][] = parse(csv)
  const missing = columns.filter((column, i) => header[i] !== column)
  if (missing.length > 0 || header.length !== columns.length) {
    const first = missing[0] === undefined ? '' : `, first missing or displaced: ${missing[0]}`
    throw new Error(`${header.length} columns, expected ${columns.length}${first}`)
  }
  if (!csv.endsWith('\n')) throw new Error('the last row is cut short')
  if (rows.length !== rowsExpected)
    throw new Error(`${rows.length} rows, announced ${rowsExpected}`)
  const means = columns.flatMap((column, i) => {
    if (identifiers.includes(column)) return []
    const values = rows.map((row) => Number(row[i])).filter((value) => Number.isFinite(value))
    if (values.length === 0) return []
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length
    return [{ name: `Mean_Nuclei_${column}`, value: mean }]
  })
  return [{ name: 'Count_Nuclei', value: rows.length }, ...means]
}
