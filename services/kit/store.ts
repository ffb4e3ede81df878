// The artifact store: files published under their call's name, all or none, written once, and never through a link.
import { randomUUID } from 'node:crypto'
import { constants } from 'node:fs'
import {
  lstat,
  mkdir,
  open,
  readdir,
  realpath,
  rename,
  rm,
  type FileHandle,
} from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { create } from '@bufbuild/protobuf'
import { ArtifactSchema, type Artifact } from '#proto/wellspring/lab/v1/artifact_pb.ts'
import type { CallContext } from '#proto/wellspring/step/v1/call_pb.ts'
import {
  artifactBytesMax,
  FileRefused,
  isBelow,
  openPlain,
  realPathOf,
  sha256Of,
  type OpenFile,
} from '../../proto/artifact-file.ts'
import type { PublishFile } from './call.ts'
import { badResponse, invalidRequest } from './errors.ts'
import {
  hasCode,
  isDirectory,
  makeBelow,
  modes,
  ownDirectory,
  removeLeft,
  syncAbove,
  syncDirectory,
  whenMissing,
  writeDurably,
} from './files.ts'

const temporaryMs = 24 * 3600 * 1_000
const copyBytes = 1024 * 1024
const segmentsMax = 8

/**
 * The store as a wrapper finds it when it starts: closed to other users, without what processes that were killed left
 * in its temporary directory a day ago.
 */
export async function openStore(store: string): Promise<void> {
  if (!(await isDirectory(store))) await mkdir(store, { recursive: true, mode: modes.directory })
  await ownDirectory(await realpath(store))
  const directory = join(store, '.tmp')
  await ownDirectory(directory)
  for (const name of await readdir(directory)) {
    const path = join(directory, name)
    const status = await lstat(path).catch(() => undefined) // another replica may be sweeping too
    if (status === undefined || Date.now() - status.mtimeMs < temporaryMs) continue
    await removeLeft(path)
  }
}

/** New empty directory in the store (so that publishing from it is a rename). */
export async function makeTemporary(store: string): Promise<string> {
  const name = randomUUID()
  await makeBelow(store, ['.tmp', name])
  return join(store, '.tmp', name)
}

export type PublishOptions = {
  readonly store: string
  readonly context: CallContext
  /** Directories whose files are moved; others are copied. */
  readonly movable: readonly string[]
  /** Largest file that is published. */
  readonly bytesMax?: number
}

/**
 * Puts files under <store>/<entity>/<step>/<idempotency key>/ by one rename, after all their bytes are on disk. Who
 * comes second gets the winner's artifacts. Throws BAD_RESPONSE for what is no regular file, or too large.
 */
export async function publish<Name extends string>(
  options: PublishOptions,
  files: Readonly<Record<Name, PublishFile>>,
): Promise<Record<Name, Artifact>> {
  const entries = Object.entries<PublishFile>(files)
  if (entries.length === 0) throw new Error('Cannot publish no files: give at least one')
  for (const [name] of entries)
    if (!/^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$/.test(name))
      throw new Error(`Cannot publish "${name}": want a file name of A-Z a-z 0-9 . _ -`)
  const { store, context } = options
  const names = placeOf(context)
  const target = join(store, ...names)
  try {
    if (!(await isPublished(target))) await put(options, entries, names)
  } catch (error) {
    if (hasCode(error, 'ENAMETOOLONG'))
      throw invalidRequest(`"${context.entity}" of step "${context.step}" is longer than a path`)
    throw error
  }
  const artifacts: Record<string, Artifact> = {}
  for (const [name, file] of entries)
    artifacts[name] = await describe(store, join(target, name), file.mediaType)
  return artifacts as Record<Name, Artifact>
}

async function put(
  { store, movable, bytesMax = artifactBytesMax }: PublishOptions,
  entries: readonly (readonly [string, PublishFile])[],
  names: readonly string[],
): Promise<void> {
  const draft = await makeTemporary(store)
  try {
    for (const [name, file] of entries) await place(file, join(draft, name), { movable, bytesMax })
    await syncDirectory(draft)
    const made = await makeBelow(store, names.slice(0, -1))
    const target = join(store, ...names)
    await rename(draft, target)
    await syncAbove([...made, target])
  } catch (error) {
    await rm(draft, { recursive: true, force: true })
    if (!hasCode(error, 'ENOTEMPTY', 'EEXIST')) throw error // else another was first
  }
}

async function isPublished(target: string): Promise<boolean> {
  const status = await lstat(target).catch((error: unknown) =>
    hasCode(error, 'ENOTDIR') ? undefined : whenMissing(error),
  )
  return status?.isDirectory() ?? false
}

