// Size and SHA-256 of what is on disk, a few files at a time.
import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { create } from '@bufbuild/protobuf'
import { ArtifactSchema, type Artifact } from '#proto/wellspring/lab/v1/artifact_pb.ts'

/** Reads the whole file. Rejects as the file system does (ENOENT, EACCES, …). */
export async function artifactOf(path: string): Promise<Artifact> {
  const hash = createHash('sha256')
  let sizeBytes = 0
  let magic = ''
  // Without O_NONBLOCK a named pipe in the file's place would be waited for until someone writes to it.
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
  try {
    if (!(await file.stat()).isFile()) throw new Error(`${path} is no regular file`)
    for await (const chunk of file.createReadStream({ highWaterMark: 1 << 20, autoClose: false })) {
      const bytes = chunk as Buffer
      if (sizeBytes === 0) magic = bytes.toString('latin1', 0, 4)
      sizeBytes += bytes.length
      hash.update(bytes)
    }
  } finally {
    await file.close()
  }
  return create(ArtifactSchema, {
    uri: pathToFileURL(resolve(path)).href,
    sizeBytes,
    sha256: hash.digest('hex'),
    mediaType: mediaTypeOf(magic, path),
  })
}

/** By the first bytes, since names lie (TIFFs called .png); by name where they tell nothing. */
function mediaTypeOf(magic: string, path: string): string {
  if (/^(II[*+]\0|MM\0[*+])/.test(magic)) return 'image/tiff'
  if (magic === '\x89PNG') return 'image/png'
  if (/\.tiff?$/i.test(path)) return 'image/tiff'
  return /\.png$/i.test(path) ? 'image/png' : 'application/octet-stream'
}

/** Results in the order of the items, at most `atOnce` under way; the next is started as results are taken. */
export async function* mapOrdered<T, R>(
  items: Iterable<T>,
  atOnce: number,
  run: (item: T) => Promise<R>,
): AsyncGenerator<R> {
  const underWay: Promise<R>[] = []
  for (const item of items) {
    const running = run(item)
    running.catch(() => {}) // reported when its turn comes
    underWay.push(running)
    if (underWay.length >= atOnce) yield await (underWay.shift() as Promise<R>)
  }
  for (const running of underWay) yield await running
}
