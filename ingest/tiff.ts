// Reads text that microscopes leave in TIFF tags: barcode, illumination setting. Answers "nothing" on any damage: a
// broken file is for the image-quality step to judge, not for ingest.
import { Exhausted, withSource, type Source } from '../formats/source.ts'
import { Damaged, readDirectory, readHeader, tags, textOf } from '../formats/tiff.ts'

/** What the tags tell; undefined where they do not. */
export type TiffText = {
  /** True when the file begins as a TIFF does. */
  readonly isTiff: boolean
  /** ImageDescription of the first directory, up to descriptionBytesMax bytes. */
  readonly description: string | undefined
  readonly barcode: string | undefined
  /** MetaMorph illumination setting, for instance "DAPI". */
  readonly illumination: string | undefined
  /** What wrote the file, up to softwareBytesMax bytes. */
  readonly software: string | undefined
}

const descriptionBytesMax = 65_536
const softwareBytesMax = 256
/** MetaMorph keeps its custom properties between the description and the end of the file. */
const trailerBytesMax = 65_536
const NOTHING: TiffText = {
  isTiff: false,
  description: undefined,
  barcode: undefined,
  illumination: undefined,
  software: undefined,
}

/** Reads the text tags of the first directory. Rejects only when the file cannot be opened, read or read in time. */
export async function readTiffText(path: string): Promise<TiffText> {
  return await withSource(path, {}, tiffTextIn)
}

/** As readTiffText, of a file that is open. */
export async function tiffTextIn(source: Source): Promise<TiffText> {
  let isTiff = false
  try {
    const header = await readHeader(source)
    if (header === undefined) return NOTHING
    isTiff = true
    const { entries } = await readDirectory(source, header, header.first)
    const software = await textOf(source, entries.get(tags.software), softwareBytesMax)
    const entry = entries.get(tags.imageDescription)
    const description = await textOf(source, entry, descriptionBytesMax)
    if (description === undefined) return { ...NOTHING, isTiff, software }
    const isApart = entry !== undefined && entry.inline === undefined
    const illumination =
      attributeOf(description, '_IllumSetting_') ??
      (isApart ? propertyOf(await source.read(entry.at, trailerBytesMax)) : undefined)
    const barcode = valueOfLine(description, 'Barcode:')
    return { isTiff, description, barcode, illumination, software }
  } catch (error) {
    if (error instanceof Damaged || error instanceof Exhausted) return { ...NOTHING, isTiff }
    throw error
  }
}

/** What follows the first "Name:" that begins a line; undefined when it is missing or nothing follows. */
function valueOfLine(text: string, name: string): string | undefined {
  for (const line of text.split(/\r\n?|\n/)) {
    const words = line.trim()
    if (words.slice(0, name.length).toLowerCase() === name.toLowerCase())
      return words.slice(name.length).trim() || undefined
  }
  return undefined
}

/** Newer MetaXpress writes XML: <prop id="ID" … value="VALUE"/>. */
function attributeOf(xml: string, id: string): string | undefined {
  const mark = `id="${id}"`
  const at = xml.indexOf(mark)
  if (at < 0) return undefined
  const close = xml.indexOf('>', at)
  const element = xml.slice(at + mark.length, close < 0 ? xml.length : close)
  const value = element.indexOf('value="')
  const [from, to] = [value + 7, element.indexOf('"', value + 7)]
  return value < 0 || to < 0 ? undefined : element.slice(from, to)
}

/** Older MetaXpress writes a binary property: name, 5 bytes of type, length, text. */
function propertyOf(trailer: Buffer): string | undefined {
  const name = '_IllumSetting_'
  const at = trailer.indexOf(name, 0, 'latin1')
  if (at < 0) return undefined
  const length = trailer[at + name.length + 5] ?? 0
  const text = trailer.toString('latin1', at + name.length + 6, at + name.length + 6 + length)
  return length > 0 && /^[\x20-\x7e]+$/.test(text) ? text : undefined
}
