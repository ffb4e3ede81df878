// Files by reference: read only below the roots and only as announced, written once and all or none.
import { createHash, randomUUID } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { copyFile, mkdir, open, readdir, realpath, rename, rm, stat } from 'node:fs/promises'
import { dirname, join, resolve, sep } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { create } from '@bufbuild/protobuf'
import type { Artifact } from '#proto/wellspring/lab/v1/artifact_pb.ts'
import { ArtifactSchema } from '#proto/wellspring/lab/v1/artifact_pb.ts'
import type { CallContext } from '#proto/wellspring/step/v1/call_pb.ts'
import type { PublishFile } from './call.ts'
import { hasCode, syncDirectory, writeDurably } from './effects.ts'
import { invalidRequest } from './errors.ts'

/** Its bytes are missing, or are not the announced ones. */
export class NotReady extends Error {
  override readonly name = 'NotReady'
}

export type Roots = {
  /** Absolute path of a verified artifact. Throws NotReady, or INVALID_REQUEST outside the roots. */
  open(artifact: Artifact, signal: AbortSignal): Promise<string>
}

/** Throws when a root is missing. */
export async function openRoots(directories: readonly string[]): Promise<Roots> {
  const roots: string[] = []
  for (const directory of directories) {
    const real = await realpath(directory).catch(() => undefined)
    if (real === undefined)
      throw new Error(`WELLSPRING_ROOTS names "${directory}", which does not exist`)
    roots.push(real)
  }
  return {
    async open(artifact, signal) {
      const announced = pathOf(artifact.uri)
      const path = await realpath(announced).catch((error: unknown) => {
        if (hasCode(error, 'ENOENT', 'ENOTDIR')) return undefined
        throw error
      })
      // A missing file is looked up by its name: outside the roots, not even its absence is told.
      const inside = [...roots, ...(path === undefined ? directories : [])].some((root) =>
        (path ?? resolve(announced)).startsWith(root === sep ? sep : root + sep),
      )
      if (!inside)
        throw invalidRequest(`${artifact.uri} is under none of the roots of this service`)
      if (path === undefined) throw new NotReady(`${artifact.uri} does not exist`)
      await verify(path, artifact, signal)
      return path
    },
  }
}

async function verify(path: string, artifact: Artifact, signal: AbortSignal): Promise<void> {
  const status = await stat(path)
  if (!status.isFile()) throw new NotReady(`${artifact.uri} is no file`)
  if (status.size !== artifact.sizeBytes)
    throw new NotReady(`${artifact.uri} has ${status.size} bytes, announced ${artifact.sizeBytes}`)
  const sha256 = await digestOf(path, signal)
  if (sha256 !== artifact.sha256)
    throw new NotReady(`${artifact.uri} has SHA-256 ${sha256}, announced ${artifact.sha256}`)
}

function pathOf(uri: string): string {
  try {
    return fileURLToPath(uri)
  } catch (error) {
    throw invalidRequest(`"${uri}" is no file: URI (${String(error)})`)
  }
}

async function digestOf(path: string, signal?: AbortSignal): Promise<string> {
  const hash = createHash('sha256')
  const options = { highWaterMark: 1024 * 1024, ...(signal ? { signal } : {}) }
  for await (const chunk of createReadStream(path, options)) hash.update(chunk as Buffer)
  return hash.digest('hex')
}

const temporaryMs = 24 * 3600 * 1_000

/** Removes what processes that were killed have left in the store's temporary directory, a day later. */
export async function sweepTemporary(store: string): Promise<void> {
  const directory = join(store, '.tmp')
  await mkdir(directory, { recursive: true })
  for (const name of await readdir(directory)) {
    const path = join(directory, name)
    const status = await stat(path).catch(() => undefined) // another replica may be sweeping too
    if (status === undefined || Date.now() - status.mtimeMs < temporaryMs) continue
    await rm(path, { recursive: true, force: true })
  }
}

/** New empty directory in the store (so that publishing from it is a rename). */
export async function makeTemporary(store: string): Promise<string> {
  const path = join(store, '.tmp', randomUUID())
  await mkdir(path, { recursive: true })
  return path
}

/**
 * Puts files under <store>/<entity>/<step>/<effect key>/ by one rename, after all their bytes are on disk. Who
 * comes second gets the winner's artifacts. Files below `movable` are moved, others copied.
 */
export async function publish<Name extends string>(
  store: string,
  context: CallContext,
  files: Readonly<Record<Name, PublishFile>>,
  movable: readonly string[],
): Promise<Record<Name, Artifact>> {
  const entries = Object.entries<PublishFile>(files)
  if (entries.length === 0) throw new Error('Cannot publish no files: give at least one')
  for (const [name] of entries)
    if (!/^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$/.test(name))
      throw new Error(`Cannot publish "${name}": want a file name of A-Z a-z 0-9 . _ -`)
  const target = join(store, ...placeOf(context))
  if (!(await stat(target).catch(() => undefined))) {
    const draft = await makeTemporary(store)
    try {
      for (const [name, file] of entries) await place(file, join(draft, name), movable)
      await syncDirectory(draft)
      const made = await mkdir(dirname(target), { recursive: true })
      await rename(draft, target)
      await syncUpTo(dirname(target), made)
    } catch (error) {
      await rm(draft, { recursive: true, force: true })
      if (!hasCode(error, 'ENOTEMPTY', 'EEXIST')) throw error // else another was first
    }
  }
  const artifacts: Record<string, Artifact> = {}
  for (const [name, file] of entries)
    artifacts[name] = await describe(join(target, name), file.mediaType)
  return artifacts as Record<Name, Artifact>
}

/** Waits until the disk has a directory's entries, and those of all that were made to hold it. */
async function syncUpTo(directory: string, made: string | undefined): Promise<void> {
  await syncDirectory(directory)
  if (made !== undefined && directory !== dirname(made)) await syncUpTo(dirname(directory), made)
}

/** Path segments of a call's place in the store; nothing in a request may lead out of it. */
function placeOf(context: CallContext): string[] {
  const segments = [...context.entity.split('/'), context.step, context.effectKey]
  for (const segment of segments)
    if (!/^[A-Za-z0-9._%-]{1,192}$/.test(segment) || ['.', '..', '.tmp'].includes(segment))
      throw invalidRequest(`"${context.entity}" of step "${context.step}" cannot name a directory`)
  return segments
}

async function place(file: PublishFile, path: string, movable: readonly string[]): Promise<void> {
  if ('bytes' in file) return await writeDurably(path, file.bytes)
  if (movable.some((directory) => file.path.startsWith(directory + sep)))
    await rename(file.path, path)
  else await copyFile(file.path, path)
  const handle = await open(path, 'r+')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

async function describe(path: string, mediaType: string): Promise<Artifact> {
  const { size } = await stat(path)
  const sha256 = await digestOf(path)
  const uri = pathToFileURL(path).href
  return create(ArtifactSchema, { uri, sizeBytes: size, sha256, mediaType })
}
