// A disk without room, as a process sees it: what is written below a directory ends half-way with ENOSPC. Stands in
// for a real one, which needs rights to mount a small file system.
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { sep } from 'node:path'

// A named import would follow the replacement.
const { open: realOpen } = fs.promises

export type FullDisk = {
  /** Writes that failed for want of room. */
  readonly failures: () => number
  /** There is room again. */
  free(): void
}

/** From now on nothing more can be written below the directory. */
export function fillDisk(directory: string): FullDisk {
  let failures = 0
  replaceOpen(async (path, ...more) => {
    const file = await realOpen(path, ...more)
    if (!String(path).startsWith(directory + sep)) return file
    const write = file.writeFile.bind(file)
    file.writeFile = async (data) => {
      const bytes = Buffer.from(data as Uint8Array)
      await write(bytes.subarray(0, bytes.length >> 1))
      failures += 1
      const error = new Error('ENOSPC: no space left on device, write')
      throw Object.assign(error, { code: 'ENOSPC', syscall: 'write' })
    }
    return file
  })
  return { failures: () => failures, free: () => replaceOpen(realOpen) }
}

function replaceOpen(open: typeof realOpen): void {
  Object.assign(fs.promises, { open })
  syncBuiltinESMExports()
}
