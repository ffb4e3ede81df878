// Finished answers by idempotency key: in memory for the retry that follows at once, in the store for restarts and replicas.
import { randomUUID } from 'node:crypto'
import { link, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fromBinary } from '@bufbuild/protobuf'
import { AnySchema } from '@bufbuild/protobuf/wkt'
import { FileRefused, openPlain } from '../../proto/artifact-file.ts'
import { checkBinding, type Binding } from './binding.ts'
import { invalidRequest } from './errors.ts'
import { hasCode, makeBelow, syncAbove, syncDirectory, writeDurably } from './files.ts'

const answersMax = 2_000
const answerBytesMax = 16 * 1024 * 1024

export type Answers = {
  get(key: string): Finished | undefined
  set(key: string, answer: Finished): void
}

export type Finished = {
  /** Whose answer it is. */
  readonly binding: Binding
  readonly bytes: Uint8Array
}

/** The newest answers, bounded by number and bytes. */
export function createAnswers(): Answers {
  const byKey = new Map<string, Finished>()
  let bytes = 0
  const forget = (key: string): void => {
    bytes -= byKey.get(key)?.bytes.length ?? 0
    byKey.delete(key)
  }
  return {
    get: (key) => byKey.get(key),
    set(key, answer) {
      forget(key)
      byKey.set(key, answer)
      bytes += answer.bytes.length
      for (const oldest of byKey.keys()) {
        if (byKey.size <= answersMax && bytes <= answerBytesMax) break
        forget(oldest)
      }
    },
  }
}

export type Effects = {
  /** The answer on record for the key. Throws INVALID_REQUEST when it is another's. */
  read(key: string, binding: Binding): Promise<Uint8Array | undefined>
  /** Puts an answer on record, write-once: returns what is on record now, ours or the winner's. */
  write(key: string, binding: Binding, bytes: Uint8Array): Promise<Uint8Array>
}

/**
 * Records at <store>/.answers/<first 2 hex digits>/<key>: whose answer it is as a line of JSON, then its bytes.
 * Records of version 0.1 (<store>/effects/…, a google.protobuf.Any) do not say whose they are: such a one is the answer
 * of the first who asks again, and from then on nobody else's.
 */
export function openEffects(store: string): Effects {
  async function bound(key: string, binding: Binding): Promise<Uint8Array | undefined> {
    const record = await contentOf(join(store, '.answers', key.slice(0, 2), key))
    if (record === undefined) return undefined
    const end = record.indexOf('\n')
    checkBinding(key, binding, JSON.parse(record.toString('utf8', 0, end)) as Binding)
    return record.subarray(end + 1)
  }

  async function unbound(key: string, type: string): Promise<Uint8Array | undefined> {
    const record = await contentOf(join(store, 'effects', key.slice(0, 2), `${key}.binpb`))
    if (record === undefined) return undefined
    const { typeUrl, value } = fromBinary(AnySchema, record)
    if (typeUrl === `type.googleapis.com/${type}`) return value
    throw invalidRequest(`idempotency key ${key} is that of an answer ${typeUrl}, not ${type}`)
  }

  const effects: Effects = {
    async read(key, binding) {
      const known = await bound(key, binding)
      if (known !== undefined) return known
      const old = await unbound(key, binding.type)
      return old === undefined ? undefined : await effects.write(key, binding, old)
    },
    async write(key, binding, bytes) {
      const made = await makeBelow(store, ['.answers', key.slice(0, 2)])
      const path = join(store, '.answers', key.slice(0, 2), key)
      const temporary = join(store, '.tmp', randomUUID())
      try {
        await writeDurably(
          temporary,
          Buffer.concat([Buffer.from(`${JSON.stringify(binding)}\n`), bytes]),
        )
        // link, not rename: it refuses to replace a record, on every file system that two replicas may share.
        await link(temporary, path)
        await syncDirectory(dirname(path))
        await syncAbove(made)
        return bytes
      } catch (error) {
        if (!hasCode(error, 'EEXIST')) throw error
        return (await bound(key, binding)) ?? bytes
      } finally {
        await rm(temporary, { force: true })
      }
    },
  }
  return effects
}

/** What a record holds; undefined when there is none. */
async function contentOf(path: string): Promise<Buffer | undefined> {
  try {
    const { handle, sizeBytes } = await openPlain(path)
    try {
      if (sizeBytes <= answerBytesMax) return await handle.readFile()
    } finally {
      await handle.close()
    }
  } catch (error) {
    // A directory of that name is an entity's that looks like a record of old.
    const isNone = error instanceof FileRefused && ['missing', 'not-a-file'].includes(error.trouble)
    if (isNone) return undefined
    throw error
  }
  throw new Error(`${path} is larger than any answer: remove it`)
}
