import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import {
  ExplainResponseSchema,
  ServiceStatusSchema,
  type ServiceStatus,
} from '#proto/wellspring/control/v1/control_pb.ts'
import { withWaiting } from '../../coordinator/control/waiting.ts'
import { pipeline } from './plate.ts'

const [step] = pipeline.steps
assert.ok(step)
const service = step.method.parent.typeName

function nextWith(state: string, ...problems: readonly string[]): string {
  const services = problems.map((problem): ServiceStatus =>
    create(ServiceStatusSchema, { service, problem }),
  )
  const runs = [{ step: step?.name ?? '', state, attempts: [{ number: 2 }] }]
  const known = create(ExplainResponseSchema, { next: 'as it was', runs })
  return withWaiting(known, pipeline, services).next
}

test('an attempt whose service has no replica that can be called is said to wait, and for what', () => {
  assert.equal(
    nextWith('RUNNING', 'it does not fit', 'nor does this'),
    `attempt 2 of ${step.name} waits for a replica of ${service} that can be called: it does not fit`,
  )
})

test('with a replica that can be called, without any known, or not under way: nothing is added', () => {
  assert.equal(nextWith('RUNNING', 'it does not fit', ''), 'as it was')
  assert.equal(nextWith('RUNNING'), 'as it was')
  assert.equal(nextWith('BACKOFF', 'it does not fit'), 'as it was')
})
