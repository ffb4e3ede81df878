// One digest for what a step promises, so that both ends of a call can tell whether they mean the same contract.
import { createHash } from 'node:crypto'
import type { DescService } from '@bufbuild/protobuf'
import { canonicalContract } from './canonical.ts'

const known = new WeakMap<DescService, string>()

/**
 * SHA-256, 64 hex digits, over the canonical form of all that the service's descriptors reach, in any file and
 * package. Policy counts (options are part of a descriptor); comments, file names and reserved numbers do not. Throws
 * an Error when an option cannot be decoded.
 */
export function contractDigest(service: DescService): string {
  const digest = known.get(service) ?? digestOf(service)
  known.set(service, digest)
  return digest
}

function digestOf(service: DescService): string {
  return createHash('sha256').update(canonicalContract(service)).digest('hex')
}
