import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  clearExtension,
  clone,
  create,
  createFileRegistry,
  getExtension,
  setExtension,
  type DescMethodUnary,
  type DescService,
} from '@bufbuild/protobuf'
import {
  MethodOptions_IdempotencyLevel as Idempotency,
  FileDescriptorProtoSchema,
  type FileDescriptorProto,
  type MethodOptions,
} from '@bufbuild/protobuf/wkt'
import { ErrorClass } from '#proto/wellspring/contract/v1/errors_pb.ts'
import * as options from '#proto/wellspring/contract/v1/options_pb.ts'
import { EchoService } from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import { loadPipeline } from '../../coordinator/core/pipeline/check.ts'
import { reasonsOf } from '../../coordinator/core/pipeline/contract.ts'
import type { PipelineSpec } from '../../coordinator/core/pipeline/pipeline.ts'

const { Level } = options
const echoFile = EchoService.file
const spec = (first: DescMethodUnary, second: DescMethodUnary): PipelineSpec => ({
  name: 'test',
  version: 1,
  steps: [
    { name: 'echo', method: first, inputs: {} },
    { name: 'once', method: second, inputs: {} },
  ],
  bands: { name: 'none', version: 1, rules: [] },
})

/** EchoService from a copy of its file that `change` edited: what a team's contract could look like. */
function changed(change: (file: FileDescriptorProto) => void): DescService {
  const file = clone(FileDescriptorProtoSchema, echoFile.proto)
  change(file)
  const known = new Map(
    echoFile.dependencies.map((dependency) => [`${dependency.name}.proto`, dependency]),
  )
  const service = createFileRegistry(file, (name) => known.get(name)).getService(
    EchoService.typeName,
  )
  assert.ok(service)
  return service
}

function unary(service: DescService, name: string): DescMethodUnary {
  const method = service.methods.find(({ localName }) => localName === name)
  assert.ok(method?.methodKind === 'unary')
  return method as DescMethodUnary
}

function methodOptions(file: FileDescriptorProto, name: string): MethodOptions {
  const found = file.service[0]?.method.find((method) => method.name === name)?.options
  assert.ok(found)
  return found
}

const contracts: readonly [string, (file: FileDescriptorProto) => void, RegExp][] = [
  [
    'no policy',
    (file) => clearExtension(methodOptions(file, 'EchoImage'), options.step),
    /EchoService\.EchoImage has no \(wellspring\.contract\.v1\.step\) option/,
  ],
  [
    'an incomplete policy',
    (file) => {
      const found = methodOptions(file, 'EchoImage')
      setExtension(found, options.step, create(options.StepPolicySchema, { level: Level.IMAGE }))
    },
    /EchoService\.EchoImage its policy is incomplete: set purity, attempt_timeout, total_timeout, retry\.max_attempts/,
  ],
  [
    'purity against idempotency_level',
    (file) => {
      methodOptions(file, 'EchoImage').idempotencyLevel = Idempotency.IDEMPOTENCY_UNKNOWN
    },
    /idempotency_level is IDEMPOTENCY_UNKNOWN, but with purity PURE it must be NO_SIDE_EFFECTS or IDEMPOTENT/,
  ],
  [
    'not idempotent, yet idempotency_level says so',
    (file) => {
      methodOptions(file, 'EchoImageOnce').idempotencyLevel = Idempotency.IDEMPOTENT
    },
    /idempotency_level is IDEMPOTENT, but with purity NOT_IDEMPOTENT it must be IDEMPOTENCY_UNKNOWN/,
  ],
  [
    'no errors_enum',
    (file) => {
      const found = file.service[0]?.options
      assert.ok(found)
      const policy = getExtension(found, options.service)
      setExtension(found, options.service, { ...policy, errorsEnum: '' })
    },
    /EchoService: its .* option names no errors_enum/,
  ],
  [
    'an errors_enum that does not exist',
    (file) => {
      const found = file.service[0]?.options
      assert.ok(found)
      const policy = getExtension(found, options.service)
      setExtension(found, options.service, {
        ...policy,
        errorsEnum: 'wellspring.steps.echo.v1.Eror',
      })
    },
    /errors_enum wellspring\.steps\.echo\.v1\.Eror is not in its file/,
  ],
  [
    'a reason without class',
    (file) => {
      const found = file.enumType[0]?.value.find(({ name }) => name === 'ECHO_ERROR_BUSY')?.options
      assert.ok(found)
      clearExtension(found, options.error)
    },
    /value ECHO_ERROR_BUSY has no \(wellspring\.contract\.v1\.error\) class/,
  ],
  [
    'a request without context',
    (file) => {
      const request = file.messageType.find(({ name }) => name === 'EchoImageRequest')
      assert.ok(request)
      request.field = request.field.filter(({ name }) => name !== 'context')
    },
    /EchoImageRequest has no field context of type wellspring\.step\.v1\.CallContext/,
  ],
]

for (const [name, change, message] of contracts)
  test(`refused contract: ${name}`, () => {
    const service = changed(change)
    const pipeline = spec(unary(service, 'echoImage'), unary(service, 'echoImageOnce'))
    assert.throws(() => loadPipeline(pipeline), { message })
  })

test('an unchanged copy of a contract is right', () => {
  const service = changed(() => {})
  loadPipeline(spec(unary(service, 'echoImage'), unary(service, 'echoImageOnce')))
})

test('the reasons of a service, by their short names', () => {
  const reasons = reasonsOf(EchoService, assert.fail)
  assert.deepEqual(
    [...reasons].map(([name, reason]) => [name, reason.class]),
    [
      ['NOT_YET', ErrorClass.RETRYABLE],
      ['BAD_DATA', ErrorClass.POISON],
      ['BUSY', ErrorClass.OVERLOADED],
      ['NEVER', ErrorClass.PERMANENT],
    ],
  )
  assert.equal(reasons.get('BUSY')?.hint, 'wait')
})
