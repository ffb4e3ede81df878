// What a file tells about itself beside what its name or row told: its plate, its stain, whether its kind is read.
import { TooSlow } from '../formats/source.ts'
import { readFileHeader, type FileHeader } from './header.ts'
import { messageOf, type Refusal, type Sighting } from './sighting.ts'

export type Told = Sighting & { readonly plate: string; readonly header: FileHeader }

const UNREADABLE_BARCODE = /^no_?code$/i
const SILENT: FileHeader = {
  refusal: undefined,
  pixelOffset: 0,
  barcode: undefined,
  illumination: undefined,
  mayBeSigned: false,
}

/** The plate from the source, else from the TIFF's barcode, else from the person who ingests. */
export async function tell(seen: Sighting, plate: string | undefined): Promise<Told | Refusal> {
  let header = SILENT
  try {
    header = await readFileHeader(seen.path)
  } catch (error) {
    const reason = `cannot be read: ${messageOf(error)}`
    if (seen.plate === undefined && plate === undefined) return { origin: seen.origin, reason }
    // A file that is not there is refused when it is announced, as one that is gone by then.
    if (error instanceof TooSlow) header = { ...SILENT, refusal: reason }
  }
  if (seen.plate !== undefined) return { ...seen, plate: seen.plate, header }
  const stain = seen.stain ?? header.illumination
  const { barcode } = header
  if (barcode !== undefined && !UNREADABLE_BARCODE.test(barcode))
    return { ...seen, plate: barcode, stain, header }
  if (plate !== undefined) return { ...seen, plate, stain, header }
  const why = barcode === undefined ? 'the file holds no barcode' : `its barcode reads ${barcode}`
  return {
    origin: seen.origin,
    reason: `the plate is not known: the name does not tell it and ${why}; say --plate`,
  }
}
