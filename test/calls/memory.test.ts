import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create, fromBinary } from '@bufbuild/protobuf'
import { createValidator } from '@bufbuild/protovalidate'
import { ErrorClass } from '#proto/wellspring/contract/v1/errors_pb.ts'
import { EchoImageRequestSchema } from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import { openMemoryCaller, type Fault } from '../../coordinator/calls/memory.ts'
import type { CallRequest, Caller, Outcome } from '../../coordinator/calls/port.ts'
import { loadPipeline } from '../../coordinator/core/pipeline/check.ts'
import { pipeline as screening } from '../../coordinator/pipelines/screening.ts'
import { portSuite } from './port.suite.ts'
import { echoRequest, outcomeOf } from './requests.ts'

const heldOutcomeMs = 300

/** What the echo server would do, as a fault. */
function faultOf({ request }: CallRequest): Fault | undefined {
  const previous = 'previous' in request ? String(request.previous) : ''
  const [verb, what = '', more] = previous.split(':')
  if (verb === 'late') return { kind: 'late', delayMs: Number(what) }
  if (verb === 'hang') return { kind: 'hang' }
  if (verb !== 'fail') return undefined
  return {
    kind: 'fail',
    reason: what,
    ...(more === undefined ? {} : { retryAfterMs: Number(more) }),
  }
}

portSuite('memory', () => {
  const executions = new Map<string, number>()
  const caller = openMemoryCaller({
    schedule: (delayMs, run) => void setTimeout(run, delayMs),
    dice: () => 0.5,
    nowMs: Date.now,
    heldOutcomeMs,
    script(request) {
      executions.set(request.idempotencyKey, (executions.get(request.idempotencyKey) ?? 0) + 1)
      return faultOf(request)
    },
  })
  return Promise.resolve({
    caller,
    heldOutcomeMs,
    executions: (key) => executions.get(key) ?? 0,
    close: () => caller.close(),
  })
})

function scripted(fault: Fault | undefined): Caller {
  return openMemoryCaller({
    schedule: (delayMs, run) => void setTimeout(run, delayMs),
    dice: () => 0,
    script: () => fault,
  })
}

test('an answer that comes twice is told once', async () => {
  const caller = scripted({ kind: 'twice' })
  let told = 0
  const request = echoRequest({ key: 1 })
  caller.call(request, () => (told += 1))
  await outcomeOf(caller, { ...echoRequest({ key: 2 }) })
  await new Promise((resolve) => setTimeout(resolve, 10))
  assert.equal(told, 1)
})

test('a lost answer is AMBIGUOUS at the deadline', async () => {
  const outcome = await outcomeOf(scripted({ kind: 'lose' }), echoRequest({ key: 1, timeoutMs: 5 }))
  assert.ok(outcome.kind === 'failed')
  assert.equal(outcome.failure.class, ErrorClass.AMBIGUOUS)
})

test('an answer after the deadline is AMBIGUOUS', async () => {
  const caller = scripted({ kind: 'late', delayMs: 50 })
  const outcome = await outcomeOf(caller, echoRequest({ key: 1, timeoutMs: 5 }))
  assert.ok(outcome.kind === 'failed')
  assert.equal(outcome.failure.class, ErrorClass.AMBIGUOUS)
})

test('a class of its own makes any reason', async () => {
  const fault: Fault = { kind: 'fail', reason: 'ODD', class: ErrorClass.PERMANENT }
  const outcome = await outcomeOf(scripted(fault), echoRequest({ key: 1 }))
  assert.ok(outcome.kind === 'failed')
  assert.deepEqual([outcome.failure.reason, outcome.failure.class], ['ODD', ErrorClass.PERMANENT])
})

test('answers depend on the request, and keep the rules of every screening contract', async () => {
  const caller = scripted(undefined)
  const validator = createValidator()
  const base = echoRequest({ key: 1 })
  for (const [index, step] of loadPipeline(screening).steps.entries()) {
    const request = create(step.method.input)
    const idempotencyKey = String(index)
    // One after another is what is tested.
    const outcome: Outcome = await outcomeOf(caller, { ...base, idempotencyKey, step, request })
    assert.ok(outcome.kind === 'done')
    const { output } = step.method
    const result = validator.validate(output, fromBinary(output, outcome.output))
    assert.equal(result.kind, 'valid', `${output.typeName}: ${String(result.error)}`)
  }
  const other = create(EchoImageRequestSchema, { previous: 'other' })
  const one = await outcomeOf(caller, { ...base, idempotencyKey: 'a' })
  const two = await outcomeOf(caller, { ...base, idempotencyKey: 'b', request: other })
  assert.ok(one.kind === 'done' && two.kind === 'done')
  assert.notDeepEqual(one.output, two.output)
})
