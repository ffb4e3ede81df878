// What npm start keeps is for the eyes of the user who started it: images, results, logs, addresses.
import { chmodSync, mkdirSync, statSync } from 'node:fs'
import { basename, dirname } from 'node:path'

/** For programs that we start too: what they write is ours alone, whatever the shell's umask was. */
export function writeForOurselves(): void {
  process.umask(0o077)
}

/** A directory of ours: made when missing, closed to others when it is there and ours. */
export function privateDirectory(path: string): string {
  mkdirSync(dirname(path), { recursive: true })
  try {
    mkdirSync(path, { mode: 0o700 })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    tighten(path)
  }
  return path
}

/**
 * The directory that holds all of it. One that somebody else made for it, or that has other things in it (--state /tmp),
 * is left as it is: what we put there is closed.
 */
export function stateDirectory(path: string): string {
  try {
    mkdirSync(path, { recursive: false, mode: 0o700 })
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') {
      mkdirSync(dirname(path), { recursive: true })
      return stateDirectory(path)
    }
    if (code !== 'EEXIST') throw error
    if (basename(path) === '.wellspring') tighten(path)
  }
  return path
}

function tighten(path: string): void {
  const { mode, uid } = statSync(path)
  // What has a sticky bit is everybody's on purpose.
  const isOpen = (mode & 0o077) !== 0 && (mode & 0o1000) === 0
  if (isOpen && uid === process.getuid?.()) chmodSync(path, 0o700)
}
