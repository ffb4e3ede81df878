// contract digest: what both ends of a call compare, for a service of this repository or of any descriptor set.
import { glob, readFile, stat } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { DescService } from '@bufbuild/protobuf'
import { messageOf } from '../ingest/sighting.ts'
import { canonicalContract } from '../proto/canonical.ts'
import { serviceIn } from '../proto/descriptor-set.ts'
import { contractDigest } from '../proto/digest.ts'
import { CliError, EXIT } from './exit.ts'
import { showOne, type Format } from './output.ts'

export type ContractFlags = {
  readonly output: Format
  readonly descriptorSet?: string
  readonly canonical: boolean
}

const limits = { descriptorSetBytesMax: 64 * 1024 * 1024 } as const
const generated = join(import.meta.dirname, '../proto/gen')

/** Prints the digest of a service's contract, or the text that it is made of. */
export async function contractDigestOf(name: string, flags: ContractFlags): Promise<void> {
  const { descriptorSet: file, canonical, output } = flags
  const service = file === undefined ? await ownService(name) : await serviceOf(file, name)
  const digest = contractDigest(service)
  const text = canonicalContract(service)
  showOne(
    output,
    { service: service.typeName, digest, ...(canonical && { canonical: text }) },
    canonical ? text.split('\n') : [digest],
    (shown) => shown.join('\n'),
  )
}

async function serviceOf(file: string, name: string): Promise<DescService> {
  const { descriptorSetBytesMax: max } = limits
  const found = await stat(file).catch((cause: unknown) => {
    throw new CliError(EXIT.notFound, `cannot read ${file}: ${messageOf(cause)}`, { cause })
  })
  if (!found.isFile()) throw new CliError(EXIT.usage, `${file} is no file`)
  if (found.size > max)
    throw new CliError(
      EXIT.failed,
      `${file} has ${found.size} bytes, a descriptor set at most ${max}`,
    )
  try {
    return serviceIn(await readFile(file), name)
  } catch (cause) {
    const want = 'want a FileDescriptorSet (protoc --include_imports -o FILE, or buf build -o FILE)'
    throw new CliError(EXIT.failed, `${file}: ${messageOf(cause)}; ${want}`, { cause })
  }
}

/** By full name, or the end of it. */
async function ownService(name: string): Promise<DescService> {
  const services = new Map<string, DescService>()
  for await (const file of glob('**/*_pb.ts', { cwd: generated })) {
    if (relative('wellspring', file).startsWith('..')) continue // copies of public files
    const module = (await import(pathToFileURL(join(generated, file)).href)) as object
    for (const one of Object.values(module) as unknown[])
      if (isService(one)) services.set(one.typeName, one)
  }
  const [only, ...others] = [...services.values()].filter(
    ({ typeName }) => typeName === name || typeName.endsWith(`.${name}`),
  )
  if (only && others.length === 0) return only
  const names = [...services.keys()].toSorted().map((one) => `  ${one}`)
  throw new CliError(
    only ? EXIT.usage : EXIT.notFound,
    `${only ? `"${name}" may be several services` : `no service is called "${name}" here`}: ` +
      `say one of these, or --descriptor-set FILE\n${names.join('\n')}`,
  )
}

function isService(value: unknown): value is DescService {
  return typeof value === 'object' && value !== null && 'kind' in value && value.kind === 'service'
}
