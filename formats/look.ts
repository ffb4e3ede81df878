// What a file is, told from its structure alone: an image that is read rightly, or what is in the way. One answer for
// whoever announces a file and for whoever measures it.
import type { Look } from './kinds.ts'
import { formatOf } from './magic.ts'
import { lookAtPng } from './png.ts'
import { Exhausted, withSource, type Source, type SourceOptions } from './source.ts'
import { lookAtTiff } from './tiff-kind.ts'
import { Damaged, readHeader } from './tiff.ts'

/**
 * Reads a few kilobytes. Rejects as the file system does, with TooSlow, or with the signal's reason; whatever the
 * file holds is a Look.
 */
export async function lookAt(path: string, options: SourceOptions = {}): Promise<Look> {
  return await withSource(path, options, lookInto)
}

/** As lookAt, at a file that is open. */
export async function lookInto(source: Source): Promise<Look> {
  try {
    const header = await readHeader(source)
    if (header !== undefined) return await lookAtTiff(source, header)
    const head = await source.read(0, 512)
    const format = formatOf(head)
    if (format === 'PNG') return await lookAtPng(source)
    if (format !== undefined) return { kind: 'unsupported', why: `${format} file` }
    const why = head.length === 0 ? 'it is empty' : 'it does not begin as any known image does'
    return { kind: 'no-image', why }
  } catch (error) {
    if (error instanceof Damaged) return { kind: error.kind, why: error.message }
    if (error instanceof Exhausted) return { kind: 'beyond-limits', why: error.message }
    throw error
  }
}
