// Entity keys: the text that names a plate acquisition, well, site or image everywhere. Frozen by test vectors
// (test/core/ids.test.ts): changing one orphans state, results and traces that exist.
import { Level } from '#proto/wellspring/contract/v1/options_pb.ts'
import { IdentitySchema, type Identity } from '#proto/wellspring/lab/v1/identity_pb.ts'

/** Canonical text of an identity: experiment/plate/acquisition[/well/tN[/sN[/zN/channel]]]. */
export function entityKey(identity: Identity): string {
  const { experiment, plate, acquisition, well, timePoint, site, z, channel } = identity
  let key = `${experiment}/${plate}/${acquisition}`
  if (well === undefined || timePoint === undefined) return key
  key += `/${well}/t${timePoint}`
  if (site === undefined) return key
  key += `/s${site}`
  if (z === undefined || channel === undefined) return key
  return `${key}/z${z}/${channel}`
}

/** The levels that an entity key can have. */
export type EntityLevel =
  | typeof Level.IMAGE
  | typeof Level.SITE
  | typeof Level.WELL
  | typeof Level.PLATE

const SEGMENTS = { plate: 3, well: 5, site: 6, image: 8 } as const

/** Level of an entity key, by its number of segments. Throws on anything that is not an entity key. */
export function levelOf(key: string): EntityLevel {
  switch (segmentsIn(key)) {
    case SEGMENTS.plate:
      return Level.PLATE
    case SEGMENTS.well:
      return Level.WELL
    case SEGMENTS.site:
      return Level.SITE
    case SEGMENTS.image:
      return Level.IMAGE
    default:
      throw new Error(
        `"${key}" is no entity key: want experiment/plate/acquisition[/well/tN[/sN[/zN/channel]]]`,
      )
  }
}

/** The identity that an entity key spells. Throws as levelOf does. */
export function parseEntity(key: string): Identity {
  const level = levelOf(key)
  const [experiment = '', plate = '', acquisition = '', well, t, s, z, channel] = key.split('/')
  // A literal: create() takes as long as all the rest, and this is asked for with every call.
  const identity: Identity = { $typeName: IdentitySchema.typeName, experiment, plate, acquisition }
  if (level === Level.PLATE) return identity
  identity.well = well ?? ''
  identity.timePoint = numbered(key, 't', t)
  if (level === Level.WELL) return identity
  identity.site = numbered(key, 's', s)
  if (level === Level.SITE) return identity
  identity.z = numbered(key, 'z', z)
  identity.channel = channel ?? ''
  return identity
}

function numbered(key: string, letter: string, segment: string | undefined): number {
  if (segment === undefined || !segment.startsWith(letter) || !/^[0-9]+$/.test(segment.slice(1)))
    throw new Error(`"${key}" is no entity key: "${segment}" should be ${letter} and a number`)
  return Number(segment.slice(1))
}

/** Whether a text is an entity key, whether or not the entity exists. */
export function isEntityKey(text: string): boolean {
  try {
    const { experiment, plate, acquisition, well, channel } = parseEntity(text)
    const isWhole = [experiment, plate, acquisition].every((part) => part !== '')
    return isWhole && well !== '' && channel !== ''
  } catch {
    return false
  }
}

/** Entity key of the level above: image → site → well → plate. A plate has none. */
export function parentOf(key: string): string | undefined {
  switch (segmentsIn(key)) {
    case SEGMENTS.image:
      return firstOf(key, SEGMENTS.site)
    case SEGMENTS.site:
      return firstOf(key, SEGMENTS.well)
    case SEGMENTS.well:
      return firstOf(key, SEGMENTS.plate)
    default:
      return undefined
  }
}

/** Key of the plate acquisition that an entity belongs to. */
export function plateOf(key: string): string {
  return firstOf(key, SEGMENTS.plate)
}

/** What a key says below its plate: <well>/t<time point>[/s<site>[/z<z>/<channel>]]; of a plate nothing. */
export function belowPlate(key: string): string {
  return key.slice(plateOf(key).length + 1)
}

/** Well name of a well, site or image key; of a plate none. */
export function wellOf(key: string): string {
  return firstOf(belowPlate(key), 1)
}

/** Kafka key of everything that belongs to a plate: experiment/plate. */
export function partitionKey(entity: string): string {
  return firstOf(entity, 2)
}

// Asked a hundred times per image: without an array of parts.
function segmentsIn(key: string): number {
  let segments = 1
  for (let at = key.indexOf('/'); at >= 0; at = key.indexOf('/', at + 1)) segments += 1
  return segments
}

/** The first so many segments of a key; all of it if it has no more. */
function firstOf(key: string, segments: number): string {
  let at = -1
  for (let left = segments; left > 0; left -= 1) {
    at = key.indexOf('/', at + 1)
    if (at < 0) return key
  }
  return key.slice(0, at)
}

/** Ids match [A-Za-z0-9._-]{1,64}; every other byte of the UTF-8 text is percent-encoded, % included. */
export function encodeId(text: string): string {
  let out = ''
  for (const byte of new TextEncoder().encode(text)) {
    const char = String.fromCharCode(byte)
    out += /[A-Za-z0-9._-]/.test(char)
      ? char
      : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
  }
  if (out === '' || out.length > 192) throw new Error(`"${text}" is no id: want 1 to 64 characters`)
  return out
}
