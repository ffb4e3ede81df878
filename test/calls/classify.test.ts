import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create, toBinary } from '@bufbuild/protobuf'
import { anyPack, durationFromMs } from '@bufbuild/protobuf/wkt'
import { Code } from '#proto/google/rpc/code_pb.ts'
import { ErrorInfoSchema, RetryInfoSchema } from '#proto/google/rpc/error_details_pb.ts'
import { StatusSchema } from '#proto/google/rpc/status_pb.ts'
import { ErrorClass } from '#proto/wellspring/contract/v1/errors_pb.ts'
import { EchoService } from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import { classify, errorContract } from '../../coordinator/calls/classify.ts'
import { KIT_REASONS } from '../../proto/kit-reasons.ts'
import {
  badResponse,
  diskFull,
  ended,
  failureOf,
  full,
  invalidRequest,
  refusedArtifact,
  statusOf,
} from '../../services/kit/errors.ts'

const { RETRYABLE, OVERLOADED, PERMANENT, POISON, AMBIGUOUS } = ErrorClass
const pure = errorContract(EchoService.method.echoImage)
const once = errorContract(EchoService.method.echoImageOnce)
const domain = 'wellspring.steps.echo.v1'

type Info = { reason: string; domain: string; metadata?: Record<string, string> }

function statusBytes(code: Code, info: Info, message = 'why'): Uint8Array {
  const details = [anyPack(ErrorInfoSchema, create(ErrorInfoSchema, info))]
  return toBinary(StatusSchema, create(StatusSchema, { code, message, details }))
}

const transport: readonly [Code, string, ErrorClass, ErrorClass][] = [
  [Code.UNAVAILABLE, 'Connection dropped', RETRYABLE, AMBIGUOUS],
  [Code.ABORTED, '', RETRYABLE, AMBIGUOUS],
  [
    Code.DEADLINE_EXCEEDED,
    'Deadline exceeded after 1.0s,remote_addr=127.0.0.1:1',
    AMBIGUOUS,
    AMBIGUOUS,
  ],
  [
    Code.DEADLINE_EXCEEDED,
    'Deadline exceeded after 1.0s,Waiting for LB pick',
    RETRYABLE,
    RETRYABLE,
  ],
  [Code.CANCELLED, '', AMBIGUOUS, AMBIGUOUS],
  [Code.INTERNAL, 'Received RST_STREAM', AMBIGUOUS, AMBIGUOUS],
  [Code.UNKNOWN, '', AMBIGUOUS, AMBIGUOUS],
  [Code.RESOURCE_EXHAUSTED, 'Received message larger than max', PERMANENT, PERMANENT],
  [Code.UNIMPLEMENTED, '', PERMANENT, PERMANENT],
  [Code.INVALID_ARGUMENT, '', PERMANENT, PERMANENT],
  [Code.FAILED_PRECONDITION, '', PERMANENT, PERMANENT],
  [Code.PERMISSION_DENIED, '', PERMANENT, PERMANENT],
  [Code.OUT_OF_RANGE, '', PERMANENT, PERMANENT],
  [Code.DATA_LOSS, '', PERMANENT, PERMANENT],
]

for (const [code, details, harmless, harmful] of transport)
  test(`transport code ${code} "${details}"`, () => {
    const error = { code, details, status: undefined }
    assert.equal(classify(error, pure, 'r').failure.class, harmless)
    assert.equal(classify(error, once, 'r').failure.class, harmful)
  })

const declared: readonly [string, Code, Info, ErrorClass, string][] = [
  ['a declared reason', Code.DATA_LOSS, { reason: 'BAD_DATA', domain }, POISON, 'BAD_DATA'],
  // The contract decides, whatever the code and the wrapper say.
  [
    'a declared reason under another code',
    Code.INTERNAL,
    { reason: 'NOT_YET', domain, metadata: { class: 'POISON' } },
    RETRYABLE,
    'NOT_YET',
  ],
  [
    'RESOURCE_EXHAUSTED with our ErrorInfo',
    Code.RESOURCE_EXHAUSTED,
    { reason: 'BUSY', domain },
    OVERLOADED,
    'BUSY',
  ],
  [
    'a reason of the kit',
    Code.UNAVAILABLE,
    { reason: 'DRAINING', domain, metadata: { class: 'AMBIGUOUS', hint: 'h' } },
    AMBIGUOUS,
    'DRAINING',
  ],
]

for (const [name, code, info, errorClass, reason] of declared)
  test(name, () => {
    const { failure } = classify(
      { code, details: '', status: statusBytes(code, info) },
      pure,
      'r:1',
    )
    assert.deepEqual([failure.class, failure.reason], [errorClass, reason])
    assert.deepEqual([failure.code, failure.message, failure.replica], [code, 'why', 'r:1'])
  })

const undeclared: readonly [string, Code, Info][] = [
  ['nobody declares', Code.UNAVAILABLE, { reason: 'ODD', domain }],
  ...Object.keys(ErrorClass).map((name): [string, Code, Info] => [
    `nobody declares, though it claims ${name}`,
    Code.ABORTED,
    { reason: 'ODD', domain, metadata: { class: name } },
  ]),
  ['is of another domain', Code.DATA_LOSS, { reason: 'BAD_DATA', domain: 'x' }],
  ['of the kit is of another domain', Code.UNAVAILABLE, { reason: 'FULL', domain: 'x' }],
  ['has the name of a property', Code.UNAVAILABLE, { reason: 'constructor', domain }],
]

