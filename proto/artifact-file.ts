// A lab.v1.Artifact's file, opened as its contract says: a regular file below the roots, and never anything else.
// Both ends of a call read files that somebody else names, so both ask here.
import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { lstat, open, readlink, realpath, stat, type FileHandle } from 'node:fs/promises'
import { join, resolve, sep } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Largest file that a step may put out, unless WELLSPRING_ARTIFACT_BYTES_MAX says otherwise. */
export const artifactBytesMax = 4 * 1024 ** 3

const readBytes = 1024 * 1024
const linksMax = 40
/** What Linux allows; where less is allowed, the file system says so. */
const pathBytesMax = 4_095
const nameBytesMax = 255
/** How long it is believed where the roots' own links lead. */
const placesMs = 2_000

/**
 * Why a file is not opened. `outside` is all that is ever told of what lies outside the roots; `malformed` is a name
 * that no file can have.
 */
export type FileTrouble = 'outside' | 'malformed' | 'missing' | 'unreadable' | 'not-a-file'

export class FileRefused extends Error {
  override readonly name = 'FileRefused'
  readonly trouble: FileTrouble

  constructor(trouble: FileTrouble, message: string) {
    super(message)
    this.trouble = trouble
  }
}

export type OpenFile = {
  readonly handle: FileHandle
  /** Real path: absolute, without links. */
  readonly path: string
  readonly sizeBytes: number
}

export type FileRoots = {
  /** Opens a file: URI for reading. Throws FileRefused. The caller closes the handle. */
  open(uri: string): Promise<OpenFile>
}

/** Among the exceptions: whatever has a name below its root that begins with a dot. */
export const HIDDEN = '.*'

/**
 * Files below these directories, but for what lies below `except`; of a path below several the longest decides, so
 * that a root below an exception is one. Directories may come and go.
 */
export function fileRoots(
  directories: readonly string[],
  except: readonly string[] = [],
): FileRoots {
  const given: Places = {
    roots: directories.map((one) => resolve(one)),
    except: except.filter((one) => one !== HIDDEN).map((one) => resolve(one)),
    withHidden: !except.includes(HIDDEN),
  }
  let known: { readonly real: Promise<Places>; readonly untilMs: number } | undefined
  const places = (): Promise<Places> => {
    const nowMs = performance.now()
    if (known === undefined || known.untilMs < nowMs)
      known = { real: realPlaces(given), untilMs: nowMs + placesMs }
    return known.real
  }
  return {
    async open(uri) {
      const announced = pathOf(uri)
      const real = await places()
      const path = await realpath(announced).catch(async (error: unknown) => {
        // What is not there is judged by where it would be; of what lies outside not even the absence is told.
        const isNamed = isInside(announced, given) || isInside(announced, real)
        if (isNamed && isInside(await whereTo(announced), real))
          throw troubleOf(error, 'its folder')
        throw outside()
      })
      if (!isInside(path, real)) throw outside()
      return await openPlain(path, (leadsTo) => isInside(leadsTo, real))
    },
  }
}

function outside(): FileRefused {
  return new FileRefused('outside', 'it is below none of the roots')
}

/**
 * Opens a regular file for reading. It never waits (as opening a pipe would), follows no link in the last place, and
 * judges by the open file, so that a name which changes meanwhile gains nothing. Throws FileRefused.
 */
export async function openPlain(
  path: string,
  mayBe: (realPath: string) => boolean = () => true,
): Promise<OpenFile> {
  const { O_RDONLY, O_NONBLOCK, O_NOFOLLOW, O_NOCTTY } = constants
  let handle: FileHandle | undefined
  try {
    // Looked at first: to open some devices is to do something.
    if (!(await lstat(path)).isFile()) throw notAFile()
    handle = await open(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY)
    const status = await handle.stat()
    if (!status.isFile()) throw notAFile()
    const leadsTo = await realPathOf(handle, path)
    if (leadsTo === undefined || !mayBe(leadsTo)) throw outside()
    return { handle, path: leadsTo, sizeBytes: status.size }
  } catch (error) {
    await handle?.close()
    throw error instanceof FileRefused ? error : troubleOf(error, 'it')
  }
}

function notAFile(): FileRefused {
  return new FileRefused('not-a-file', 'it is no regular file')
}

