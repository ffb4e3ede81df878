// Keys and ids derived from entities: results, idempotency, traces. Their derivations are frozen by test vectors
// (test/core/ids.test.ts): changing one orphans state, results and traces that exist.
import { hash } from 'node:crypto'

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

export type IdempotencyKeyParts = {
  readonly pipeline: string
  readonly step: string
  readonly entity: string
  readonly inputDigest: Uint8Array
  readonly generation: number
}

/** Idempotency key, 16 bytes: one effect, over retries and take-overs. */
export function idempotencyKey(parts: IdempotencyKeyParts): Uint8Array {
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
