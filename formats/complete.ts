// Whether a file ends before the data that it promises: asked when a decoder has refused it.
import { lookInto } from './look.ts'
import { Exhausted, withSource, type Source, type SourceOptions } from './source.ts'
import { findPage } from './tiff-pages.ts'
import { Damaged, numbersOf, readHeader, tags, type Directory, type TiffHeader } from './tiff.ts'

const blocksMax = 500_000

/** True when it does. Rejects as lookAt does, and with Exhausted. */
export async function isCutShort(path: string, options: SourceOptions = {}): Promise<boolean> {
  return await withSource(path, options, async (source) => {
    const look = await lookInto(source)
    if (look.kind !== 'grey-image') return look.kind === 'truncated'
    const header = await readHeader(source)
    if (header === undefined) return !(await source.read(source.size - 16, 16)).includes('IEND')
    const pages = await findPage(source, header)
    if (pages.kind !== 'one') return false
    return (await blocksOf(source, header, pages.page.directory)).some(
      ({ at, bytes }) => at + bytes > source.size,
    )
  })
}

/** A strip or tile: where its bytes are. */
export type Block = { readonly at: number; readonly bytes: number }

/** Strips or tiles in order. Throws Damaged when their lists do not fit together. */
export async function blocksOf(
  source: Source,
  header: TiffHeader,
  { entries }: Directory,
): Promise<Block[]> {
  const isTiled = entries.has(tags.tileOffsets)
  const [places, sizes] = [
    entries.get(isTiled ? tags.tileOffsets : tags.stripOffsets),
    entries.get(isTiled ? tags.tileByteCounts : tags.stripByteCounts),
  ]
  const listed = Math.max(places?.count ?? 0, sizes?.count ?? 0)
  if (listed > blocksMax) throw new Exhausted(`it lists ${listed} strips or tiles`)
  const offsets = await numbersOf(source, header, places, blocksMax)
  const counts = await numbersOf(source, header, sizes, blocksMax)
  if (offsets.length !== counts.length)
    throw new Damaged('corrupt', `${offsets.length} offsets, ${counts.length} byte counts`)
  return offsets.map((at, i) => ({ at, bytes: counts[i] ?? 0 }))
}
