// ImageXpress (MetaXpress): an HTD file for the plate, images named BASE_WELL_sSITE_wWAVE[GUID].tif, time and z only
// in the folders TimePoint_N and ZStep_N. Without an HTD the name tells no plate: BASE is the experiment's name.
import { basename, join, sep } from 'node:path'
import { wellName } from '@wellspring/lab/wells.ts'
import { parseHtd, type Htd } from './htd.ts'
import { readBounded } from './read.ts'
import { messageOf, type Layout, type Refusal, type Sighting, type Survey } from './sighting.ts'

/** A plate of 1,536 wells is described in some tens of kilobytes. */
const htdSize = { bytesMax: 4 * 1024 * 1024, remedy: 'that is no HTD file' }
const GUID = '[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}'
// The base is as short as it can be: a longer one would read the wave "w1" as well W01.
const IMAGE = new RegExp(
  `^(.+?)_([A-Za-z]{1,2}[0-9]{1,2})(?:_s([0-9]{1,4}))?(?:_w([0-9]{1,2}?))?(_thumb)?(?:${GUID})?\\.tiff?$`,
  'i',
)

export type ImageXpressName = {
  readonly base: string
  readonly well: string
  readonly site: number
  readonly wave: number
  readonly thumbnail: boolean
  /** Counted from 0. */
  readonly timePoint: number
  readonly z: number
}

/** Reads a path below the plate's folder. Undefined: not a MetaXpress image name; a reason: almost one. */
export function parseImageXpressName(path: string): ImageXpressName | string | undefined {
  const folders = path.split(/[\\/]/)
  const match = IMAGE.exec(folders.pop() ?? '')
  if (!match) return undefined
  const well = wellName(match[2] ?? '')
  if (well === undefined) return `"${match[2]}" is no well (A01 to AF48)`
  const time = numbered(folders, 'TimePoint')
  if (time === 0) return 'the folder TimePoint_0 is unknown: time points count from 1'
  return {
    base: match[1] ?? '',
    well,
    site: Number(match[3] ?? 1),
    wave: Number(match[4] ?? 1),
    thumbnail: match[5] !== undefined,
    timePoint: (time ?? 1) - 1,
    z: numbered(folders, 'ZStep') ?? 0,
  }
}

/** Number of the innermost folder NAME_N. */
function numbered(folders: readonly string[], name: string): number | undefined {
  const pattern = new RegExp(`^${name}_?([0-9]{1,4})$`, 'i')
  const number = folders.map((folder) => pattern.exec(folder)?.[1]).findLast((n) => n !== undefined)
  return number === undefined ? undefined : Number(number)
}

/** Reads a folder's files (relative paths). Undefined: nothing in it is named as MetaXpress names images. */
export async function surveyImageXpress(
  root: string,
  files: readonly string[],
): Promise<Survey | undefined> {
  const names = files.map((path) => ({ path, name: parseImageXpressName(path) }))
  if (!names.some(({ name }) => typeof name === 'object')) return undefined
  const { plates, refusals } = await readPlates(
    root,
    files.filter((path) => /\.htd$/i.test(path)),
  )
  const sightings: Sighting[] = []
  let thumbnails = 0
  for (const { path, name } of names) {
    if (name === undefined) {
      if (/_thumb/i.test(path)) thumbnails += 1
      else if (/\.tiff?$/i.test(path))
        refusals.push({
          origin: path,
          reason:
            'the name is not BASE_WELL_sSITE_wWAVE.tif: well, site and channel cannot be told',
        })
    } else if (typeof name === 'string') refusals.push({ origin: path, reason: name })
    else if (name.thumbnail) thumbnails += 1
    else {
      const plate = plates.get(name.base)
      if (plate === null)
        refusals.push({
          origin: path,
          reason: `two acquisitions of plate "${name.base}" are mixed here`,
        })
      else sightings.push(sightingOf(root, path, name, plate))
    }
  }
  const layouts = [...plates].flatMap(([plate, htd]) =>
    htd === null
      ? []
      : [
          layoutOf(
            plate,
            htd,
            sightings.filter((seen) => seen.plate === plate),
          ),
        ],
  )
  const notes = thumbnails > 0 ? [`${thumbnails} thumbnails left aside`] : []
  return { format: 'imagexpress', sightings, layouts, refusals, notes }
}

