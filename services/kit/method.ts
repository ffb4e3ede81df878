// One method of a service, from the bytes that come in to the bytes or the failure that go out.
import { tmpdir } from 'node:os'
import type { ServerUnaryCall, handleUnaryCall } from '@grpc/grpc-js'
import {
  create,
  getOption,
  type DescMessage,
  type DescMethodUnary,
  type DescService,
  type Message,
} from '@bufbuild/protobuf'
import { durationMs } from '@bufbuild/protobuf/wkt'
import type { Validator } from '@bufbuild/protovalidate'
import { ALONE } from '../../proto/kit-reasons.ts'
import { Code } from '#proto/google/rpc/code_pb.ts'
import {
  Purity,
  step as stepOption,
  type StepPolicy,
} from '#proto/wellspring/contract/v1/options_pb.ts'
import { ArtifactSchema } from '#proto/wellspring/lab/v1/artifact_pb.ts'
import { CallContextSchema, type CallContext } from '#proto/wellspring/step/v1/call_pb.ts'
import type { Roots } from './artifacts.ts'
import { bindingOf } from './binding.ts'
import type { Call, Failure, StepError } from './call.ts'
import { decodeRequest, encodeResponse } from './codec.ts'
import type { Effects } from './effects.ts'
import { hasCode } from './files.ts'
import { className, diskFull, failureOf, statusOf, type ErrorTable } from './errors.ts'
import type { Caller, Execution, Executions, Slots } from './executions.ts'
import { logError } from './log.ts'
import type { TraceSpan, Tracing } from './trace.ts'
import { beginWork } from './work.ts'

/** What all methods of a server share. */
export type Shared = {
  readonly service: DescService
  readonly errors: ErrorTable
  readonly executions: Executions
  readonly tracing: Tracing
  readonly validator: Validator
  readonly roots: Roots
  readonly store: string | undefined
  readonly effects: Effects | undefined
  readonly artifactBytesMax: number
  readonly maxInFlight: number
}

export type Handler = (request: Message, call: Call) => unknown

type Method = Shared & {
  readonly method: DescMethodUnary
  readonly handler: Handler
  readonly name: string
  readonly domain: string
  readonly slots: Slots
  readonly recorded: Effects | undefined
  readonly attemptMs: number
}

/** Share of a call's time, and at most how much of it, that is kept for the answer's way back. */
const answerMargin = { share: 0.1, maxMs: 250 } as const
const standardInFlightMax = 64
const standardAttemptMs = 60_000

/** Throws when the contract does not make the method a step, or the store it needs is missing. */
export function serveMethod(
  shared: Shared,
  method: DescMethodUnary,
  handler: Handler,
): handleUnaryCall<Buffer, Uint8Array> {
  const policy = policyOf(method)
  const name = `${shared.service.typeName}/${method.name}`
  const publishes = holds(method.output, ArtifactSchema.typeName)
  const byKey = policy.purity === Purity.IDEMPOTENT_BY_KEY
  if (shared.store === undefined && (publishes || byKey))
    throw new Error(`WELLSPRING_STORE is not set: ${name} keeps artifacts or effects there`)
  const inFlightMax = policy.flow?.maxInFlightPerReplica || standardInFlightMax
  const served: Method = {
    ...shared,
    method,
    handler,
    name,
    domain: shared.service.file.proto.package,
    slots: { max: Math.min(inFlightMax, shared.maxInFlight), used: 0, meanMs: 0 },
    // A pure answer can be had again, a record of it would only cost time.
    recorded: publishes || policy.purity !== Purity.PURE ? shared.effects : undefined,
    attemptMs: policy.attemptTimeout ? durationMs(policy.attemptTimeout) : standardAttemptMs,
  }
  // Rules are compiled when first met: not in the first call's time.
  for (const schema of [method.input, method.output])
    shared.validator.validate(schema, create(schema))
  return (call, callback) => {
    answer(served, call)
      .then(
        (bytes) => callback(null, bytes),
        (error: unknown) => callback(statusOf(failureOf(error), served.domain)),
      )
      // What was thrown cannot even be told; a call without an answer would hang until its deadline.
      .catch(() => callback({ code: Code.INTERNAL, details: 'an error without words' }))
  }
}

function policyOf(method: DescMethodUnary): StepPolicy {
  const context = method.input.field['context']
  if (context?.message?.typeName !== CallContextSchema.typeName)
    throw new Error(
      `${method.input.typeName} has no field context of ${CallContextSchema.typeName}`,
    )
  const policy = getOption(method, stepOption)
  if (policy.purity === Purity.UNSPECIFIED)
    throw new Error(`${method.parent.typeName}.${method.name} declares no step policy`)
  return policy
}

