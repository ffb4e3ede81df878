// Requests for tests of the callers.
import { create } from '@bufbuild/protobuf'
import {
  EchoImageOnceRequestSchema,
  EchoImageRequestSchema,
} from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import type { CallRequest, Caller, Outcome } from '../../coordinator/calls/port.ts'
import { loadPipeline } from '../../coordinator/core/pipeline/check.ts'
import type { Step } from '../../coordinator/core/pipeline/pipeline.ts'
import { pipeline as chain } from '../pipelines/echo-chain.ts'
import { pipeline as once } from '../pipelines/echo-once.ts'

export const echoPipeline = loadPipeline(chain)
const echoStep = stepOf(echoPipeline.steps)
const onceStep = stepOf(loadPipeline(once).steps)

function stepOf([step]: readonly Step[]): Step {
  if (!step) throw new Error('the pipeline has no steps')
  return step
}

export type Wanted = {
  readonly key: number
  /** What the echo server does: see echo-server.ts. */
  readonly act?: string
  readonly attempt?: number
  readonly plate?: string
  readonly timeoutMs?: number
  readonly once?: boolean
  readonly alone?: boolean
}

export function echoRequest(wanted: Wanted): CallRequest {
  const { key, act = 'answer', attempt = 1, plate = 'P1', timeoutMs = 5_000 } = wanted
  const idempotencyKey = key.toString(16).padStart(32, '0')
  const entity = `E/${plate}/a1/A01/t0/s${key}/z0/DNA`
  const context = {
    idempotencyKey,
    entity,
    attempt,
    step: 'echo',
    pipeline: 'echo-1',
    generation: 1,
  }
  const fields = { context, previous: act }
  return {
    idempotencyKey,
    task: 3,
    step: wanted.once ? onceStep : echoStep,
    entity,
    attempt,
    request: wanted.once
      ? create(EchoImageOnceRequestSchema, fields)
      : create(EchoImageRequestSchema, fields),
    timeoutMs,
    alone: wanted.alone === true,
    traceparent: `00-${'ab'.repeat(16)}-${key.toString(16).padStart(16, '0')}-01`,
  }
}

/** The outcome of a call. */
export function outcomeOf(caller: Caller, request: CallRequest): Promise<Outcome> {
  return new Promise((resolve) => caller.call(request, resolve))
}
