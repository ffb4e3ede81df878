// Deterministic twin of the callers for the simulator: answers are pure functions of the request, faults come from
// a script, time and chance from the world.
import {
  create,
  ScalarType,
  toBinary,
  type DescField,
  type DescMessage,
  type DescService,
  type Message,
} from '@bufbuild/protobuf'
import { Code } from '#proto/google/rpc/code_pb.ts'
import { ErrorClass } from '#proto/wellspring/contract/v1/errors_pb.ts'
import { ArtifactSchema } from '#proto/wellspring/lab/v1/artifact_pb.ts'
import { reasonsOf } from '../core/pipeline/contract.ts'
import { hex, sha256 } from '../core/keys.ts'
import { failureOf } from './classify.ts'
import { createCallRegistry } from './registry.ts'
import type { CallRequest, Caller, Outcome } from './port.ts'

/** What goes wrong with one execution. */
export type Fault =
  /** The service fails it, with a reason of its contract or a class of its own. */
  | { kind: 'fail'; reason: string; class?: ErrorClass; message?: string; retryAfterMs?: number }
  /** The service does the work, the answer is lost on the way. */
  | { kind: 'lose' }
  /** The answer takes so long. */
  | { kind: 'late'; delayMs: number }
  /** The answer comes twice. */
  | { kind: 'twice' }
  /** Nothing is done and nothing comes back before the deadline. */
  | { kind: 'hang' }

export type MemoryCallerOptions = {
  /** Runs a function later, on the world's time. */
  readonly schedule: (delayMs: number, run: () => void) => void
  /** In [0, 1). */
  readonly dice: () => number
  /** Asked at every execution; undefined: it goes well. */
  readonly script: (request: CallRequest) => Fault | undefined
  /** UTC milliseconds of the world; without it times are 0. */
  readonly nowMs?: () => number
  /** As for the real caller: 30,000. */
  readonly heldOutcomeMs?: number
}

/** An answer takes 1 to 20 ms. */
const answerMaxMs = 20
const replica = 'memory'

export function openMemoryCaller({
  schedule,
  dice,
  script,
  nowMs = () => 0,
  heldOutcomeMs = 30_000,
}: MemoryCallerOptions): Caller {
  const registry = createCallRegistry({ after: schedule, heldOutcomeMs, nowMs })
  let closed = false

  function execute(request: CallRequest): void {
    const startedMs = nowMs()
    const fault = script(request)
    const settle = (delayMs: number, outcome: (timing: Outcome['timing']) => Outcome): void =>
      schedule(Math.min(delayMs, request.timeoutMs), () => {
        const timing = { startedMs, endedMs: nowMs(), replica }
        if (!closed) registry.settle(request.idempotencyKey, outcome(timing))
      })
    const delayMs = 1 + Math.floor(dice() * answerMaxMs)
    const answer = (timing: Outcome['timing']): Outcome => ({
      kind: 'done',
      output: answerTo(request),
      timing,
    })
    switch (fault?.kind) {
      case undefined:
        return settle(delayMs, answer)
      case 'late':
        return fault.delayMs >= request.timeoutMs
          ? settle(request.timeoutMs, expired)
          : settle(fault.delayMs, answer)
      case 'twice':
        settle(delayMs, answer)
        return settle(delayMs + 1, answer)
      case 'fail':
        return settle(delayMs, (timing) => failed(request, fault, timing))
      case 'lose':
      case 'hang':
        return settle(request.timeoutMs, expired)
    }
  }

  return {
    knows: (idempotencyKey, attempt) => registry.knows(idempotencyKey, attempt),
    release: (idempotencyKey) => registry.release(idempotencyKey),
    detach: (task) => registry.detach(task),
    call(request, onOutcome) {
      if (!closed && registry.take(request, onOutcome)) execute(request)
    },
    close() {
      closed = true
      registry.close()
      return Promise.resolve()
    },
  }
}

function failed(
  { step }: CallRequest,
  fault: Fault & { kind: 'fail' },
  timing: Outcome['timing'],
): Outcome {
  const { reason, retryAfterMs } = fault
  const known = reasonsIn(step.method.parent).get(reason)
  const errorClass = fault.class ?? known?.class
  if (errorClass === undefined)
    throw new Error(`${reason} is no reason of ${step.method.parent.typeName}: give its class`)
  const failure = failureOf({
    class: errorClass,
    reason,
    message: fault.message ?? `asked to fail with ${reason}`,
    hint: known?.hint ?? '',
    code: known?.code ?? Code.UNKNOWN,
    replica,
  })
  return {
    kind: 'failed',
    failure,
    timing,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  }
}

const reasonsKnown = new Map<DescService, ReturnType<typeof reasonsOf>>()

function reasonsIn(service: DescService): ReturnType<typeof reasonsOf> {
  const known = reasonsKnown.get(service) ?? reasonsOf(service, () => {})
  reasonsKnown.set(service, known)
  return known
}

function expired(timing: Outcome['timing']): Outcome {
  const failure = failureOf({
    class: ErrorClass.AMBIGUOUS,
    reason: 'DEADLINE_EXCEEDED',
    message: 'no answer before the deadline',
    hint: 'nobody knows whether the call did anything',
    code: Code.DEADLINE_EXCEEDED,
    replica,
  })
  return { kind: 'failed', failure, timing }
}

/** A response that depends on the request without its context, so on no attempt, and keeps the contracts' rules. */
function answerTo({ step, request }: CallRequest): Uint8Array {
  const { method } = step
  const asked = toBinary(method.input, { ...request, context: undefined } as Message)
  const seed = hex(
    sha256(Buffer.concat([Buffer.from(`${method.parent.typeName}/${method.name}\n`), asked])),
  )
  return toBinary(method.output, filled(method.output, seed))
}

function filled(schema: DescMessage, seed: string): Message {
  if (schema.typeName === ArtifactSchema.typeName) return artifact(seed)
  const message: Record<string, unknown> = {}
  for (const field of schema.fields)
    message[field.localName] = valueOf(field, hex(sha256(Buffer.from(`${seed}${field.name}`))))
  return create(schema, message)
}

function artifact(seed: string): Message {
  const sizeBytes = 1 + Number.parseInt(seed.slice(0, 6), 16)
  const uri = `file:///memory/${seed}`
  return create(ArtifactSchema, { uri, sizeBytes, sha256: seed, mediaType: 'text/plain' })
}

/** Numbers stay in [0, 1) or 1 … 1000: inside every range that a contract asks for. Lists and maps stay empty. */
function valueOf(field: DescField, seed: string): unknown {
  const number = Number.parseInt(seed.slice(0, 8), 16)
  switch (field.fieldKind) {
    case 'message':
      return filled(field.message, seed)
    case 'enum':
      return field.enum.values[number % field.enum.values.length]?.number
    case 'list':
    case 'map':
      return undefined
    case 'scalar':
      return scalarOf(field.scalar, number, seed)
  }
}

function scalarOf(type: ScalarType, number: number, seed: string): unknown {
  switch (type) {
    case ScalarType.STRING:
      return seed
    case ScalarType.BOOL:
      return number % 2 === 1
    case ScalarType.BYTES:
      return Buffer.from(seed, 'hex')
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      return number / 2 ** 32
    case ScalarType.INT32:
    case ScalarType.SINT32:
    case ScalarType.UINT32:
    case ScalarType.FIXED32:
    case ScalarType.SFIXED32:
      return 1 + (number % 1_000)
    case ScalarType.INT64:
    case ScalarType.SINT64:
    case ScalarType.UINT64:
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return BigInt(number)
  }
}
