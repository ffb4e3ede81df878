// From what went wrong to what travels: google.rpc.Status with ErrorInfo, in the contract's words and of bounded size.
import { Metadata, type Metadata as GrpcMetadata } from '@grpc/grpc-js'
import { create, getOption, toBinary, type DescEnum } from '@bufbuild/protobuf'
import { anyPack, durationFromMs } from '@bufbuild/protobuf/wkt'
import { Code } from '#proto/google/rpc/code_pb.ts'
import { ErrorInfoSchema, RetryInfoSchema } from '#proto/google/rpc/error_details_pb.ts'
import { StatusSchema } from '#proto/google/rpc/status_pb.ts'
import { ErrorClass, ErrorClassSchema } from '#proto/wellspring/contract/v1/errors_pb.ts'
import { error as errorOption } from '#proto/wellspring/contract/v1/options_pb.ts'
import { PROGRAM_ENDED, type KitReason, type ProgramEnded } from '../../proto/kit-reasons.ts'
import { StepError, type Failure } from './call.ts'

/** What a person reads of an error, characters. Longer trailers end the whole connection at some peers. */
export const messageCharsMax = 1_024
const messageEncodedMax = 2_048 // of the percent-encoded grpc-message header
const detailsBytesMax = 3_072 // 4 kB once base64 has made 4 of 3

export type ErrorTable = {
  /** A declared failure; an undeclared reason gives the UNDECLARED failure that names it. */
  fail(
    reason: string,
    message: string,
    retryAfterMs?: number,
    programEnded?: ProgramEnded,
  ): StepError
}

/**
 * The reasons that an enum declares by its values' (error) option, named without the enum's prefix.
 * Throws when a value other than 0 lacks class or code.
 */
export function errorTable(errors: DescEnum): ErrorTable {
  const declared = new Map<string, Omit<Failure, 'message'>>()
  const prefix = errors.sharedPrefix?.toUpperCase() ?? ''
  for (const value of errors.values) {
    if (value.number === 0) continue
    const semantics = getOption(value, errorOption)
    if (!semantics.class || !semantics.code)
      throw new Error(`${errors.typeName}.${value.name} declares no error class or code`)
    const reason = value.name.startsWith(prefix) ? value.name.slice(prefix.length) : value.name
    const { class: errorClass, code, hint } = semantics
    declared.set(reason, { reason, class: errorClass, code, hint })
  }
  return {
    fail(reason, message, retryAfterMs, programEnded) {
      const known = declared.get(reason)
      if (known === undefined)
        return undeclared(`${reason} is no reason of ${errors.typeName}: ${message}`)
      return new StepError({
        ...known,
        message,
        ...(retryAfterMs !== undefined && { retryAfterMs }),
        ...(programEnded && { programEnded }),
      })
    },
  }
}

/** Failures of the kit itself; their reasons are the same for every service. */
export function invalidRequest(message: string): StepError {
  return new StepError({
    reason: 'INVALID_REQUEST' satisfies KitReason,
    code: Code.INVALID_ARGUMENT,
    class: ErrorClass.PERMANENT,
    hint: 'the caller and the contract disagree: compare their contract digests',
    message,
  })
}

/** An artifact that no root of this service can ever hold: the announcement's fault, and no reason to pause the step. */
export function refusedArtifact(message: string): StepError {
  return new StepError({
    reason: 'INVALID_REQUEST' satisfies KitReason,
    code: Code.INVALID_ARGUMENT,
    class: ErrorClass.POISON,
    hint: 'announce files below the roots of the services (WELLSPRING_ROOTS)',
    message,
  })
}

export function badResponse(message: string): StepError {
  return new StepError({
    reason: 'BAD_RESPONSE' satisfies KitReason,
    code: Code.FAILED_PRECONDITION,
    class: ErrorClass.PERMANENT,
    hint: 'a mistake in the wrapper: report it to the team that owns the step',
    message,
  })
}

