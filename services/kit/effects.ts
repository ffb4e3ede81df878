// Finished answers by effect key: in memory for the retry that follows at once, in the store for restarts and replicas.
import { randomUUID } from 'node:crypto'
import { link, mkdir, open, readFile, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { AnySchema } from '@bufbuild/protobuf/wkt'

const answersMax = 2_000
const answerBytesMax = 16 * 1024 * 1024

export type Answers = {
  get(key: string): Finished | undefined
  set(key: string, answer: Finished): void
}

export type Finished = {
  readonly entity: string
  readonly type: string
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
  /** The answer on record for the key. Throws when the record is of another type: two steps share a key. */
  read(key: string, type: string): Promise<Uint8Array | undefined>
  /** Puts an answer on record, write-once: returns what is on record now, ours or the winner's. */
  write(key: string, type: string, bytes: Uint8Array): Promise<Uint8Array>
}

/** Records under <store>/effects/<first 2 hex digits>/<key>.binpb, each a google.protobuf.Any. <store>/.tmp exists. */
export function openEffects(store: string): Effects {
  const pathOf = (key: string): string => join(store, 'effects', key.slice(0, 2), `${key}.binpb`)
  const effects: Effects = {
    async read(key, type) {
      const path = pathOf(key)
      const bytes = await readFile(path).catch(whenMissing)
      if (bytes === undefined) return undefined
      const record = fromBinary(AnySchema, bytes)
      if (record.typeUrl !== urlOf(type))
        throw new Error(
          `${path} holds ${record.typeUrl}, not ${urlOf(type)}: two steps share a key`,
        )
      return record.value
    },
    async write(key, type, bytes) {
      const path = pathOf(key)
      await mkdir(dirname(path), { recursive: true })
      const temporary = join(store, '.tmp', randomUUID())
      const record = create(AnySchema, { typeUrl: urlOf(type), value: bytes })
      try {
        await writeDurably(temporary, toBinary(AnySchema, record))
        // link, not rename: it refuses to replace a record, on every file system that two replicas may share.
        await link(temporary, path)
        await syncDirectory(dirname(path))
        return bytes
      } catch (error) {
        if (!hasCode(error, 'EEXIST')) throw error
        return (await effects.read(key, type)) ?? bytes
      } finally {
        await rm(temporary, { force: true })
      }
    },
  }
  return effects
}

/** Writes a file and waits until the disk has it. */
export async function writeDurably(path: string, bytes: Uint8Array): Promise<void> {
  const file = await open(path, 'wx')
  try {
    await file.writeFile(bytes)
    await file.sync()
  } finally {
    await file.close()
  }
}

/** Waits until the disk has a directory's entries. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r')
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}

export function hasCode(error: unknown, ...codes: readonly string[]): error is Error {
  return error instanceof Error && 'code' in error && codes.includes(String(error.code))
}

function whenMissing(error: unknown): undefined {
  if (hasCode(error, 'ENOENT')) return undefined
  throw error
}

function urlOf(type: string): string {
  return `type.googleapis.com/${type}`
}
