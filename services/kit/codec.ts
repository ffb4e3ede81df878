// Bytes to a request and a handler's answer to bytes, both checked against the contract's rules.
import {
  create,
  fromBinary,
  toBinary,
  type DescMessage,
  type DescMethodUnary,
  type Message,
} from '@bufbuild/protobuf'
import type { Validator } from '@bufbuild/protovalidate'
import type { CallContext } from '#proto/wellspring/step/v1/call_pb.ts'
import { badResponse, invalidRequest } from './errors.ts'

export type Codec = { readonly method: DescMethodUnary; readonly validator: Validator }

export type Request = { readonly request: Message; readonly context: CallContext }

/** Throws INVALID_REQUEST with the path of every field that breaks a rule. */
export function decodeRequest({ method, validator }: Codec, bytes: Uint8Array): Request {
  const { input } = method
  let request: Message & { context?: CallContext }
  try {
    request = fromBinary(input, bytes)
  } catch (error) {
    throw invalidRequest(`the request is no ${input.typeName}: ${String(error)}`)
  }
  const mistake = check(validator, input, request)
  if (mistake !== undefined) throw invalidRequest(`${input.typeName} is not valid: ${mistake}`)
  const { context } = request
  if (context === undefined) throw invalidRequest(`${input.typeName} is not valid: no context`)
  return { request, context }
}

/** Encodes what a handler returned. Throws BAD_RESPONSE when it breaks the contract. */
export function encodeResponse({ method, validator }: Codec, init: unknown): Uint8Array {
  const { output } = method
  let mistake: string | undefined
  try {
    const response = create(output, init as Record<string, unknown>)
    mistake = check(validator, output, response)
    if (mistake === undefined) return toBinary(output, response)
  } catch (error) {
    mistake = String(error)
  }
  throw badResponse(`${method.name} gave a ${output.typeName} that is not valid: ${mistake}`)
}

/** What is wrong with a message, field by field; undefined if nothing is. */
function check(validator: Validator, schema: DescMessage, message: Message): string | undefined {
  const result = validator.validate(schema, message)
  if (result.kind === 'valid') return undefined
  return result.kind === 'invalid'
    ? result.violations.map((violation) => violation.toString()).join('; ')
    : result.error.message
}
