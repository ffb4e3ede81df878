// What the header of an image file tells before it is announced: whether its kind is read, its pixel offset, its text.
import { READ_KINDS } from '../formats/kinds.ts'
import { lookInto } from '../formats/look.ts'
import { withSource } from '../formats/source.ts'
import type { TiffText } from './tiff.ts'
import { tiffTextIn } from './tiff.ts'

export type FileHeader = {
  /** Why the file is not announced; a broken one is, so that it is seen to be broken. */
  readonly refusal: string | undefined
  /** Grey level of no light, where the file states it; else 0. */
  readonly pixelOffset: number
  readonly text: TiffText
}

/** Reads some kilobytes. Rejects when the file cannot be opened, read or read in time. */
export async function readFileHeader(path: string): Promise<FileHeader> {
  return await withSource(path, {}, async (source) => {
    const look = await lookInto(source)
    const text = await tiffTextIn(source)
    const pixelOffset = look.kind === 'grey-image' ? look.image.pixelOffset : 0
    if (look.kind === 'unsupported') return { refusal: unsupported(look.why), pixelOffset, text }
    const refusal = look.kind === 'beyond-limits' ? `beyond the limits: ${look.why}` : undefined
    return { refusal, pixelOffset, text }
  })
}

function unsupported(why: string): string {
  return `unsupported kind, ${why}; ${READ_KINDS}: export it as one file a plane`
}
