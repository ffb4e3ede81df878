// Which page of a TIFF is the image: the one full page. Thumbnails, masks and the levels of a pyramid are not it.
import type { Source } from './source.ts'
import {
  Damaged,
  numbersOf,
  readDirectory,
  tags,
  textOf,
  type Directory,
  type TiffHeader,
} from './tiff.ts'

/** A directory of the chain that the file begins with. */
export type Page = {
  /** Counted from 0, thumbnails included, as decoders count pages. */
  readonly index: number
  readonly directory: Directory
}

export type Pages =
  | { readonly kind: 'one'; readonly page: Page; readonly description: string | undefined }
  | { readonly kind: 'none' | 'many'; readonly why: string }

const descriptionBytesMax = 65_536

/**
 * Walks the directories until it knows. Throws Damaged when they lead out of the file or in a circle, and Exhausted.
 */
export async function findPage(source: Source, header: TiffHeader): Promise<Pages> {
  const visited = new Set<number>()
  let full: Page | undefined
  let index = 0
  for (let at = header.first; at !== 0; index++) {
    const directory = await visit(source, header, at, visited)
    if ((await roleOf(source, header, directory)) === 'full') {
      if (full !== undefined)
        return { kind: 'many', why: 'more than one full page (a stack, or several channels)' }
      full = { index, directory }
    }
    at = directory.next
  }
  if (full === undefined)
    return { kind: 'none', why: 'no full page, only thumbnails, reduced copies or masks' }
  const description = await textOf(
    source,
    full.directory.entries.get(tags.imageDescription),
    descriptionBytesMax,
  )
  const inside =
    (await planesInside(source, header, full.directory, description)) ??
    (await fullPagesBelow(source, header, full.directory, visited))
  if (inside !== undefined) return { kind: 'many', why: inside }
  return { kind: 'one', page: full, description }
}

async function visit(
  source: Source,
  header: TiffHeader,
  at: number,
  visited: Set<number>,
): Promise<Directory> {
  if (visited.has(at)) throw circleAt(at)
  visited.add(at)
  return await readDirectory(source, header, at)
}

function circleAt(at: number): Damaged {
  return new Damaged('corrupt', `its directories form a circle at ${at}`)
}

// NewSubfileType: bit 0 a reduced copy, bit 2 a mask; bit 1, one page of several, is set by writers of single pages too.
async function roleOf(
  source: Source,
  header: TiffHeader,
  { entries }: Directory,
): Promise<'full' | 'reduced' | 'mask'> {
  const [bits] = await numbersOf(source, header, entries.get(tags.newSubfileType), 1)
  if (bits !== undefined) return bits & 4 ? 'mask' : bits & 1 ? 'reduced' : 'full'
  const [old] = await numbersOf(source, header, entries.get(tags.subfileType), 1)
  return old === 2 ? 'reduced' : 'full'
}

/** Several planes behind one directory, as some writers of stacks save themselves the others. */
async function planesInside(
  source: Source,
  header: TiffHeader,
  { entries }: Directory,
  description = '',
): Promise<string | undefined> {
  const planes = entries.get(tags.uic2)?.count ?? 1
  if (planes > 1) return `${planes} planes in one directory (a MetaMorph stack)`
  const [depth = 1] = await numbersOf(source, header, entries.get(tags.imageDepth), 1)
  if (depth > 1) return `${depth} planes in one directory (a volume)`
  const images = imagejValue(description, 'images') ?? 1
  if (images > 1) return `${images} planes (an ImageJ stack)`
  const shape = shapeOf(description)
  if (shape.length === 0) return undefined
  const [[width = 0], [height = 0], [samples = 1]] = [
    await numbersOf(source, header, entries.get(tags.imageWidth), 1),
    await numbersOf(source, header, entries.get(tags.imageLength), 1),
    await numbersOf(source, header, entries.get(tags.samplesPerPixel), 1),
  ]
  const values = shape.reduce((product, edge) => product * edge, 1)
  const shaped = values / (width * height * samples)
  return shaped > 1 ? `${shaped} planes (an array of shape ${shape.join(' x ')})` : undefined
}

/** A number of ImageJ's "name=value" lines; undefined where ImageJ did not write the description. */
export function imagejValue(description: string, name: string): number | undefined {
  if (!description.startsWith('ImageJ=')) return undefined
  const line = description.split('\n').find((one) => one.startsWith(`${name}=`))
  const value = line === undefined ? Number.NaN : Number(line.slice(name.length + 1))
  return Number.isFinite(value) ? value : undefined
}

/** tifffile's {"shape": [5, 96, 96], …}; empty when it does not say. */
function shapeOf(description: string): readonly number[] {
  if (!description.startsWith('{"shape":')) return []
  const [from, to] = [description.indexOf('['), description.indexOf(']')]
  const edges = description
    .slice(from + 1, Math.max(from, to))
    .split(',')
    .map(Number)
  return edges.every((edge) => Number.isInteger(edge) && edge > 0) ? edges : []
}

/** Directories below the page: the levels of its pyramid, unless one is as large as the page itself. */
async function fullPagesBelow(
  source: Source,
  header: TiffHeader,
  page: Directory,
  visited: Set<number>,
): Promise<string | undefined> {
  const entry = page.entries.get(tags.subIfds)
  if (entry === undefined) return undefined
  const own = await edgeOf(source, header, page)
  source.spend(entry.count)
  const seen = new Set<number>()
  for (const first of await numbersOf(source, header, entry, entry.count)) {
    // Some writers list every level and chain them too: what another chain came by is not looked at again.
    const chain = new Set<number>()
    for (let at = first; at !== 0 && (chain.has(at) || !seen.has(at));) {
      if (visited.has(at)) throw circleAt(at)
      const below = await visit(source, header, at, chain)
      seen.add(at)
      const isFull = (await roleOf(source, header, below)) === 'full'
      if (isFull && (await edgeOf(source, header, below)) >= own)
        return 'another full page below the first (SubIFDs)'
      at = below.next
    }
  }
  return undefined
}

async function edgeOf(source: Source, header: TiffHeader, { entries }: Directory): Promise<number> {
  const [width = 0] = await numbersOf(source, header, entries.get(tags.imageWidth), 1)
  const [height = 0] = await numbersOf(source, header, entries.get(tags.imageLength), 1)
  return Math.max(width, height)
}
