// Files in the store as an output of a step: one that is what it is said to be, and some that are not.
import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdir, symlink, truncate, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { digestOf } from '../echoes.ts'
import type { Output } from './draw.ts'

/** As an Artifact says it. */
type Said = { readonly uri: string; readonly sizeBytes: number; readonly sha256: string }

const run = promisify(execFile)
const SPARSE_BYTES = 8_000_000_000_000

export async function keepIn(store: string, text: string): Promise<Said> {
  const path = await place(store)
  await writeFile(path, text)
  return said(path, Buffer.byteLength(text), digestOf(text))
}

/** Something that must not be waited for, read to its end, or followed. */
export async function lieAbout(output: Output, store: string): Promise<Said> {
  const path = await place(store)
  switch (output) {
    case 'fifo':
      await run('mkfifo', [path])
      return said(path, 0, digestOf(''))
    case 'sparse':
      await writeFile(path, '')
      await truncate(path, SPARSE_BYTES)
      return said(path, SPARSE_BYTES, digestOf(''))
    case 'symlink': {
      // What it leads to is as it is said to be, and not the service's to show.
      const text = 'not to be seen'
      const outside = join(dirname(store), 'outside.txt')
      await writeFile(outside, text)
      await symlink(outside, path)
      return said(path, Buffer.byteLength(text), digestOf(text))
    }
  }
}

function said(path: string, sizeBytes: number, sha256: string): Said {
  return { uri: pathToFileURL(path).href, sizeBytes, sha256 }
}

async function place(store: string): Promise<string> {
  const directory = join(store, 'liar')
  await mkdir(directory, { recursive: true })
  return join(directory, randomUUID())
}
