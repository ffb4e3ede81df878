import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { DescFile, DescService } from '@bufbuild/protobuf'
import { clone, create, createFileRegistry } from '@bufbuild/protobuf'
import type { FileDescriptorProto } from '@bufbuild/protobuf/wkt'
import {
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
  SourceCodeInfoSchema,
  SourceCodeInfo_LocationSchema,
} from '@bufbuild/protobuf/wkt'
import { EchoService } from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import { ImageQualityService } from '#proto/wellspring/steps/imagequality/v1/image_quality_pb.ts'
import { contractDigest } from '../../proto/digest.ts'

/** The echo service as another build would have it: one of its files changed. */
function rebuilt(name: string, change: (file: FileDescriptorProto) => void): DescService {
  const files = new Map<string, FileDescriptorProto>()
  const collect = ({ proto, dependencies }: DescFile): void => {
    for (const dependency of dependencies) collect(dependency) // each file after those it imports
    if (files.has(proto.name)) return
    const copy = clone(FileDescriptorProtoSchema, proto)
    if (copy.name === name) change(copy)
    files.set(copy.name, copy)
  }
  collect(EchoService.file)
  assert.ok(files.has(name))
  const set = create(FileDescriptorSetSchema, { file: [...files.values()] })
  const service = createFileRegistry(set).getService(EchoService.typeName)
  assert.ok(service && service !== EchoService)
  return service
}

const own = 'wellspring/steps/echo/v1/echo.proto'

test('the digest is the same for the same contract built anew', () => {
  const digest = contractDigest(EchoService)
  assert.match(digest, /^[0-9a-f]{64}$/)
  assert.equal(contractDigest(rebuilt(own, () => {})), digest)
  const commented = rebuilt(own, (file) => {
    const location = create(SourceCodeInfo_LocationSchema, { path: [0], leadingComments: 'new' })
    file.sourceCodeInfo = create(SourceCodeInfoSchema, { location: [location] })
  })
  assert.equal(contractDigest(commented), digest)
})

test('the digest changes with the service, its policy and what it imports', () => {
  const digest = contractDigest(EchoService)
  assert.notEqual(contractDigest(ImageQualityService), digest)
  const policy = rebuilt(own, (file) => {
    const options = file.service[0]?.method[0]?.options
    assert.ok(options?.$unknown)
    options.$unknown = []
  })
  assert.notEqual(contractDigest(policy), digest)
  const imported = rebuilt('wellspring/step/v1/call.proto', (file) => {
    const field = file.messageType[0]?.field[1]
    assert.ok(field)
    field.name = 'thing'
  })
  assert.notEqual(contractDigest(imported), digest)
})
