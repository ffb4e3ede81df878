// Files and directories of the kit's own: readable by their owner alone, made anew or not at all, never through a link.
import { constants } from 'node:fs'
import { chmod, lstat, mkdir, open, readdir, realpath, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { FileRefused, openPlain, type OpenFile } from '../../proto/artifact-file.ts'
import { logError } from './log.ts'

/** Modes of what is kept: others may not even list it. A umask can only take away from them. */
export const modes = { directory: 0o700, file: 0o600 } as const

/** Whether there is a directory at the path, or a link to one. */
export async function isDirectory(path: string): Promise<boolean> {
  const status = await stat(path).catch(() => undefined)
  return status?.isDirectory() ?? false
}

/**
 * A directory of ours: made when it is missing, closed to others when it is there and ours. One that is everybody's by
 * its sticky bit (/tmp) stays so. Throws when something else is there. The directory above is there.
 */
export async function ownDirectory(path: string): Promise<void> {
  await makeDirectory(path)
  const { mode, uid } = await lstat(path)
  const isOpen = (mode & 0o077) !== 0 && (mode & 0o1000) === 0
  if (isOpen && uid === process.getuid?.()) await chmod(path, modes.directory)
}

/** True: made. False: it was there. Throws when something else is there, a link too. */
async function makeDirectory(path: string): Promise<boolean> {
  try {
    await mkdir(path, { mode: modes.directory })
    return true
  } catch (error) {
    if (!hasCode(error, 'EEXIST')) throw error
    if ((await lstat(path)).isDirectory()) return false
    throw new Error(`${path} is no directory: somebody else has put something there, remove it`)
  }
}

/**
 * Makes a directory below another, one name after the other, through no link. Returns those that were made, the
 * highest first.
 */
export async function makeBelow(above: string, names: readonly string[]): Promise<string[]> {
  const real = await realpath(above)
  const pathOf = (depth: number): string => join(real, ...names.slice(0, depth))
  let depth = names.length
  for (; depth > 0; depth -= 1) {
    const there = await realpath(pathOf(depth)).catch(whenMissing)
    if (there === undefined) continue
    if (there !== pathOf(depth))
      throw new Error(`${pathOf(depth)} leads through a link to ${there}: remove the link`)
    break
  }
  const made: string[] = []
  for (; depth < names.length; depth += 1)
    if (await makeDirectory(pathOf(depth + 1))) made.push(pathOf(depth + 1))
  return made
}

/** Opens a file that a program left: a regular one, no link, nor a pipe that would be waited for. Throws an Error. */
export async function openLeft(path: string): Promise<OpenFile> {
  try {
    return await openPlain(path)
  } catch (error) {
    if (error instanceof FileRefused) throw new Error(`${basename(path)}: ${error.message}`)
    throw error
  }
}

/** All of a file that a program left, at most so many bytes. Throws as openLeft, and when it is larger. */
export async function readLeft(path: string, bytesMax: number): Promise<Buffer> {
  const { handle, sizeBytes } = await openLeft(path)
  try {
    if (sizeBytes > bytesMax) throw new Error(`${basename(path)} has more than ${bytesMax} bytes`)
    const bytes = Buffer.alloc(sizeBytes)
    const { bytesRead } = await handle.read(bytes, 0, sizeBytes, 0)
    return bytes.subarray(0, bytesRead)
  } finally {
    await handle.close()
  }
}

/**
 * Removes what a program left, also what it has closed to its own user. What cannot be removed is said and left: it is
 * no reason to take a good answer back, nor not to start.
 */
export async function removeLeft(path: string): Promise<void> {
  try {
    await rm(path, { recursive: true, force: true }).catch(async () => {
      await openUp(path)
      await rm(path, { recursive: true, force: true })
    })
  } catch (error) {
    logError(`what a program left at ${path} cannot be removed`, { error: String(error) })
  }
}

async function openUp(directory: string): Promise<void> {
  await chmod(directory, modes.directory)
  for (const entry of await readdir(directory, { withFileTypes: true }))
    if (entry.isDirectory()) await openUp(join(directory, entry.name))
}

/** Writes a new file and waits until the disk has it. */
export async function writeDurably(path: string, bytes: Uint8Array): Promise<void> {
  const file = await open(path, 'wx', modes.file)
  try {
    await file.writeFile(bytes)
    await file.sync()
  } finally {
    await file.close()
  }
}

/** Waits until the disk has a directory's entries. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}

/** Waits until the disk has the entries of all directories that hold one of these. */
export async function syncAbove(paths: readonly string[]): Promise<void> {
  for (const path of paths.toReversed()) await syncDirectory(dirname(path))
}

export function hasCode(error: unknown, ...codes: readonly string[]): error is Error {
  return error instanceof Error && 'code' in error && codes.includes(String(error.code))
}

export function whenMissing(error: unknown): undefined {
  if (hasCode(error, 'ENOENT')) return undefined
  throw error
}