/** Where an open file really is; undefined when its name means another file by now. */
export async function realPathOf(handle: FileHandle, path: string): Promise<string | undefined> {
  if (process.platform === 'linux') return await readlink(`/proc/self/fd/${handle.fd}`)
  const [open, real] = [await handle.stat(), await realpath(path)]
  const named = await stat(real)
  return open.dev === named.dev && open.ino === named.ino ? real : undefined
}

/**
 * SHA-256 of an open file, hex, when it has exactly so many bytes from its first to its last; else undefined. Reads no
 * byte beyond them. Rejects with the signal's reason when it aborts.
 */
export async function sha256Of(
  handle: FileHandle,
  sizeBytes: number,
  signal?: AbortSignal,
): Promise<string | undefined> {
  const hash = createHash('sha256')
  const buffer = Buffer.allocUnsafe(Math.min(readBytes, Math.max(sizeBytes, 1)))
  for (let at = 0; at < sizeBytes;) {
    signal?.throwIfAborted()
    const { bytesRead } = await handle.read(buffer, 0, Math.min(buffer.length, sizeBytes - at), at)
    if (bytesRead === 0) return undefined
    hash.update(buffer.subarray(0, bytesRead))
    at += bytesRead
  }
  signal?.throwIfAborted()
  return (await handle.stat()).size === sizeBytes ? hash.digest('hex') : undefined
}

function pathOf(uri: string): string {
  let path: string
  try {
    path = fileURLToPath(uri)
  } catch {
    throw new FileRefused('malformed', 'it is no file: URI of this machine')
  }
  if (path.includes('\0')) throw new FileRefused('malformed', 'no file name has a zero byte in it')
  const isLong = path.split(sep).some((name) => Buffer.byteLength(name) > nameBytesMax)
  if (isLong || Buffer.byteLength(path) > pathBytesMax) throw tooLong()
  return resolve(path)
}

type Places = {
  readonly roots: readonly string[]
  readonly except: readonly string[]
  readonly withHidden: boolean
}

async function realPlaces({ roots, except, withHidden }: Places): Promise<Places> {
  return { roots: await realAll(roots), except: await realAll(except), withHidden }
}

/** What is not there now (an unmounted share) is where its links lead. */
function realAll(paths: readonly string[]): Promise<string[]> {
  return Promise.all(paths.map((path) => realpath(path).catch(() => whereTo(path))))
}

function isInside(path: string, { roots, except, withHidden }: Places): boolean {
  const longest = (places: readonly string[]): number =>
    Math.max(-1, ...places.filter((place) => isBelow(path, place)).map(({ length }) => length))
  const root = longest(roots)
  if (root <= longest(except)) return false
  return (
    withHidden ||
    !path
      .slice(root)
      .split(sep)
      .some((name) => name.startsWith('.'))
  )
}

/** Whether a path lies below a directory, which itself does not. */
export function isBelow(path: string, directory: string): boolean {
  return (
    path !== directory && path.startsWith(directory.endsWith(sep) ? directory : directory + sep)
  )
}

/** Where a path leads through the links that are there; what is not there is taken as it is written. */
async function whereTo(path: string): Promise<string> {
  let at: string = sep
  let links = 0
  const ahead = path.split(sep).filter((name) => name !== '')
  for (let name = ahead.shift(); name !== undefined; name = ahead.shift()) {
    const inside = join(at, name)
    const target = links < linksMax ? await readlink(inside).catch(() => undefined) : undefined
    if (target === undefined) at = inside
    else {
      links += 1
      const rest = resolve(at, target).split(sep)
      ahead.unshift(...rest.filter((one) => one !== ''))
      at = sep
    }
  }
  return at
}

function tooLong(): FileRefused {
  return new FileRefused('malformed', 'its name is longer than a path can be')
}

function troubleOf(error: unknown, what: string): FileRefused {
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown'
  switch (code) {
    case 'ENOENT':
    case 'ENOTDIR':
      return new FileRefused('missing', 'it does not exist')
    case 'ENAMETOOLONG':
      return tooLong()
    case 'ELOOP':
      return new FileRefused('malformed', 'its links lead in a circle')
    default:
      return new FileRefused('unreadable', `${what} cannot be read (${code})`)
  }
}