function sightingOf(
  root: string,
  path: string,
  name: ImageXpressName,
  htd: Htd | undefined,
): Sighting {
  return {
    path: join(root, path),
    origin: path.split(sep).join('/'),
    plate: htd ? name.base : undefined,
    acquisition: undefined,
    well: name.well,
    site: name.site,
    timePoint: name.timePoint,
    z: name.z,
    channel: `w${name.wave}`,
    stain: htd?.waves.find((wave) => wave.number === name.wave)?.name || undefined,
    claimed: {},
  }
}

/** HTDs by file name without extension. Copies of one plate's HTD lie in every folder; null: they contradict. */
async function readPlates(
  root: string,
  paths: readonly string[],
): Promise<{ plates: Map<string, Htd | null>; refusals: Refusal[] }> {
  const plates = new Map<string, Htd | null>()
  const firstPaths = new Map<string, string>()
  const refusals: Refusal[] = []
  for (const path of paths) {
    const plate = basename(path).replace(/\.htd$/i, '')
    try {
      const htd = parseHtd(await readBounded(join(root, path), htdSize))
      const known = plates.get(plate)
      if (known === undefined) {
        plates.set(plate, htd)
        firstPaths.set(plate, path)
      } else if (known !== null && known.uniqueId !== htd.uniqueId) {
        plates.set(plate, null)
        const reason = `another acquisition of plate "${plate}" is described by ${firstPaths.get(plate)}: ingest each folder by itself, with its own --acquisition`
        refusals.push({ origin: path, reason })
      }
    } catch (error) {
      refusals.push({
        origin: path,
        reason: messageOf(error),
      })
    }
  }
  return { plates, refusals }
}

/** The declared layout, widened by what is there all the same. */
function layoutOf(plate: string, htd: Htd, seen: readonly Sighting[]): Layout {
  const zPlanes = union(
    declaredZ(htd, seen),
    seen.map((image) => image.z),
  )
  return {
    plate,
    wells: union(
      htd.wells,
      seen.map((image) => image.well),
    ),
    sites: union(
      declaredSites(htd, seen),
      seen.map((image) => image.site),
    ),
    timePoints: union(
      range(0, htd.timePoints),
      seen.map((image) => image.timePoint),
    ),
    zPlanes,
    referenceZ: htd.projection ? 0 : (zPlanes[Math.floor(zPlanes.length / 2)] ?? 0),
    channels: [
      ...htd.waves.map((wave) => ({ id: `w${wave.number}`, stain: wave.name })),
      ...[...new Set(seen.map((image) => image.channel))]
        .filter((id) => !htd.waves.some((wave) => `w${wave.number}` === id))
        .map((id) => ({ id, stain: '' })),
    ],
  }
}

/** ZStep_0 is the projection where there is one; else steps count from 1, or from 0 in re-exported plates. */
function declaredZ(htd: Htd, seen: readonly Sighting[]): number[] {
  if (htd.zSteps === 1)
    return range(0, seen.some((image) => image.z === 0) || seen.length === 0 ? 1 : 0)
  const fromZero = htd.projection || seen.some((image) => image.z === 0)
  return fromZero ? range(0, htd.zSteps) : range(1, htd.zSteps)
}

/** Sites of a partly selected grid are numbered in a row, or by their place: the file names tell which. */
function declaredSites(htd: Htd, seen: readonly Sighting[]): readonly number[] {
  const inARow = range(1, htd.sitePlaces.length)
  const byPlace = seen.some(
    (image) => image.site > inARow.length && htd.sitePlaces.includes(image.site),
  )
  return byPlace ? htd.sitePlaces : inARow
}

const range = (from: number, count: number): number[] =>
  Array.from({ length: count }, (_, index) => from + index)

function union<T extends string | number>(declared: readonly T[], seen: readonly T[]): T[] {
  return [...new Set([...declared, ...[...new Set(seen)].sort((a, b) => (a < b ? -1 : 1))])]
}