for (const [name, code, info] of undeclared)
  test(`a reason that ${name} is UNDECLARED, and AMBIGUOUS`, () => {
    const error = { code, details: '', status: statusBytes(code, info) }
    for (const contract of [pure, once]) {
      const { failure } = classify(error, contract, 'r:1')
      assert.deepEqual([failure.class, failure.reason], [AMBIGUOUS, 'UNDECLARED'])
      assert.match(failure.message, /^wellspring\.steps\.echo\.v1\.EchoService declares no reason /)
      assert.match(failure.message, new RegExp(`${info.reason}.*: why$`))
      assert.match(failure.hint, /declare the reason in the contract/)
    }
  })

const ofTheKit: readonly [string, string, ErrorClass, ErrorClass][] = [
  ['INVALID_REQUEST', 'PERMANENT', PERMANENT, PERMANENT],
  ['INVALID_REQUEST', 'POISON', POISON, POISON],
  ['INVALID_REQUEST', 'RETRYABLE', PERMANENT, PERMANENT],
  ['DISK_FULL', 'RETRYABLE', RETRYABLE, AMBIGUOUS],
  ['DISK_FULL', 'AMBIGUOUS', AMBIGUOUS, AMBIGUOUS],
  ['FULL', 'POISON', OVERLOADED, OVERLOADED],
  ['UNDECLARED', 'RETRYABLE', AMBIGUOUS, AMBIGUOUS],
  ['DRAINING', '', AMBIGUOUS, AMBIGUOUS],
]

for (const [reason, claimed, harmless, harmful] of ofTheKit)
  test(`the kit's ${reason} that claims "${claimed}" has a class that it may have`, () => {
    const info = { reason, domain, metadata: { class: claimed } }
    const error = { code: Code.UNKNOWN, details: '', status: statusBytes(Code.UNKNOWN, info) }
    assert.equal(classify(error, pure, '').failure.class, harmless)
    assert.equal(classify(error, once, '').failure.class, harmful)
  })

test('what the kit fails for, the coordinator takes for what it is', () => {
  const failures = [
    invalidRequest('m'),
    refusedArtifact('m'),
    badResponse('m'),
    full('m', 80),
    diskFull(new Error('m'), '/', true),
    diskFull(new Error('m'), '/', false),
    ended('DRAINING', 'm'),
    ended('CANCELLED', 'm'),
    ended('DEADLINE_EXCEEDED', 'm'),
  ].map(({ failure }) => failure)
  failures.push(failureOf(new Error('m')))
  assert.deepEqual(new Set(failures.map(({ reason }) => reason)), new Set(Object.keys(KIT_REASONS)))
  for (const failure of failures) {
    const { details, metadata } = statusOf(failure, domain)
    const [status] = metadata.get('grpc-status-details-bin')
    assert.ok(status instanceof Uint8Array)
    const { failure: taken } = classify({ code: Code.UNKNOWN, details, status }, pure, '')
    assert.deepEqual([taken.class, taken.reason], [failure.class, failure.reason])
  }
})

test('hints come from the contract, or from the kit', () => {
  const hintOf = (info: Info): string =>
    classify({ code: Code.ABORTED, details: '', status: statusBytes(Code.ABORTED, info) }, pure, '')
      .failure.hint
  assert.equal(hintOf({ reason: 'NOT_YET', domain, metadata: { hint: 'other' } }), 'wait')
  assert.equal(
    hintOf({ reason: 'FULL', domain, metadata: { class: 'OVERLOADED', hint: 'h' } }),
    'h',
  )
})

test('the wish of the service is milliseconds', () => {
  const details = [
    anyPack(RetryInfoSchema, create(RetryInfoSchema, { retryDelay: durationFromMs(1_500) })),
  ]
  const status = toBinary(StatusSchema, create(StatusSchema, { details }))
  const error = { code: Code.UNAVAILABLE, details: '', status }
  assert.equal(classify(error, pure, '').retryAfterMs, 1_500)
  assert.equal(classify({ ...error, status: undefined }, pure, '').retryAfterMs, undefined)
})

test('nobody waits for hours because a service wishes it', () => {
  const retryDelay = durationFromMs(86_400_000)
  const details = [anyPack(RetryInfoSchema, create(RetryInfoSchema, { retryDelay }))]
  const status = toBinary(StatusSchema, create(StatusSchema, { details }))
  const error = { code: Code.UNAVAILABLE, details: '', status }
  assert.equal(classify(error, pure, '').retryAfterMs, 300_000)
})

test('what the kit sends when it is full is understood', () => {
  const { details, metadata } = statusOf(full('4 calls', 80).failure, domain)
  const code = Code.RESOURCE_EXHAUSTED
  const [status] = metadata.get('grpc-status-details-bin')
  assert.ok(status instanceof Uint8Array)
  const { failure, retryAfterMs } = classify({ code, details, status }, pure, '')
  assert.deepEqual([failure.class, failure.reason, retryAfterMs], [OVERLOADED, 'FULL', 80])
})

test('texts are cut, damaged details are as none', () => {
  const long = 'x'.repeat(5_000)
  const status = statusBytes(Code.INTERNAL, { reason: long, domain: long }, long)
  const { failure } = classify({ code: Code.INTERNAL, details: '', status }, pure, '')
  assert.equal(failure.message.length, 1_024)
  assert.match(failure.message, /: x+…$/)
  const damaged = { code: Code.INTERNAL, details: 'd\ud800', status: Buffer.from([255, 1, 2]) }
  assert.deepEqual(classify(damaged, pure, '').failure.message, 'd\ufffd')
})
