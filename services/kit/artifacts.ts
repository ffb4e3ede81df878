// Input files by reference: read only below the roots, and only as announced.
import type { Artifact } from '#proto/wellspring/lab/v1/artifact_pb.ts'
import { FileRefused, fileRoots, sha256Of, type OpenFile } from '../../proto/artifact-file.ts'
import { refusedArtifact } from './errors.ts'
import { isDirectory } from './files.ts'

/** Its bytes are missing, or are not the announced ones. */
export class NotReady extends Error {
  override readonly name = 'NotReady'
}

export type Roots = {
  /** Absolute path of a verified artifact. Throws NotReady, or INVALID_REQUEST for what no root can ever hold. */
  open(artifact: Artifact, signal: AbortSignal): Promise<string>
}

/** Throws when a root is missing. What lies below `except` is none of theirs, unless a root does too. */
export async function openRoots(
  directories: readonly string[],
  except: readonly string[] = [],
): Promise<Roots> {
  for (const directory of directories)
    if (!(await isDirectory(directory)))
      throw new Error(`WELLSPRING_ROOTS names "${directory}", which does not exist`)
  const roots = fileRoots(directories, except)
  return {
    async open(artifact, signal) {
      const { uri } = artifact
      const file = await roots.open(uri).catch((error: unknown) => {
        throw error instanceof FileRefused ? meaningOf(error, uri) : error
      })
      try {
        if (await isAsAnnounced(file, artifact, signal)) return file.path
      } finally {
        await file.handle.close()
      }
      // Never what was found: whoever may announce a file would learn of every file that this service may read.
      throw new NotReady(
        `${uri} differs from what was announced in size or SHA-256: it is still being copied, or has changed since`,
      )
    },
  }
}

async function isAsAnnounced(
  { handle, sizeBytes }: OpenFile,
  announced: Artifact,
  signal: AbortSignal,
): Promise<boolean> {
  if (sizeBytes !== announced.sizeBytes) return false
  return (await sha256Of(handle, sizeBytes, signal)) === announced.sha256
}

function meaningOf({ trouble, message }: FileRefused, uri: string): Error {
  switch (trouble) {
    case 'outside':
      return refusedArtifact(`${uri} is under none of the roots of this service`)
    case 'malformed':
      return refusedArtifact(`"${uri}" names no file: ${message}`)
    case 'missing':
    case 'unreadable':
    case 'not-a-file':
      return new NotReady(`${uri}: ${message}`)
  }
}
