import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { before, test } from 'node:test'
import { create, fromBinary, setExtension, toBinary, type DescService } from '@bufbuild/protobuf'
import {
  FieldOptionsSchema,
  FileDescriptorSetSchema,
  SourceCodeInfoSchema,
  SourceCodeInfo_LocationSchema,
  type FileDescriptorProto,
  type FileDescriptorSet,
} from '@bufbuild/protobuf/wkt'
import {
  field as fieldOption,
  FieldSemanticsSchema,
} from '#proto/wellspring/contract/v1/options_pb.ts'
import { EchoService } from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import { ExtractFeaturesService } from '#proto/wellspring/steps/features/v1/extract_features_pb.ts'
import { ImageQualityService } from '#proto/wellspring/steps/imagequality/v1/image_quality_pb.ts'
import { SegmentNucleiService } from '#proto/wellspring/steps/nuclei/v1/segment_nuclei_pb.ts'
import { PlateQualityService } from '#proto/wellspring/steps/platequality/v1/plate_quality_pb.ts'
import { WellProfileService } from '#proto/wellspring/steps/wellprofile/v1/well_profile_pb.ts'
import { root } from '../../dev/tools.ts'
import { fileDescriptorSet, serviceIn } from '../../proto/descriptor-set.ts'
import { contractDigest } from '../../proto/digest.ts'
import { builtByBuf, readVectors } from './images.ts'

const vectors = readVectors()
const steps: readonly DescService[] = [
  EchoService,
  ExtractFeaturesService,
  ImageQualityService,
  SegmentNucleiService,
  PlateQualityService,
  WellProfileService,
]
/** By how they were built. */
const images = new Map<string, Uint8Array>()

before(async () => {
  const vectorsIn = 'test/proto/vectors/lab'
  images.set('buf', await builtByBuf(vectorsIn))
  images.set('buf without comments', await builtByBuf(vectorsIn, '--exclude-source-info'))
  images.set('own', await builtByBuf('proto/wellspring/steps'))
})

test('every vector has its digest, from the images of protoc and buf, with and without comments', () => {
  assert.ok(vectors.length >= 5)
  for (const { service, digest, descriptorSet } of vectors) {
    assert.match(digest, /^[0-9a-f]{64}$/)
    assert.equal(contractDigest(serviceIn(descriptorSet, service)), digest, `${service} of protoc`)
    for (const name of ['buf', 'buf without comments']) {
      const image = images.get(name)
      assert.ok(image)
      assert.equal(contractDigest(serviceIn(image, service)), digest, `${service} of ${name}`)
    }
  }
})

test('README has the vectors as they are', () => {
  const readme = readFileSync(join(root, 'proto/README.md'), 'utf8')
  for (const { service, digest } of vectors)
    assert.ok(readme.includes(`| \`${service}\` | \`${digest}\` |`), service)
})

test('descriptors in generated code, from an image and by way of Describe have one digest', () => {
  const image = images.get('own')
  assert.ok(image)
  for (const service of steps) {
    const digest = contractDigest(service)
    assert.equal(contractDigest(serviceIn(image, service.typeName)), digest, service.typeName)
    const described = serviceIn(fileDescriptorSet(service), service.typeName)
    assert.equal(contractDigest(described), digest, service.typeName)
  }
  assert.equal(new Set(steps.map(contractDigest)).size, steps.length)
})

type Change = (files: ReadonlyMap<string, FileDescriptorProto>) => void

/** The digest of a vector's service after somebody changed its files. */
function digestAfter(service: string, change: (set: FileDescriptorSet) => void): string {
  const vector = vectors.find((one) => one.service === service)
  assert.ok(vector)
  const set = fromBinary(FileDescriptorSetSchema, vector.descriptorSet)
  change(set)
  return contractDigest(serviceIn(toBinary(FileDescriptorSetSchema, set), service))
}

function named<T extends { readonly name: string }>(
  all: readonly T[] | undefined,
  name: string,
): T {
  const found = all?.find((one) => one.name === name)
  assert.ok(found, name)
  return found
}

const inFile =
  (name: string, change: (file: FileDescriptorProto) => void): Change =>
  (files) => {
    const file = files.get(name)
    assert.ok(file, name)
    change(file)
  }