export function full(message: string, retryAfterMs: number): StepError {
  return new StepError({
    reason: 'FULL' satisfies KitReason,
    code: Code.RESOURCE_EXHAUSTED,
    class: ErrorClass.OVERLOADED,
    hint: 'the service works at its limit: add replicas',
    message,
    retryAfterMs,
  })
}

const diskRetryAfterMs = 5_000

/** There was no room left to write in: nothing of the answer is to be seen, and the same call may succeed later. */
export function diskFull(error: Error, place: string, isHarmless: boolean): StepError {
  return new StepError({
    reason: 'DISK_FULL' satisfies KitReason,
    code: Code.RESOURCE_EXHAUSTED,
    // An effect that must not happen twice may have happened before its record was to be written.
    class: isHarmless ? ErrorClass.RETRYABLE : ErrorClass.AMBIGUOUS,
    hint: 'free some space there: what still has attempts goes on by itself, redrive the rest',
    message: `the disk that holds ${place} is full (${error.message})`,
    retryAfterMs: diskRetryAfterMs,
  })
}

export type EndReason = Extract<KitReason, 'DEADLINE_EXCEEDED' | 'CANCELLED' | 'DRAINING'>

/** Nobody knows what the attempt did: it ran out of time, was cancelled, or its wrapper went down. */
export function ended(reason: EndReason, message: string): StepError {
  const code = reason === 'DRAINING' ? Code.UNAVAILABLE : Code[reason]
  return new StepError({ reason, code, class: ErrorClass.AMBIGUOUS, hint: '', message })
}

function undeclared(message: string): StepError {
  return new StepError({
    reason: 'UNDECLARED' satisfies KitReason,
    code: Code.INTERNAL,
    class: ErrorClass.AMBIGUOUS,
    hint: 'the wrapper threw what its contract does not declare: its log has the rest',
    message,
  })
}

/** Whatever a handler threw, as a failure. */
export function failureOf(error: unknown): Failure {
  if (error instanceof StepError) return error.failure
  return undeclared(error instanceof Error ? `${error.name}: ${error.message}` : String(error))
    .failure
}

/** RETRYABLE, POISON, …: as spans and ErrorInfo spell a class. */
export function className(errorClass: ErrorClass): string {
  return ErrorClassSchema.value[errorClass]?.localName ?? 'UNSPECIFIED'
}

/** The failure as grpc-js answers it. The domain is the service's package. */
export function statusOf(
  failure: Failure,
  domain: string,
): { code: number; details: string; metadata: GrpcMetadata } {
  const metadata = new Metadata()
  metadata.set('grpc-status-details-bin', Buffer.from(detailsOf(failure, domain)))
  return { code: failure.code, details: headerText(failure.message), metadata }
}

function detailsOf(failure: Failure, domain: string): Uint8Array {
  const { reason, code, hint, retryAfterMs, programEnded } = failure
  const info = {
    class: className(failure.class),
    hint: cut(hint, 256),
    ...(programEnded && { [PROGRAM_ENDED]: programEnded }),
  }
  const details = [
    anyPack(ErrorInfoSchema, create(ErrorInfoSchema, { reason, domain, metadata: info })),
  ]
  if (retryAfterMs !== undefined) {
    const retryDelay = durationFromMs(Math.round(retryAfterMs))
    details.push(anyPack(RetryInfoSchema, create(RetryInfoSchema, { retryDelay })))
  }
  let chars = messageCharsMax
  for (;;) {
    const message = cut(failure.message, chars)
    const bytes = toBinary(StatusSchema, create(StatusSchema, { code, message, details }))
    if (bytes.length <= detailsBytesMax || chars === 0) return bytes
    chars = Math.floor(chars * 0.75)
  }
}

/** grpc-js percent-encodes the header with encodeURI, which throws on half a surrogate pair. */
function headerText(message: string): string {
  let text = cut(message, messageCharsMax)
  while (encodeURI(text).length > messageEncodedMax)
    text = cut(text, Math.floor(text.length * 0.75))
  return text
}

function cut(text: string, charsMax: number): string {
  if (text.length <= charsMax) return text.toWellFormed()
  return `${text.slice(0, Math.max(0, charsMax - 1))}…`.toWellFormed()
}
