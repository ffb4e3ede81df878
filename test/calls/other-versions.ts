// A service as another build of its contract would have it.
import assert from 'node:assert/strict'
import { create, fromBinary, toBinary, type DescService } from '@bufbuild/protobuf'
import {
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type,
  FieldDescriptorProtoSchema,
  FileDescriptorSetSchema,
  OneofDescriptorProtoSchema,
  type FieldDescriptorProto,
  type FileDescriptorProto,
} from '@bufbuild/protobuf/wkt'
import { fileDescriptorSet, serviceIn } from '../../proto/descriptor-set.ts'

/** The service after one of its files, by its name, was changed. */
export function otherVersion(
  service: DescService,
  change: (file: FileDescriptorProto) => void,
  name = service.file.proto.name,
): DescService {
  const set = fromBinary(FileDescriptorSetSchema, fileDescriptorSet(service))
  const file = set.file.find((one) => one.name === name)
  assert.ok(file, name)
  change(file)
  return serviceIn(toBinary(FileDescriptorSetSchema, set), service.typeName)
}

export function fieldOf(
  file: FileDescriptorProto,
  message: string,
  name: string,
): FieldDescriptorProto {
  const found = file.messageType
    .find((one) => one.name === message)
    ?.field.find((one) => one.name === name)
  assert.ok(found, `${message}.${name}`)
  return found
}

/** `message.field` with another number. */
export function renumbered(
  service: DescService,
  message: string,
  name: string,
  number: number,
): DescService {
  return otherVersion(service, (file) => {
    fieldOf(file, message, name).number = number
  })
}

/** `message` with one more `optional string`. */
export function withOptionalText(
  service: DescService,
  message: string,
  name: string,
  number: number,
): DescService {
  return otherVersion(service, (file) => {
    const to = file.messageType.find((one) => one.name === message)
    assert.ok(to, message)
    to.field.push(
      create(FieldDescriptorProtoSchema, {
        name,
        number,
        label: Label.OPTIONAL,
        type: Type.STRING,
        proto3Optional: true,
        oneofIndex: to.oneofDecl.length,
      }),
    )
    to.oneofDecl.push(create(OneofDescriptorProtoSchema, { name: `_${name}` }))
  })
}
