// What a replica says of itself, and whether it can be called: its descriptors decide, its digest only makes it quick.
import type { DescService } from '@bufbuild/protobuf'
import type { DescribeResponse } from '#proto/wellspring/step/v1/introspection_pb.ts'
import { contractOf, type Contract } from '../../proto/canonical.ts'
import { serviceIn } from '../../proto/descriptor-set.ts'
import { contractDigest } from '../../proto/digest.ts'
import { oneLine } from '../../proto/plain-text.ts'
import { differences } from './compatible.ts'
import type { MethodUse } from './uses.ts'

export const describeLimits = {
  descriptorSetBytesMax: 1_048_576,
  /** Of what is said about a replica. */
  problemCharsMax: 1_500,
  /** Of a text that the replica chose. */
  wordCharsMax: 80,
} as const

/** What we know of a service, and what is used of it; left out: all of it. */
export type Ours = {
  readonly service: DescService
  readonly uses: ReadonlyMap<string, MethodUse> | undefined
}

/** Why a replica that answered so cannot be called, as it follows its name, and what to do; undefined: it can. */
export function misfit(answer: DescribeResponse, ours: Ours): string | undefined {
  const problem = misfitOf(answer, ours)
  return problem === undefined ? undefined : cut(problem, describeLimits.problemCharsMax)
}

function misfitOf({ version, contracts }: DescribeResponse, ours: Ours): string | undefined {
  const { typeName } = ours.service
  const served = contracts.find(({ service }) => service === typeName)
  if (!served) {
    const names = contracts.map(({ service }) => word(service)).join(', ') || 'nothing'
    return `does not serve that contract, it serves ${names}: correct the address`
  }
  const digest = contractDigest(ours.service)
  const { fileDescriptorSet: bytes, contractDigest: stated } = served
  if (bytes.length === 0) {
    if (stated === digest) return undefined
    return (
      `states another contract digest, ${word(stated) || 'none'} (this coordinator's is ${digest}), and tells no ` +
      'descriptors to compare: let Describe fill in ServedContract.file_descriptor_set, or build both from the same ' +
      'proto files'
    )
  }
  if (bytes.length > describeLimits.descriptorSetBytesMax)
    return `tells descriptors of ${bytes.length} bytes, at most ${describeLimits.descriptorSetBytesMax} are read: leave out comments (source_code_info)`
  const theirs = contractIn(bytes, typeName)
  if (typeof theirs === 'string')
    return `tells descriptors that cannot be read: ${theirs}. They are a google.protobuf.FileDescriptorSet with all imports`
  if (theirs.digest === digest) return undefined
  const found = differences(contractOf(ours.service), theirs.contract, ours.uses)
  if (found.length === 0) return undefined
  return `serves a contract that does not fit (version ${word(version)}): ${found.join('; ')}. Update the older of the two, replicas first`
}

function contractIn(
  bytes: Uint8Array,
  typeName: string,
): { readonly digest: string; readonly contract: Contract } | string {
  try {
    const service = serviceIn(bytes, typeName)
    return { digest: contractDigest(service), contract: contractOf(service) }
  } catch (error) {
    return oneLine(cut(error instanceof Error ? error.message : String(error), 300))
  }
}

/** Text that a replica chose, as far as a log line or a screen needs it. */
export function word(text: string): string {
  return oneLine(cut(text, describeLimits.wordCharsMax))
}

function cut(text: string, charsMax: number): string {
  return text.length <= charsMax ? text : `${text.slice(0, charsMax - 1)}…`
}
