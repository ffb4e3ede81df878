// A service's descriptors as bytes and back: what Describe carries, and what compilers write.
import {
  clone,
  create,
  createFileRegistry,
  fromBinary,
  toBinary,
  type DescFile,
  type DescService,
} from '@bufbuild/protobuf'
import {
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
  type FileDescriptorProto,
} from '@bufbuild/protobuf/wkt'
import { withImports } from './canonical.ts'

/** A google.protobuf.FileDescriptorSet: the service's file after all that it imports, without comments. */
export function fileDescriptorSet(service: DescService): Uint8Array {
  const file = [...withImports(service.file)].map((one: DescFile) => {
    const proto = clone(FileDescriptorProtoSchema, one.proto)
    delete proto.sourceCodeInfo
    return proto
  })
  return toBinary(FileDescriptorSetSchema, create(FileDescriptorSetSchema, { file }))
}

/**
 * The service of that full name from a FileDescriptorSet, its files in any order. Throws an Error that says what is
 * wrong with the set, and which services it has if not this one.
 */
export function serviceIn(bytes: Uint8Array, typeName: string): DescService {
  const { file: files } = fromBinary(FileDescriptorSetSchema, bytes)
  const set = create(FileDescriptorSetSchema, { file: importsFirst(files) })
  const registry = createFileRegistry(set)
  const service = registry.getService(typeName)
  if (service) return service
  const names = files.flatMap(({ package: name, service: found }) =>
    found.map((one) => (name === '' ? one.name : `${name}.${one.name}`)),
  )
  throw new Error(`it has no service ${typeName}, it has ${names.join(', ') || 'none'}`)
}

function importsFirst(files: readonly FileDescriptorProto[]): FileDescriptorProto[] {
  const byName = new Map(files.map((file) => [file.name, file]))
  const ordered = new Set<FileDescriptorProto>()
  const open = new Set<FileDescriptorProto>()
  const add = (file: FileDescriptorProto): void => {
    if (ordered.has(file)) return
    if (open.has(file)) throw new Error(`${file.name} imports itself`)
    open.add(file)
    for (const name of file.dependency) {
      const imported = byName.get(name)
      if (!imported)
        throw new Error(
          `${file.name} imports ${name}, which is not in it: let the compiler include imports ` +
            '(protoc --include_imports; buf build does)',
        )
      add(imported)
    }
    ordered.add(file)
  }
  for (const file of files) add(file)
  return [...ordered]
}
