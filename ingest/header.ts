// What the header of an image file tells before it is announced: whether its kind is read, its pixel offset, its text.
import { READ_KINDS, type Look } from '../formats/kinds.ts'
import { lookInto } from '../formats/look.ts'
import { withSource } from '../formats/source.ts'
import { tiffTextIn } from './tiff.ts'

export type FileHeader = {
  /** Why the file is not announced; a broken one is, so that it is seen to be broken. */
  readonly refusal: string | undefined
  /** Grey level of no light, where the file states it; else 0. */
  readonly pixelOffset: number
  readonly barcode: string | undefined
  /** MetaMorph illumination setting, for instance "DAPI". */
  readonly illumination: string | undefined
  /** Written by software that stores signed pixels as unsigned ones, as ScanR's does, and does not say so. */
  readonly mayBeSigned: boolean
}

const SIGNED_BY_HABIT = 'National Instruments IMAQ'

/** Reads some kilobytes. Rejects when the file cannot be opened, read or read in time. */
export async function readFileHeader(path: string): Promise<FileHeader> {
  return await withSource(path, {}, async (source) => {
    const look = await lookInto(source)
    // Not the whole description: one is kept of every file of a plate.
    const { barcode, illumination, software } = await tiffTextIn(source)
    const mayBeSigned = pixelOffsetIsOpen(look) && (software ?? '').includes(SIGNED_BY_HABIT)
    const pixelOffset = look.kind === 'grey-image' ? look.image.pixelOffset : 0
    return { refusal: refusalOf(look), pixelOffset, barcode, illumination, mayBeSigned }
  })
}

function pixelOffsetIsOpen(look: Look): boolean {
  return look.kind === 'grey-image' && look.image.bitsPerPixel === 16
}

function refusalOf(look: Look): string | undefined {
  switch (look.kind) {
    case 'unsupported':
      return `unsupported kind, ${look.why}; ${READ_KINDS}: export it as one file a plane`
    case 'beyond-limits':
      return `beyond the limits: ${look.why}`
    case 'grey-image':
    case 'truncated':
    case 'corrupt':
    case 'no-image':
      return undefined
  }
}
