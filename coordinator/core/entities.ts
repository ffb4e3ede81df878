// Entities by key, kept as the bytes that state.v1 holds, with the busy ones decoded: a million images fit, and what a
// flush writes is what a restore reads.
import { create, type DescMessage, type MessageShape } from '@bufbuild/protobuf'
import { PART_BYTES_MAX, encoded, pieces, type Cut } from './cut.ts'
import { packedBytes } from './packed.ts'
import { UnwritableState, addPart, readEntity } from './unreadable.ts'

/**
 * Decoded entities kept per map besides those that wait for a flush; the rest is bytes. Those of 128 sites are enough
 * for what is in work at a time; with 1,024 the collector spent more on objects that nobody asked for again than a second decoding costs.
 */
const DECODED_ENTITIES_MAX = 128

export type Change = [key: string, bytes: Uint8Array | null]

/** What an entity is taken to have that has no bytes yet. */
const NEW_ENTITY_BYTES = 400

export type Entities<D extends DescMessage> = {
  get(key: string): MessageShape<D> | undefined
  /** get, or a new one that is dirty from the start. */
  open(key: string): MessageShape<D>
  /** The entity was changed and goes out with the next flush. */
  touch(key: string, entity: MessageShape<D>): void
  /** Forgets the entity, with the next flush also on state.v1. */
  drop(key: string): void
  has(key: string): boolean
  keys(): Iterable<string>
  size(): number
  /** Another number whenever an entity has come or gone. */
  version(): number
  /** Until release no decoded entity is let go: who holds one in an event must hold the one that the next get returns. */
  hold(): void
  release(): void
  /** How many entities the next take returns. */
  changedRecords(): number
  /** About how many bytes the next take returns: as they were before they changed. */
  changedBytes(): number
  /** Bytes of everything that changed since the last take; null: forgotten. */
  take(): Change[]
  load(key: string, bytes: Uint8Array | null): void
  /** A record beside an entity's own, by its key on state.v1. */
  loadPart(key: string, bytes: Uint8Array | null): void
  /** Whether any entity goes on beside its own record. */
  hasParts(): boolean
  /** Every record as state.v1 has it, in order of key. */
  all(): [key: string, bytes: Uint8Array][]
}

export type Kept<D extends DescMessage> = {
  readonly schema: D
  readonly decodedMax?: number | undefined
  /** Behind an entity's key on state.v1. */
  readonly suffix?: string
  /** How an entity goes on in other records; without it each is one. */
  readonly cut?: Cut<D>
}

const NOTHING: readonly number[] = []

