// From a gRPC error to a failure in the contract's words. The library never makes an ErrorInfo, so an error without it
// is the transport's own word; one with it is what contract or kit declare, or UNDECLARED.
import { create, fromBinary, getOption, type DescMethod } from '@bufbuild/protobuf'
import { anyUnpack, durationMs } from '@bufbuild/protobuf/wkt'
import { Code } from '#proto/google/rpc/code_pb.ts'
import {
  ErrorInfoSchema,
  RetryInfoSchema,
  type ErrorInfo,
} from '#proto/google/rpc/error_details_pb.ts'
import { StatusSchema, type Status } from '#proto/google/rpc/status_pb.ts'
import { ErrorClass } from '#proto/wellspring/contract/v1/errors_pb.ts'
import {
  Purity,
  service as serviceOption,
  step as stepOption,
} from '#proto/wellspring/contract/v1/options_pb.ts'
import { StepFailureSchema, type StepFailure } from '#proto/wellspring/step/v1/failure_pb.ts'
import {
  isKitReason,
  KIT_REASONS,
  PROGRAM_ENDED,
  type KitReason,
  type ProgramEnded,
} from '../../proto/kit-reasons.ts'
import { nameOf, reasonsOf, type Reason } from '../core/pipeline/contract.ts'
import type { Outcome } from '../core/event.ts'

const messageCharsMax = 1_024
const hintCharsMax = 256
const reasonCharsMax = 64

/** What a failed call tells. */
export type CallError = {
  readonly code: Code
  readonly details: string
  /** Bytes of the trailer grpc-status-details-bin. */
  readonly status: Uint8Array | undefined
}

/** Longest pause that a service can ask for. */
const retryAfterMaxMs = 300_000

export type Failed = Pick<
  Extract<Outcome, { kind: 'failed' }>,
  'failure' | 'retryAfterMs' | 'programEnded'
>

/** What classification needs to know of a step's contract. */
export type ErrorContract = {
  /** Full name of the service, for people. */
  readonly service: string
  /** Packages whose reasons are meant: the service's, and that of its errors_enum. */
  readonly domains: ReadonlySet<string>
  readonly reasons: ReadonlyMap<string, Reason>
  readonly idempotent: boolean
}

export function errorContract(method: DescMethod): ErrorContract {
  const { errorsEnum } = getOption(method.parent, serviceOption)
  return {
    service: method.parent.typeName,
    domains: new Set([packageOf(method.parent.typeName), packageOf(errorsEnum)]),
    reasons: reasonsOf(method.parent, () => {}),
    idempotent: getOption(method, stepOption).purity !== Purity.NOT_IDEMPOTENT,
  }
}

function packageOf(typeName: string): string {
  return typeName.slice(0, Math.max(0, typeName.lastIndexOf('.')))
}

/** The failure that a gRPC error means for a step of this contract. */
export function classify(error: CallError, contract: ErrorContract, replica: string): Failed {
  const status = statusOf(error.status)
  const info = detail(status, ErrorInfoSchema)
  const wish = detail(status, RetryInfoSchema)?.retryDelay
  const meaning = info ? stated(info, contract) : transport(error, contract)
  const said = status?.message || error.details
  const failure = failureOf({
    ...meaning,
    message: meaning.about === undefined ? said : `${meaning.about}: ${said}`,
    code: error.code,
    replica,
  })
  const programEnded = endOf(failure, info)
  const wishedMs = wish ? Math.max(0, durationMs(wish)) : 0
  return {
    failure,
    ...(wish && { retryAfterMs: Math.min(wishedMs, retryAfterMaxMs) }),
    ...(programEnded && { programEnded }),
  }
}

/** What the wrapper says of its program. Where the failure says enough by itself, that is enough. */
function endOf({ class: errorClass }: StepFailure, info?: ErrorInfo): ProgramEnded | undefined {
  if (errorClass !== ErrorClass.RETRYABLE && errorClass !== ErrorClass.AMBIGUOUS) return undefined
  return ENDS.find((end) => end === info?.metadata[PROGRAM_ENDED])
}

const ENDS: readonly ProgramEnded[] = ['alone', 'among-others']

/** As failed over a wrapper whose process ended with the call in hand. */
export function wrapperEnded(failed: Failed, programEnded: ProgramEnded): Failed {
  const { failure } = failed
  failure.message = `its wrapper's process ended with it in hand (${failure.message})`
  failure.hint = 'look at the log of the wrapper; what ends it again and again is found out'
  return { ...failed, programEnded }
}

type Meaning = Pick<StepFailure, 'class' | 'reason' | 'hint'> & {
  /** What comes before the message of whoever failed. */
  readonly about?: string
}

/** A failure with its texts cut to what state and records may hold. */
export function failureOf(
  fields: Meaning & Partial<Pick<StepFailure, 'message' | 'code' | 'replica'>>,
): StepFailure {
  const { class: errorClass, reason, message = '', hint, code = Code.OK, replica = '' } = fields
  return create(StepFailureSchema, {
    class: errorClass,
    reason: cut(reason, reasonCharsMax),
    message: cut(message, messageCharsMax),
    hint: cut(hint, hintCharsMax),
    code,
    replica,
  })
}

