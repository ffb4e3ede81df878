// Sorts images that the program's decoder refused into the contract's reasons.
import { isCutShort } from '../../formats/complete.ts'
import { lookAt } from '../../formats/look.ts'
import { Exhausted } from '../../formats/source.ts'
import { Damaged } from '../../formats/tiff.ts'
import { isUnsupportedKind } from '../kit/images.ts'

/** Why a file cannot be read, as the contract's reasons name it. */
export type Unreadable =
  | 'NOT_AN_IMAGE'
  | 'TRUNCATED'
  | 'CORRUPT'
  | 'LIMIT_EXCEEDED'
  | 'UNSUPPORTED_KIND'

const decoderCharsMax = 2_048

/**
 * Sorts a file that the decoder refused: by the decoder's words, then by a look at the file's structure.
 * Reads some kilobytes. Rejects when the file itself cannot be opened or read in time, or with the signal's reason.
 */
export async function classify(
  path: string,
  decoderText: string,
  signal?: AbortSignal,
): Promise<Unreadable> {
  const text = decoderText.slice(0, decoderCharsMax)
  if (isUnsupportedKind(text)) return 'UNSUPPORTED_KIND'
  if (/\blimits?\b|out of memory|allocation failed/i.test(text)) return 'LIMIT_EXCEEDED'
  if (/expected one grey channel|expected (?:8|16|8 or 16) bit/.test(text))
    return 'UNSUPPORTED_KIND'
  const look = await lookAt(path, { signal })
  switch (look.kind) {
    case 'no-image':
      return 'NOT_AN_IMAGE'
    case 'unsupported':
      return 'UNSUPPORTED_KIND'
    case 'beyond-limits':
      return 'LIMIT_EXCEEDED'
    case 'truncated':
      return 'TRUNCATED'
    case 'corrupt':
      return 'CORRUPT'
    case 'grey-image':
      return (await endsEarly(path, text, signal)) ? 'TRUNCATED' : 'CORRUPT'
  }
}

async function endsEarly(path: string, text: string, signal?: AbortSignal): Promise<boolean> {
  if (/premature|unexpected end|past end|got [0-9]{1,16} bytes, expected [0-9]/i.test(text))
    return true
  // Lists that do not fit together, or are too long to look at, say nothing about the end of the file.
  return await isCutShort(path, { signal }).catch((error: unknown) => {
    if (error instanceof Exhausted || error instanceof Damaged) return false
    throw error
  })
}