const counts: readonly [string, string, Change][] = [
  [
    'a field of a message two imports away, in a package that is not ours',
    'lab.v1.PlainService',
    inFile('lab/v1/region.proto', (file) => {
      const point = named(named(file.messageType, 'Region').nestedType, 'Point')
      named(point.field, 'y').number = 3
    }),
  ],
  [
    'an error reason in a file and package of its own',
    'lab.v1.StepService',
    inFile('lab/v1/step_errors.proto', (file) => {
      named(named(file.enumType, 'StepError').value, 'STEP_ERROR_DARK').number = 2
    }),
  ],
  [
    'the class of an error reason',
    'lab.v1.StepService',
    inFile('lab/v1/step_errors.proto', (file) => {
      const { options } = named(named(file.enumType, 'StepError').value, 'STEP_ERROR_DARK')
      assert.ok(options?.$unknown)
      options.$unknown = []
    }),
  ],
  [
    'policy',
    'lab.v1.StepService',
    inFile('lab/v1/step.proto', (file) => {
      const { options } = named(named(file.service, 'StepService').method, 'Measure')
      assert.ok(options?.$unknown)
      options.$unknown = []
    }),
  ],
  [
    'what a field means',
    'lab.v1.StepService',
    inFile('lab/v1/step.proto', (file) => {
      const options = create(FieldOptionsSchema)
      setExtension(options, fieldOption, create(FieldSemanticsSchema, { unit: 'px' }))
      named(named(file.messageType, 'MeasureResponse').field, 'mean').options = options
    }),
  ],
  [
    'a rule of a shared message',
    'lab.v1.StepService',
    inFile('wellspring/lab/v1/artifact.proto', (file) => {
      delete named(named(file.messageType, 'Artifact').field, 'sha256').options
    }),
  ],
  [
    'what a rule of their own says',
    'lab.v1.LabelledService',
    inFile('lab/v1/rules.proto', (file) => {
      delete named(file.extension, 'lower_case').options
    }),
  ],
  [
    'the presence of a field',
    'lab.v1.PlainService',
    inFile('lab/v1/plain.proto', (file) => {
      const limit = named(named(file.messageType, 'CountRequest').field, 'limit')
      limit.proto3Optional = false
      delete (limit as { oneofIndex?: number }).oneofIndex
      const message = named(file.messageType, 'CountRequest')
      message.oneofDecl = message.oneofDecl.filter(({ name }) => name !== '_limit')
    }),
  ],
  [
    'whether an enum is closed',
    'lab.v1.EditionService',
    inFile('lab/v1/edition.proto', (file) => {
      delete named(file.enumType, 'Open').options
      assert.ok(file.options?.features)
    }),
  ],
  [
    'a default',
    'lab.v1.LegacyService',
    inFile('lab/v1/legacy.proto', (file) => {
      named(named(file.messageType, 'AskRequest').field, 'ratio').defaultValue = 'inf'
    }),
  ],
]
for (const [what, service, change] of counts)
  test(`counts: ${what}`, () => {
    const digest = digestAfter(service, () => {})
    assert.notEqual(digestAfter(service, changed(change)), digest)
  })

const changed =
  (change: Change) =>
  (set: FileDescriptorSet): void =>
    change(new Map(set.file.map((file) => [file.name, file])))

const countsNot: readonly [string, string, (set: FileDescriptorSet) => void][] = [
  [
    'comments',
    'lab.v1.PlainService',
    changed(
      inFile('lab/v1/plain.proto', (file) => {
        const location = create(SourceCodeInfo_LocationSchema, { path: [0], leadingComments: 'x' })
        file.sourceCodeInfo = create(SourceCodeInfoSchema, { location: [location] })
      }),
    ),
  ],
  [
    'json_name where nobody chose it',
    'lab.v1.PlainService',
    ({ file }) => {
      for (const { messageType } of file)
        for (const { field } of messageType)
          for (const one of field)
            if (one.jsonName !== 'myName') delete (one as { jsonName?: string }).jsonName
    },
  ],
  [
    'reserved numbers',
    'lab.v1.PlainService',
    changed(
      inFile('lab/v1/plain.proto', (file) => {
        const request = named(file.messageType, 'CountRequest')
        request.reservedRange = []
        request.reservedName = ['never']
      }),
    ),
  ],
  [
    'a message that nothing reaches',
    'lab.v1.PlainService',
    changed(
      inFile('lab/v1/plain.proto', (file) => {
        named(named(file.messageType, 'Unreached').field, 'note').number = 7
      }),
    ),
  ],
  [
    'the order of fields, messages and files',
    'lab.v1.PlainService',
    (set) => {
      set.file.reverse()
      for (const { messageType } of set.file) {
        messageType.reverse()
        for (const { field } of messageType) field.reverse()
      }
    },
  ],
  [
    'the name of a file',
    'lab.v1.PlainService',
    ({ file }) => {
      for (const one of file) {
        one.name = `moved/${one.name}`
        one.dependency = one.dependency.map((name) => `moved/${name}`)
      }
    },
  ],
  [
    'the pieces in which an option was written',
    'lab.v1.LabelledService',
    changed(
      inFile('lab/v1/labelled.proto', (file) => {
        const kind = named(file.messageType, 'MarkRequest')
        const unknown = named(kind.field, 'b').options?.$unknown
        // Each piece as a record of its own, an empty one among them.
        const first = unknown?.[0]
        assert.ok(unknown && first)
        unknown.unshift({ ...first, data: Uint8Array.of(0) })
      }),
    ),
  ],
]
for (const [what, service, change] of countsNot)
  test(`does not count: ${what}`, () => {
    const digest = digestAfter(service, () => {})
    assert.equal(digestAfter(service, change), digest)
  })

test('a set that cannot be used says why', () => {
  const [plain] = vectors
  assert.ok(plain)
  const set = fromBinary(FileDescriptorSetSchema, plain.descriptorSet)
  assert.throws(
    () => serviceIn(plain.descriptorSet, 'lab.v1.Nobody'),
    /has no service lab\.v1\.Nobody, it has lab/,
  )
  set.file = set.file.filter(({ name }) => name !== 'lab/v1/region.proto')
  assert.throws(
    () => serviceIn(toBinary(FileDescriptorSetSchema, set), plain.service),
    /imports lab\/v1\/region\.proto, which is not in it: let the compiler include imports/,
  )
  const [first] = set.file
  assert.ok(first)
  first.dependency = [first.name]
  set.file = [first]
  assert.throws(
    () => serviceIn(toBinary(FileDescriptorSetSchema, set), plain.service),
    /imports itself/,
  )
})