export function entities<D extends DescMessage>(kept: Kept<D>): Entities<D> {
  const { schema, cut, suffix = '', decodedMax = DECODED_ENTITIES_MAX } = kept
  const stored = packedBytes()
  /** Records beside the entities' own, by their keys on state.v1. */
  const parts = packedBytes()
  /** Of entities that have parts: how many items each record has. */
  const layouts = new WeakMap<object, readonly number[]>()
  /** Decoded and the same as stored, oldest first. */
  const clean = new Map<string, MessageShape<D>>()
  /** Decoded, without bytes until the next take. */
  const dirty = new Map<string, MessageShape<D>>()
  const gone = new Set<string>()
  const partKey = (key: string, part: number): string => `${key}${suffix}${cut?.infix}${part}`
  let dirtyBytes = 0
  let isHeld = false
  let version = 0

  function evict(): void {
    if (isHeld || clean.size <= decodedMax) return
    for (const oldest of clean.keys()) {
      clean.delete(oldest)
      if (clean.size <= decodedMax) return
    }
  }

  function get(key: string): MessageShape<D> | undefined {
    const found = dirty.get(key) ?? clean.get(key)
    if (found !== undefined) return found
    const bytes = stored.get(key)
    if (bytes === undefined) return undefined
    const entity = readEntity(schema, key, bytes)
    if (cut && parts.size() > 0) join(key, entity, cut)
    clean.set(key, entity)
    evict()
    return entity
  }

  function join(key: string, entity: MessageShape<D>, by: Cut<D>): void {
    const counts = [by.count(entity)]
    let total = by.count(entity)
    for (let part = 1; ; part += 1) {
      const bytes = parts.get(partKey(key, part))
      if (bytes === undefined) break
      addPart(schema, partKey(key, part), entity, bytes)
      counts.push(by.count(entity) - total)
      total = by.count(entity)
    }
    if (counts.length > 1) layouts.set(entity, counts)
  }

  /** The entity in records: its own first. */
  function recordsOf(entity: MessageShape<D>): readonly Uint8Array[] {
    const layout = layouts.get(entity)
    if (!cut) return [encoded(schema, entity)]
    if (!layout && cut.count(entity) <= cut.itemsMax) {
      const whole = encoded(schema, entity)
      if (whole.length <= PART_BYTES_MAX) return [whole]
    }
    const { counts, records } = pieces(schema, cut, entity, layout ?? NOTHING)
    if (counts.length > 1) layouts.set(entity, counts)
    return records
  }

  function writtenOf(key: string, entity: MessageShape<D>): readonly Uint8Array[] {
    try {
      return recordsOf(entity)
    } catch (cause) {
      throw new UnwritableState(key, cause)
    }
  }

  /** Keeps the parts that differ from what is stored; returns them. */
  function storeParts(key: string, records: readonly Uint8Array[]): Change[] {
    return records.flatMap((record, part): Change[] => {
      const name = partKey(key, part)
      const before = part === 0 ? undefined : parts.get(name)
      if (part === 0 || (before && Buffer.compare(before, record) === 0)) return []
      const bytes = compact(record)
      parts.set(name, bytes)
      return [[name, bytes]]
    })
  }

  function dropParts(key: string): void {
    for (let part = 1; parts.has(partKey(key, part)); part += 1) {
      parts.delete(partKey(key, part))
      gone.add(partKey(key, part))
    }
  }

  function touch(key: string, entity: MessageShape<D>): void {
    const known = dirty.get(key)
    if (known === entity) return
    dirty.set(key, entity)
    if (known !== undefined) return
    if (!stored.has(key)) version += 1
    dirtyBytes += key.length + (stored.get(key)?.byteLength ?? NEW_ENTITY_BYTES)
    // As a rule what changes is in one of its records.
    if (parts.size() > 0) dirtyBytes += parts.get(partKey(key, 1))?.byteLength ?? 0
    clean.delete(key)
    gone.delete(key + suffix)
  }

  return {
    get,
    touch,
    open(key) {
      const found = get(key)
      if (found !== undefined) return found
      const entity = create(schema)
      touch(key, entity)
      return entity
    },
    drop(key) {
      version += 1
      stored.delete(key)
      clean.delete(key)
      dirty.delete(key)
      gone.add(key + suffix)
      if (parts.size() > 0) dropParts(key)
    },
    has: (key) => stored.has(key) || dirty.has(key),
    *keys() {
      yield* stored.keys()
      for (const key of dirty.keys()) if (!stored.has(key)) yield key
    },
    size: () => stored.size(),
    version: () => version,
    hold() {
      isHeld = true
    },
    release() {
      isHeld = false
      evict()
    },
    changedRecords: () => dirty.size + gone.size,
    changedBytes: () => dirtyBytes,
    take() {
      const out: Change[] = [...gone].map((key) => [key, null])
      for (const [key, entity] of dirty) {
        const records = writtenOf(key, entity)
        const bytes = compact(records[0] ?? new Uint8Array())
        stored.set(key, bytes)
        clean.set(key, entity)
        out.push([key + suffix, bytes])
        if (records.length > 1) out.push(...storeParts(key, records))
      }
      dirty.clear()
      gone.clear()
      dirtyBytes = 0
      evict()
      return out
    },
    load(key, bytes) {
      version += 1
      clean.delete(key)
      if (bytes === null) stored.delete(key)
      else stored.copy(key, bytes)
    },
    loadPart(key, bytes) {
      if (bytes === null) parts.delete(key)
      else parts.copy(key, bytes)
    },
    hasParts: () => parts.size() > 0,
    all() {
      const own = [...stored.entries()].map(([key, bytes]): [string, Uint8Array] => [
        key + suffix,
        bytes,
      ])
      return [...own, ...parts.entries()].sort(([a], [b]) => (a < b ? -1 : 1))
    },
  }
}

/** An own buffer of the exact length: a slice would keep its whole arena alive. */
function compact(bytes: Uint8Array): Uint8Array {
  return bytes.byteLength === bytes.buffer.byteLength
    ? bytes
    : Uint8Array.prototype.slice.call(bytes)
}