/**
 * Path segments of a call's place in the store. What begins with a dot is the store's own (or leads out of it): an
 * entity's first dot is escaped, as is a first percent sign, so that no two entities share a place.
 */
function placeOf(context: CallContext): string[] {
  const segments = [...context.entity.split('/'), context.step, context.idempotencyKey]
  const isWrong = segments.some((segment) => !/^[A-Za-z0-9._%-]{1,192}$/.test(segment))
  if (isWrong || segments.length > segmentsMax + 2)
    throw invalidRequest(`"${context.entity}" of step "${context.step}" cannot name a directory`)
  return segments.map((segment) => segment.replace(/^[.%]/, (first) => escapes[first] ?? first))
}

const escapes: Readonly<Record<string, string>> = { '.': '%2E', '%': '%25' }

type Placing = { readonly movable: readonly string[]; readonly bytesMax: number }

/** Puts one file into the draft. It is judged where it lies then, where nobody else knows its name. */
async function place(file: PublishFile, path: string, placing: Placing): Promise<void> {
  if ('bytes' in file) {
    if (file.bytes.length > placing.bytesMax) throw tooLarge(path, placing.bytesMax)
    return await writeDurably(path, file.bytes)
  }
  const wasMoved = await moved(file.path, path, placing.movable)
  const { handle, sizeBytes } = await openOutput(wasMoved ? path : file.path)
  try {
    if (sizeBytes > placing.bytesMax) throw tooLarge(path, placing.bytesMax)
    if (!wasMoved) return await copied(handle, sizeBytes, path)
    await handle.chmod(modes.file)
    await handle.sync()
  } finally {
    await handle.close()
  }
}

function tooLarge(path: string, bytesMax: number): Error {
  return badResponse(
    `${basename(path)} has more than ${bytesMax} bytes: WELLSPRING_ARTIFACT_BYTES_MAX`,
  )
}

/**
 * Moves a file that lies in one of the directories; false: it lies elsewhere. Its folder is held open meanwhile, so that
 * it cannot be made a link to another.
 */
async function moved(from: string, to: string, movable: readonly string[]): Promise<boolean> {
  const named = movable.filter((directory) => isBelow(from, directory))
  if (named.length === 0) return false
  const { O_RDONLY, O_DIRECTORY } = constants
  const folder = await open(dirname(from), O_RDONLY | O_DIRECTORY).catch((error: unknown) => {
    throw badResponse(`${basename(from)} is not there (${String(error)})`)
  })
  try {
    const real = await realPathOf(folder, dirname(from))
    const ours = await Promise.all(named.map((directory) => realpath(directory)))
    if (real === undefined || !ours.some((one) => real === one || isBelow(real, one)))
      throw badResponse(`${basename(from)} lies behind a link that leads elsewhere`)
    const held = process.platform === 'linux' ? `/proc/self/fd/${folder.fd}` : real
    await rename(join(held, basename(from)), to).catch((error: unknown) => {
      throw hasCode(error, 'ENOENT') ? badResponse(`${basename(from)} is not there`) : error
    })
    return true
  } finally {
    await folder.close()
  }
}

async function openOutput(path: string, mayBe?: (real: string) => boolean): Promise<OpenFile> {
  try {
    return await openPlain(path, mayBe)
  } catch (error) {
    if (error instanceof FileRefused) throw badResponse(`${basename(path)}: ${error.message}`)
    throw error
  }
}

async function copied(from: FileHandle, sizeBytes: number, to: string): Promise<void> {
  const file = await open(to, 'wx', modes.file)
  try {
    const buffer = Buffer.allocUnsafe(Math.min(copyBytes, Math.max(sizeBytes, 1)))
    for (let at = 0; at < sizeBytes;) {
      const { bytesRead } = await from.read(buffer, 0, Math.min(buffer.length, sizeBytes - at), at)
      if (bytesRead === 0) throw badResponse(`${basename(to)} has become shorter while it was read`)
      await file.writeFile(buffer.subarray(0, bytesRead))
      at += bytesRead
    }
    await file.sync()
  } finally {
    await file.close()
  }
}

async function describe(store: string, path: string, mediaType: string): Promise<Artifact> {
  const real = await realpath(store)
  const { handle, sizeBytes } = await openOutput(path, (leadsTo) => isBelow(leadsTo, real))
  try {
    const sha256 = await sha256Of(handle, sizeBytes)
    if (sha256 === undefined) throw badResponse(`${basename(path)} changes in the store`)
    return create(ArtifactSchema, { uri: pathToFileURL(path).href, sizeBytes, sha256, mediaType })
  } finally {
    await handle.close()
  }
}
