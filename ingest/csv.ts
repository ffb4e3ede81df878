// CSV manifests: CellProfiler LoadData (FileName_X / PathName_X / URL_X, Metadata_*), or one image a row
// (path, plate, well, site, channel, and z, time, pixel offset and claims about the bytes where the columns are there).
import { existsSync } from 'node:fs'
import { basename, dirname, isAbsolute, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parse } from 'csv-parse/sync'
import { wellName } from '@wellspring/lab/wells.ts'
import { pixelOffsetOf } from './offsets.ts'
import { readBounded } from './read.ts'
import { messageOf, type Refusal, type Sighting, type Survey } from './sighting.ts'

export type CsvOptions = {
  /** Folder that relative paths start from; default: the folder of the CSV. */
  readonly root?: string | undefined
}

type Row = Readonly<Record<string, string>>
type RowAndInfo = { readonly record: Row; readonly info: { readonly lines: number } }
type RowAt = { readonly row: Row; readonly origin: string }

/** A million rows; in memory they take ten times that. */
const csvSize = { bytesMax: 128 * 1024 * 1024, remedy: 'split it by plates' }
const rowBytesMax = 1024 * 1024
const columnsMax = 4_096

/** Reads a manifest. Throws when it is no manifest at all, naming the columns that it would need. */
export async function surveyCsv(file: string, options: CsvOptions = {}): Promise<Survey> {
  const rows = rowsOf(await readBounded(file, csvSize), file)
  const at = rows.map(({ record, info }) => ({
    row: record,
    origin: `${basename(file)}:${info.lines}`,
  }))
  const columns = Object.keys(at[0]?.row ?? {})
  const folder = resolve(options.root ?? dirname(file))
  const channels = columns.flatMap((name) => /^(?:FileName|URL)_(.+)$/.exec(name)?.[1] ?? [])
  if (channels.length > 0) return readLoadData(at, [...new Set(channels)], folder)
  if (columns.includes('path')) return readManifest(at, folder)
  throw new Error(
    `${file} is no manifest that ingest knows: want columns path, plate, well, site, channel or CellProfiler's FileName_X, Metadata_Plate, Metadata_Well, Metadata_Site; found ${columns.slice(0, 12).join(', ') || 'no rows'}`,
  )
}

function rowsOf(text: Buffer, file: string): RowAndInfo[] {
  const header = (names: string[]): string[] => {
    if (names.length > columnsMax)
      throw new Error(`it has ${names.length} columns, more than ${columnsMax}`)
    return names.map((name) => name.trim())
  }
  try {
    return parse<RowAndInfo, Row>(text, {
      bom: true,
      max_record_size: rowBytesMax,
      columns: header,
      skip_empty_lines: true,
      trim: true,
      relax_column_count_less: true,
      info: true,
    })
  } catch (error) {
    throw new Error(`${file} cannot be read as CSV: ${messageOf(error)}`, { cause: error })
  }
}

/** One image a row. Rows of another kind ("mask") are left aside. */
function readManifest(rows: readonly RowAt[], folder: string): Survey {
  const images = rows.filter(({ row }) => (row['kind'] ?? '') === '' || row['kind'] === 'image')
  const kinds = new Set(rows.flatMap(({ row }) => row['kind'] ?? []))
  kinds.delete('image')
  const aside = rows.length - images.length
  const found = images.map(({ row, origin }) => {
    const path = row['path'] ?? ''
    if (path === '') return { origin, reason: 'the path is empty' }
    return sightingOf(row, origin, {
      path: resolve(folder, path),
      plate: row['plate'],
      well: row['well'],
      site: row['site'],
      z: row['z'] ?? row['zstep'] ?? row['plane'],
      // `time_point` and `t` count from 0 as our records do; `timepoint` is the instrument's, from 1.
      timePoint: row['time_point'] ?? row['t'],
      instrumentTime: row['timepoint'],
      channel: row['channel'],
      pixelOffset: row['pixel_offset'],
    })
  })
  const notes = aside > 0 ? [`${aside} rows of kind ${[...kinds].join(', ')} left aside`] : []
  return surveyOf('csv', found, notes)
}

/** CellProfiler LoadData: one row a site, one pair of columns a channel. */
function readLoadData(rows: readonly RowAt[], channels: readonly string[], folder: string): Survey {
  const found = rows.flatMap(({ row, origin }) =>
    channels.map((channel) => {
      const path = loadDataPath(row, channel, folder)
      const where = `${origin} ${channel}`
      if (path === undefined)
        return {
          origin: where,
          reason: `no file: FileName_${channel} and URL_${channel} are empty, or the URL is no file: URL`,
        }
      const frame = frameOf(row, channel)
      if (frame !== undefined) return { origin: where, reason: frame }
      return sightingOf(row, where, {
        path,
        plate: row['Metadata_Plate'] ?? row['Metadata_Barcode'],
        well: row['Metadata_Well'],
        site: row['Metadata_Site'] ?? row['Metadata_Field'],
        z: row['Metadata_Z'] ?? row['Metadata_ZStep'] ?? row['Metadata_PlaneID'],
        timePoint: row['Metadata_T'],
        instrumentTime: row['Metadata_TimePoint'] ?? row['Metadata_Timepoint'],
        channel,
        stain: row[`Metadata_ChannelName_${channel}`],
        acquisition: row['Metadata_Acquisition'],
        pixelOffset: row[`Metadata_PixelOffset_${channel}`] ?? row['Metadata_PixelOffset'],
      })
    }),
  )
  return surveyOf('loaddata', found, [])
}

