// The plate description that MetaXpress writes beside its images: lines of "Key", value, value … in Windows-1252.
import { createHash } from 'node:crypto'
import { wellAt } from '@wellspring/lab/wells.ts'

export type Htd = {
  /** Rows and columns of the plate. */
  readonly rows: number
  readonly columns: number
  /** Selected wells, canonical, in reading order. */
  readonly wells: readonly string[]
  /** Selected places of the site grid, numbered from 1 in reading order over the whole grid. */
  readonly sitePlaces: readonly number[]
  readonly timePoints: number
  readonly zSteps: number
  /** A projection is written as ZStep_0. */
  readonly projection: boolean
  /** Collected wavelengths: number as in the file names (w1 …) and name. */
  readonly waves: readonly { readonly number: number; readonly name: string }[]
  /** Distinguishes two acquisitions of one plate name; older files have none, so theirs is their digest. */
  readonly uniqueId: string
}

const wellsMax = 48
const wavesMax = 32

/** Parses the bytes of an HTD file. Throws with the key that is missing or wrong. */
export function parseHtd(bytes: Uint8Array): Htd {
  const lines = readLines(new TextDecoder('windows-1252').decode(bytes))
  if (!lines.has('HTSInfoFile'))
    throw new Error('no HTD file: it does not begin with "HTSInfoFile"')
  const rows = numberOf(lines, 'YWells', wellsMax)
  const columns = numberOf(lines, 'XWells', wellsMax)
  const wells = grid(lines, 'WellsSelection', rows).flatMap((row, y) =>
    row.slice(0, columns).flatMap((selected, x) => (selected ? [wellAt(y + 1, x + 1)] : [])),
  )
  if (wells.length === 0) throw new Error('the HTD selects no well')
  return {
    rows,
    columns,
    wells,
    sitePlaces: flag(lines, 'Sites') ? sitePlacesOf(lines) : [1],
    timePoints: lines.has('TimePoints') ? numberOf(lines, 'TimePoints', 1024) : 1,
    zSteps: flag(lines, 'ZSeries') ? numberOf(lines, 'ZSteps', 128) : 1,
    projection: flag(lines, 'ZSeries') && flag(lines, 'ZProjection'),
    waves: flag(lines, 'Waves') ? wavesOf(lines) : [{ number: 1, name: '' }],
    uniqueId:
      lines.get('UniquePlateIdentifier')?.[0] ?? createHash('sha256').update(bytes).digest('hex'),
  }
}

type Lines = ReadonlyMap<string, readonly string[]>

function readLines(text: string): Lines {
  const lines = new Map<string, readonly string[]>()
  for (const line of text.split(/\r?\n/)) {
    const words = line.trim()
    const end = words.indexOf('"', 1)
    if (!words.startsWith('"') || end < 2) continue
    lines.set(words.slice(1, end), valuesIn(words.slice(end + 1)))
  }
  return lines
}

/** Values between commas, quoted ones with commas of their own. By hand: a pattern would look back over the line. */
function valuesIn(text: string): string[] {
  const values: string[] = []
  for (let at = 0; at < text.length;) {
    const first = text[at] ?? ''
    if (first === ',' || first.trim() === '') {
      at += 1
      continue
    }
    const close = first === '"' ? text.indexOf('"', at + 1) : -1
    const comma = text.indexOf(',', at)
    const end = close >= 0 ? close : comma >= 0 ? comma : text.length
    values.push(text.slice(close >= 0 ? at + 1 : at, end).trim())
    at = close >= 0 ? end + 1 : end
  }
  return values
}

function numberOf(lines: Lines, key: string, max: number): number {
  const text = lines.get(key)?.[0]
  const value = Number(text)
  if (text === undefined || !Number.isInteger(value) || value < 1 || value > max)
    throw new Error(
      `the HTD's "${key}" should be a number from 1 to ${max}: it is ${text ?? 'missing'}`,
    )
  return value
}

const flag = (lines: Lines, key: string): boolean => lines.get(key)?.[0]?.toUpperCase() === 'TRUE'

function grid(lines: Lines, key: string, rows: number): boolean[][] {
  return Array.from({ length: rows }, (_, row) => {
    const values = lines.get(`${key}${row + 1}`)
    if (!values) throw new Error(`the HTD lacks "${key}${row + 1}" of ${rows}`)
    return values.map((value) => value.toUpperCase() === 'TRUE')
  })
}

function sitePlacesOf(lines: Lines): number[] {
  const columns = numberOf(lines, 'XSites', 64)
  const selection = grid(lines, 'SiteSelection', numberOf(lines, 'YSites', 64))
  const places = selection.flatMap((row, y) =>
    row.slice(0, columns).flatMap((selected, x) => (selected ? [y * columns + x + 1] : [])),
  )
  if (places.length === 0) throw new Error('the HTD selects no site')
  return places
}

function wavesOf(lines: Lines): { number: number; name: string }[] {
  const count = numberOf(lines, 'NWavelengths', wavesMax)
  return Array.from({ length: count }, (_, wave) => ({
    number: wave + 1,
    name: lines.get(`WaveName${wave + 1}`)?.[0] ?? '',
  })).filter(({ number }) => lines.get(`WaveCollect${number}`)?.[0] !== '0')
}
