// Images that a program may be given: of a kind whose grey levels it reads rightly, and of a size that it can hold.
import type { Artifact } from '#proto/wellspring/lab/v1/artifact_pb.ts'
import { READ_KINDS } from '../../formats/kinds.ts'
import { lookAt } from '../../formats/look.ts'
import { TooSlow } from '../../formats/source.ts'
import type { Call } from './call.ts'

/**
 * As call.openArtifact, for an image. Throws the contract's UNSUPPORTED_KIND, LIMIT_EXCEEDED, `corrupt` for a
 * structure that contradicts itself, or ARTIFACT_NOT_READY for one that cannot be read in time. What is no image or
 * cut short is the program's to refuse.
 */
export async function openImage(
  artifact: Artifact,
  call: Call,
  reasons: { readonly corrupt: string },
): Promise<string> {
  const path = await call.openArtifact(artifact)
  const look = await withinTime(artifact.uri, call, () => lookAt(path, { signal: call.signal }))
  switch (look.kind) {
    case 'unsupported':
      throw call.fail('UNSUPPORTED_KIND', `${look.why}; ${READ_KINDS}: ${artifact.uri}`)
    case 'beyond-limits':
      throw call.fail('LIMIT_EXCEEDED', `${look.why}: ${artifact.uri}`)
    case 'corrupt':
      throw call.fail(reasons.corrupt, `${look.why}: ${artifact.uri}`)
    case 'truncated':
    case 'no-image':
    case 'grey-image':
      return path
  }
}

/** A file that is not read in time may be read the next time: nothing is said of what it holds. */
export async function withinTime<T>(uri: string, call: Call, look: () => Promise<T>): Promise<T> {
  try {
    return await look()
  } catch (error) {
    if (error instanceof TooSlow)
      throw call.fail('ARTIFACT_NOT_READY', `${uri} is read too slowly: ${error.message}`)
    throw error
  }
}

/** What the programs say of an image that they do not read. */
export function isUnsupportedKind(programText: string): boolean {
  return programText.includes('unsupported kind: ')
}