/** Undefined for a URL of another machine, or with a slash that is escaped. */
function pathOf(url: string): string | undefined {
  try {
    return fileURLToPath(url)
  } catch {
    return undefined
  }
}

/** Files of several planes are not read, so a row that names another plane than the first cannot be meant. */
function frameOf(row: Row, channel: string): string | undefined {
  for (const column of [`Frame_${channel}`, `Series_${channel}`]) {
    const named = row[column] ?? ''
    if (named !== '' && whole(named) !== 0)
      return `${column} is ${named}: only files of one plane are read: export it as one file a plane`
  }
  return undefined
}

/** PathName as written; where it belongs to another machine, the file's name below the root. */
function loadDataPath(row: Row, channel: string, folder: string): string | undefined {
  const url = row[`URL_${channel}`] ?? ''
  if (url.startsWith('file:')) return pathOf(url)
  const name = row[`FileName_${channel}`] ?? ''
  if (name === '' || url !== '') return undefined
  const path = row[`PathName_${channel}`] ?? ''
  const written = isAbsolute(path) ? join(path, name) : join(folder, path, name)
  const below = join(folder, name)
  return !existsSync(written) && existsSync(below) ? below : written
}

type Cells = {
  readonly path: string
  readonly plate: string | undefined
  readonly well: string | undefined
  readonly site: string | undefined
  readonly z: string | undefined
  readonly timePoint: string | undefined
  readonly instrumentTime: string | undefined
  readonly channel: string | undefined
  readonly stain?: string | undefined
  readonly acquisition?: string | undefined
  readonly pixelOffset?: string | undefined
}

function sightingOf(row: Row, origin: string, cells: Cells): Sighting | Refusal {
  const well = wellName(cells.well ?? '')
  if (well === undefined)
    return { origin, reason: `"${cells.well ?? ''}" is no well: want B07, B7, b07 or r02c07` }
  const site = whole(cells.site)
  if (site === undefined) return { origin, reason: `"${cells.site ?? ''}" is no site number` }
  const z = cells.z === undefined || cells.z === '' ? 0 : whole(cells.z)
  if (z === undefined) return { origin, reason: `"${cells.z}" is no z plane number` }
  const timePoint = timePointOf(cells)
  if (timePoint === undefined)
    return { origin, reason: `"${cells.instrumentTime ?? cells.timePoint}" is no time point` }
  if ((cells.channel ?? '') === '') return { origin, reason: 'the channel is empty' }
  const pixelOffset = cells.pixelOffset ? pixelOffsetOf(cells.pixelOffset) : undefined
  if (cells.pixelOffset && pixelOffset === undefined)
    return { origin, reason: `"${cells.pixelOffset}" is no pixel offset: want 0 to 65535` }
  const size = whole(row['bytes'] ?? row['size'])
  const sha256 = row['sha256']?.toLowerCase()
  return {
    path: cells.path,
    origin,
    plate: cells.plate || undefined,
    acquisition: (cells.acquisition ?? row['acquisition']) || undefined,
    well,
    site,
    timePoint,
    z,
    channel: cells.channel ?? '',
    stain: (cells.stain ?? row['stain']) || undefined,
    pixelOffset,
    claimed: { ...(size !== undefined && { sizeBytes: size }), ...(sha256 && { sha256 }) },
  }
}

function timePointOf(cells: Cells): number | undefined {
  if (cells.instrumentTime !== undefined && cells.instrumentTime !== '') {
    const time = whole(cells.instrumentTime)
    return time === undefined || time === 0 ? time : time - 1
  }
  return cells.timePoint === undefined || cells.timePoint === '' ? 0 : whole(cells.timePoint)
}

/** "04" and "4" are 4; "4.0" too (tables written by pandas). */
function whole(text: string | undefined): number | undefined {
  return text !== undefined && /^[0-9]{1,9}(\.0+)?$/.test(text)
    ? Math.trunc(Number(text))
    : undefined
}

function surveyOf(
  format: string,
  found: readonly (Sighting | Refusal)[],
  notes: readonly string[],
): Survey {
  return {
    format,
    sightings: found.filter((item) => 'path' in item),
    layouts: [],
    refusals: found.filter((item) => 'reason' in item),
    notes,
  }
}
