// Names and keys: entity keys, result keys, effect keys, trace ids. Their derivations are frozen by test vectors
// (test/core/ids.test.ts): changing one orphans state, results and traces that exist.
import { hash } from 'node:crypto'
import { Level } from '#proto/wellspring/contract/v1/options_pb.ts'
import type { Identity } from '#proto/wellspring/lab/v1/identity_pb.ts'
import { IdentitySchema } from '#proto/wellspring/lab/v1/identity_pb.ts'

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

/** Result key: unique over all results of an application. */
export function resultKey(
  entity: string,
  step: string,
  pipeline: string,
  revision: number,
): string {
  return `${entity}/${step}@${pipeline}#${revision}`
}

/** Whether a key of results.v1 is that of a level's close; no step has this name. */
export function isCloseKey(key: string): boolean {
  return /\/close@[^/]*$/.test(key)
}

/** Ids match [A-Za-z0-9._-]{1,64}; every other byte of the UTF-8 text is percent-encoded, % included. */
export function encodeId(text: string): string {
  let out = ''
  for (const byte of Buffer.from(text, 'utf8')) {
    const char = String.fromCharCode(byte)
    out += /[A-Za-z0-9._-]/.test(char)
      ? char
      : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
  }
  if (out === '' || out.length > 192) throw new Error(`"${text}" is no id: want 1 to 64 characters`)
  return out
}

/** Canonical well name A01 … AF48 from A1, a01, A01, r01c01 or AF48; undefined if it is none. */
export function wellName(text: string): string | undefined {
  const harmony = /^r([0-9]{1,2})c([0-9]{1,2})$/i.exec(text)
  const letters = /^([A-Za-z]{1,2})([0-9]{1,2})$/.exec(text)
  const row = harmony ? Number(harmony[1]) : letters ? rowNumber(letters[1] ?? '') : 0
  const column = Number(harmony?.[2] ?? letters?.[2] ?? 0)
  if (row < 1 || row > 32 || column < 1 || column > 48) return undefined
  return wellAt(row, column)
}

/** Canonical well name of a row (1 … 32) and column (1 … 48). */
export function wellAt(row: number, column: number): string {
  const letter = (n: number): string => String.fromCharCode(64 + n)
  const name =
    row <= 26 ? letter(row) : letter(Math.floor((row - 1) / 26)) + letter(((row - 1) % 26) + 1)
  return name + String(column).padStart(2, '0')
}

/** Row (1 … 32) and column (1 … 48) of a canonical well name. */
export function wellPosition(well: string): { row: number; column: number } {
  const match = /^([A-Z]{1,2})([0-9]{2})$/.exec(well)
  if (!match) throw new Error(`"${well}" is no canonical well name`)
  return { row: rowNumber(match[1] ?? ''), column: Number(match[2]) }
}

function rowNumber(letters: string): number {
  let row = 0
  for (const char of letters.toUpperCase()) row = row * 26 + char.charCodeAt(0) - 64
  return row
}

export type EffectKeyParts = {
  readonly pipeline: string
  readonly step: string
  readonly entity: string
  readonly inputDigest: Uint8Array
  readonly generation: number
}

/** Idempotency key, 16 bytes: one effect, over retries and take-overs. */
export function effectKey(parts: EffectKeyParts): Uint8Array {
  const { pipeline, step, entity, inputDigest, generation } = parts
  const text = `effect\n${pipeline}\n${step}\n${entity}\n${hex(inputDigest)}\n${generation}`
  return Buffer.from(digest(text, 32), 'hex')
}

/** Trace id, 32 hex digits: any entity finds its trace without an index. revision counts from 1. */
export function traceId(application: string, entity: string, revision: number): string {
  const known = traces.get(entity)
  if (known?.application === application && known.revision === revision) return known.id
  const id = digest(`trace\n${application}\n${entity}\n${revision}`, 32)
  remember(traces, entity, { application, revision, id })
  return id
}

/** Span id, 16 hex digits, of a named part of a trace. */
export function spanId(trace: string, part: string): string {
  const isRoot = part === 'root'
  const known = isRoot ? roots.get(trace) : undefined
  if (known !== undefined) return known
  const id = digest(`span\n${trace}\n${part}`, 16)
  if (isRoot) remember(roots, trace, id)
  return id
}

// An entity's trace and root are named by its calls, its results and its spans: ten times within a moment.
const REMEMBERED_MAX = 2_048
const traces = new Map<string, { application: string; revision: number; id: string }>()
const roots = new Map<string, string>()

function remember<T>(known: Map<string, T>, name: string, value: T): void {
  if (known.size >= REMEMBERED_MAX) known.clear()
  known.set(name, value)
}

// Text out of crypto: a Buffer each would cost five times as much.
function digest(text: string, hexDigits: number): string {
  return hash('sha256', text, 'hex').slice(0, hexDigits)
}

/** SHA-256, 32 bytes. */
export function sha256(bytes: Uint8Array): Uint8Array {
  return Buffer.from(hash('sha256', bytes, 'hex'), 'hex')
}

export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex')
}

/** Partition of a Kafka key among `tasks` partitions, as the Java client's default partitioner has it. */
export function taskOf(key: string, tasks: number): number {
  return (murmur2(Buffer.from(key, 'utf8')) & 0x7fffffff) % tasks
}

/** murmur2 of org.apache.kafka.common.utils.Utils, seed 0x9747b28c. */
export function murmur2(data: Uint8Array): number {
  const m = 0x5bd1e995
  const { length } = data
  const view = new DataView(data.buffer, data.byteOffset, length)
  let h = 0x9747b28c ^ length
  let at = 0
  for (; at + 4 <= length; at += 4) {
    let k = Math.imul(view.getInt32(at, true), m)
    k = Math.imul(k ^ (k >>> 24), m)
    h = Math.imul(h, m) ^ k
  }
  const rest = length - at
  if (rest >= 3) h ^= view.getUint8(at + 2) << 16
  if (rest >= 2) h ^= view.getUint8(at + 1) << 8
  if (rest >= 1) h = Math.imul(h ^ view.getUint8(at), m)
  h = Math.imul(h ^ (h >>> 13), m)
  return h ^ (h >>> 15)
}
