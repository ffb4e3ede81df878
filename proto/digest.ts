// One digest for what a step promises, so that both ends of a call can tell whether they mean the same contract.
import { createHash } from 'node:crypto'
import type { DescFile, DescService } from '@bufbuild/protobuf'
import { clone, toBinary } from '@bufbuild/protobuf'
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt'

/**
 * SHA-256, 64 hex digits, over the file that declares the service and the wellspring files that it imports,
 * directly or not, in the order of their names. Policy counts (options are part of a descriptor); comments do not.
 */
export function contractDigest(service: DescService): string {
  const files = new Map<string, DescFile>()
  collect(service.file, files)
  const hash = createHash('sha256')
  for (const name of [...files.keys()].toSorted()) {
    const file = files.get(name)
    if (file === undefined) continue
    const proto = clone(FileDescriptorProtoSchema, file.proto)
    delete proto.sourceCodeInfo
    const bytes = toBinary(FileDescriptorProtoSchema, proto)
    hash.update(`${name}\n${bytes.length}\n`).update(bytes)
  }
  return hash.digest('hex')
}

function collect(file: DescFile, into: Map<string, DescFile>): void {
  if (into.has(file.name) || !file.proto.package.startsWith('wellspring.')) return
  into.set(file.name, file)
  for (const dependency of file.dependencies) collect(dependency, into)
}