function holds(message: DescMessage, typeName: string, seen = new Set<string>()): boolean {
  if (message.typeName === typeName) return true
  if (seen.has(message.typeName)) return false
  seen.add(message.typeName)
  return message.fields.some(
    (field) => field.message !== undefined && holds(field.message, typeName, seen),
  )
}

async function answer(
  method: Method,
  call: ServerUnaryCall<Buffer, Uint8Array>,
): Promise<Uint8Array> {
  const caller: Caller = { left: false, onLeft: undefined, dedup: 'miss' }
  call.on('cancelled', () => {
    caller.left = true
    caller.onLeft?.()
  })
  const { request, context } = decodeRequest(method, call.request)
  const span = startSpan(method, call, context)
  try {
    const bytes = await method.executions.run(
      {
        method: method.name,
        entity: context.entity,
        key: context.idempotencyKey,
        binding: bindingOf(
          context,
          { desc: method.method.input, message: request, bytes: call.request },
          method.method.output.typeName,
        ),
        deadline: deadlineOf(call, method.attemptMs),
        alone: call.metadata.get(ALONE).length > 0,
        slots: method.slots,
        effects: method.recorded,
        work: (execution) => work(method, { request, context, span }, execution),
      },
      caller,
    )
    endSpan(method, span, caller)
    return bytes
  } catch (thrown) {
    const error = hasCode(thrown, 'ENOSPC', 'EDQUOT') ? noRoom(method, thrown) : thrown
    const failure = failureOf(error)
    if (failure.reason === 'UNDECLARED' || failure.reason === 'BAD_RESPONSE')
      complain(method, context, error)
    endSpan(method, span, caller, failure)
    throw error
  }
}

function noRoom({ store, method }: Method, error: Error & { path?: unknown }): StepError {
  const place = typeof error.path === 'string' ? error.path : (store ?? tmpdir())
  return diskFull(error, place, policyOf(method).purity !== Purity.NOT_IDEMPOTENT)
}

type Asked = {
  readonly request: Message
  readonly context: CallContext
  readonly span: TraceSpan
}

async function work(method: Method, asked: Asked, execution: Execution): Promise<Uint8Array> {
  const { errors, roots, store, artifactBytesMax } = method
  const begun = beginWork({ ...asked, execution, errors, roots, store, artifactBytesMax })
  try {
    return encodeResponse(method, await method.handler(asked.request, begun.call))
  } finally {
    await begun.end()
  }
}

/** Whichever comes first, the caller's deadline or the contract's, less the margin; on performance.now(). */
function deadlineOf(call: ServerUnaryCall<Buffer, Uint8Array>, attemptMs: number): number {
  const given = call.getDeadline()
  const leftMs = Math.min(Number(given) - Date.now(), attemptMs)
  return performance.now() + leftMs - Math.min(leftMs * answerMargin.share, answerMargin.maxMs)
}

function startSpan(
  method: Method,
  call: ServerUnaryCall<Buffer, Uint8Array>,
  context: CallContext,
): TraceSpan {
  const parent = call.metadata.get('traceparent').join(',')
  if (!method.tracing.on) return method.tracing.server(method.name, parent, {})
  return method.tracing.server(method.name, parent, {
    'rpc.system': 'grpc',
    'rpc.service': method.service.typeName,
    'rpc.method': method.method.name,
    'wellspring.entity': context.entity,
    'wellspring.step': context.step,
    'wellspring.idempotency_key': context.idempotencyKey,
    'wellspring.attempt': context.attempt,
  })
}

function endSpan(method: Method, span: TraceSpan, caller: Caller, failure?: Failure): void {
  if (!method.tracing.on) return
  span.set({
    'wellspring.dedup': caller.dedup,
    'rpc.grpc.status_code': failure?.code ?? 0,
    ...(caller.left ? { 'wellspring.caller_left': true } : {}),
    ...(failure === undefined
      ? {}
      : {
          'wellspring.error.class': className(failure.class),
          'wellspring.error.reason': failure.reason,
        }),
  })
  span.end(failure?.message.slice(0, 1_024))
}

function complain(method: Method, context: CallContext, error: unknown): void {
  const { entity, idempotencyKey } = context
  const stack = error instanceof Error ? error.stack : undefined
  logError(`${method.name} of ${entity} failed outside its contract`, {
    idempotencyKey,
    error: stack ?? String(error),
  })
}