/** The contract decides what its reasons mean, and the kit's have their classes: what is claimed beyond that is not so. */
function stated(info: ErrorInfo, contract: ErrorContract): Meaning {
  const { reason, domain, metadata } = info
  const isOurs = contract.domains.has(domain)
  const known = isOurs ? contract.reasons.get(reason) : undefined
  if (known) return { class: known.class, reason, hint: known.hint }
  if (isOurs && isKitReason(reason)) {
    const hint = metadata['hint'] ?? ''
    return { class: classOf(reason, metadata['class'], contract), reason, hint }
  }
  return {
    class: ErrorClass.AMBIGUOUS,
    reason: 'UNDECLARED',
    hint: 'declare the reason in the contract, then build wrapper and coordinator from it',
    about: `${contract.service} declares no reason ${nameIn(domain, reason, contract)}`,
  }
}

function nameIn(domain: string, reason: string, contract: ErrorContract): string {
  const name = cut(reason, reasonCharsMax)
  return contract.domains.has(domain) ? name : `${name} of domain "${cut(domain, reasonCharsMax)}"`
}

function classOf(
  reason: KitReason,
  claimed: string | undefined,
  { idempotent }: ErrorContract,
): ErrorClass {
  const classes: readonly ErrorClass[] = KIT_REASONS[reason]
  const chosen = classes.find((one) => nameOf(ErrorClass, one) === claimed) ?? classes[0]
  // Again only if that does no harm.
  if (chosen === ErrorClass.RETRYABLE && !idempotent) return ErrorClass.AMBIGUOUS
  return chosen ?? ErrorClass.AMBIGUOUS
}

const NOTHING_CAME_BACK = 'nobody knows whether the call did anything'

function transport({ code, details }: CallError, contract: ErrorContract): Meaning {
  const reason = nameOf(Code, code)
  switch (code) {
    case Code.UNAVAILABLE:
      // The connection may have broken under a call that was being answered.
      return contract.idempotent
        ? { class: ErrorClass.RETRYABLE, reason, hint: 'look whether the service is running' }
        : { class: ErrorClass.AMBIGUOUS, reason, hint: NOTHING_CAME_BACK }
    case Code.ABORTED:
      return contract.idempotent
        ? { class: ErrorClass.RETRYABLE, reason, hint: '' }
        : { class: ErrorClass.AMBIGUOUS, reason, hint: NOTHING_CAME_BACK }
    case Code.DEADLINE_EXCEEDED:
      return isNeverSent(details)
        ? { class: ErrorClass.RETRYABLE, reason: 'UNREACHABLE', hint: 'start the service' }
        : { class: ErrorClass.AMBIGUOUS, reason, hint: NOTHING_CAME_BACK }
    case Code.CANCELLED:
    case Code.INTERNAL:
    case Code.UNKNOWN:
      return { class: ErrorClass.AMBIGUOUS, reason, hint: NOTHING_CAME_BACK }
    case Code.RESOURCE_EXHAUSTED:
      // A full service says so with ErrorInfo; without, a message was larger than the transport allows.
      return { class: ErrorClass.PERMANENT, reason, hint: 'a message is larger than gRPC allows' }
    case Code.UNIMPLEMENTED:
      return { class: ErrorClass.PERMANENT, reason, hint: 'another service has this address' }
    case Code.OK:
    case Code.INVALID_ARGUMENT:
    case Code.NOT_FOUND:
    case Code.ALREADY_EXISTS:
    case Code.PERMISSION_DENIED:
    case Code.UNAUTHENTICATED:
    case Code.FAILED_PRECONDITION:
    case Code.OUT_OF_RANGE:
    case Code.DATA_LOSS:
      break
  }
  return { class: ErrorClass.PERMANENT, reason, hint: 'the wrapper declares no such failure' }
}

/** Words of grpc-js for a call that found no connection before its deadline. */
function isNeverSent(details: string): boolean {
  return details.includes('Waiting for LB pick') || details.includes('waiting for name resolution')
}

function statusOf(bytes: Uint8Array | undefined): Status | undefined {
  if (!bytes) return undefined
  try {
    return fromBinary(StatusSchema, bytes)
  } catch {
    return undefined
  }
}

function detail<Schema extends typeof ErrorInfoSchema | typeof RetryInfoSchema>(
  status: Status | undefined,
  schema: Schema,
): ReturnType<typeof anyUnpack<Schema>> {
  for (const any of status?.details ?? []) {
    try {
      const found = anyUnpack(any, schema)
      if (found) return found
    } catch {
      // Bytes of a foreign make: as if the detail were not there.
    }
  }
  return undefined
}

function cut(text: string, charsMax: number): string {
  const whole = text.length <= charsMax ? text : `${text.slice(0, charsMax - 1)}…`
  return whole.toWellFormed()
}
