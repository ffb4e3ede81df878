// Whole files into memory, as far as their kind may be large.
import { constants } from 'node:fs'
import { open } from 'node:fs/promises'

/** All of a regular file. Rejects as the file system does, and when it is larger than `bytesMax`, saying what to do. */
export async function readBounded(
  path: string,
  { bytesMax, remedy }: { readonly bytesMax: number; readonly remedy: string },
): Promise<Buffer> {
  // Without O_NONBLOCK a named pipe in the file's place would be waited for until someone writes to it.
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
  try {
    const status = await file.stat()
    if (!status.isFile()) throw new Error(`${path} is no regular file`)
    if (status.size > bytesMax)
      throw new Error(`${path} has ${status.size} bytes, more than ${bytesMax}: ${remedy}`)
    const bytes = Buffer.alloc(status.size)
    let length = 0
    while (length < bytes.length) {
      const { bytesRead } = await file.read(bytes, length, bytes.length - length, length)
      if (bytesRead === 0) break
      length += bytesRead
    }
    return bytes.subarray(0, length)
  } finally {
    await file.close()
  }
}
