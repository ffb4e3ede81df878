// What a channel shows, told by its name, its stain or the person who ingests.
import { ChannelKind } from '#proto/wellspring/lab/v1/identity_pb.ts'

const NUCLEI = /dapi|hoe(ch|sch)st|draq5|nucle(i|us|ar)|(?<![a-z])h?dna(?![a-z])|^orig_?dna$/i
const BRIGHTFIELD =
  /bright[ _-]?field|transmitted|phase|(?<![a-z])(bf|tl|dic|pc)(?![a-z])|^orig_?bf$/i
const FLUORESCENCE =
  /fitc|[gryc]fp|cy[357]|tx ?red|texas|alexa|tritc|rhodamine|mito|actin|phalloidin|agp|(?<![a-z])er(?![a-z])|rna|\b(405|488|561|568|594|640|647)\b|ph3|mcherry|tomato|^orig/i

/** Kind told by a channel's or stain's name; UNSPECIFIED when the name says nothing ("w1", "ch2"). */
export function kindOfName(name: string): ChannelKind {
  if (BRIGHTFIELD.test(name)) return ChannelKind.BRIGHTFIELD
  if (NUCLEI.test(name)) return ChannelKind.NUCLEI
  return FLUORESCENCE.test(name) ? ChannelKind.FLUORESCENCE : ChannelKind.UNSPECIFIED
}

const KINDS: Readonly<Record<string, ChannelKind>> = {
  nuclei: ChannelKind.NUCLEI,
  fluorescence: ChannelKind.FLUORESCENCE,
  brightfield: ChannelKind.BRIGHTFIELD,
  unknown: ChannelKind.UNSPECIFIED,
}

/**
 * Reads "w1=nuclei,w2=fluorescence" into kinds by channel name as the source writes it.
 * Throws on anything else, saying which part is wrong.
 */
export function parseChannels(text: string): ReadonlyMap<string, ChannelKind> {
  const kinds = new Map<string, ChannelKind>()
  for (const part of text.split(',')) {
    const at = part.lastIndexOf('=')
    const name = part.slice(0, Math.max(at, 0)).trim()
    const kind = KINDS[part.slice(at + 1).trim()]
    if (name === '' || kind === undefined)
      throw new Error(
        `--channels: "${part.trim()}" is not NAME=KIND with KIND one of ${Object.keys(KINDS).join(', ')}`,
      )
    kinds.set(name, kind)
  }
  return kinds
}
