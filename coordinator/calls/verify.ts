// Verify, then believe: a response decodes, keeps its contract's rules, and the files it names are there.
import {
  fromBinary,
  hasOption,
  type DescMessage,
  type DescMethod,
  type Message,
} from '@bufbuild/protobuf'
import { createValidator, type Validator } from '@bufbuild/protovalidate'
import * as rules from '#proto/buf/validate/validate_pb.ts'
import { ErrorClass } from '#proto/wellspring/contract/v1/errors_pb.ts'
import { ArtifactSchema, type Artifact } from '#proto/wellspring/lab/v1/artifact_pb.ts'
import type { StepFailure } from '#proto/wellspring/step/v1/failure_pb.ts'
import { OUTPUT_BYTES_MAX } from '../core/runs.ts'
import { failureOf } from './classify.ts'
import type { Files } from './output-files.ts'

/** Checks a response. undefined: it is good. A promise only when there are files to look at. */
export type ResponseCheck = (
  bytes: Uint8Array,
) => StepFailure | undefined | Promise<StepFailure | undefined>

/** Prepares the check of a method's responses: what has no rules is not validated, what has no files not walked. */
export function responseCheck(method: DescMethod, files: Files): ResponseCheck {
  const { output } = method
  const validator = hasRules(output, new Set()) ? sharedValidator() : undefined
  const withFiles = holdsArtifacts(output, new Set())
  return (bytes) => {
    // It is set aside for its size, whatever is in it: not worth the time to take it apart.
    if (bytes.length > OUTPUT_BYTES_MAX) return undefined
    let message: Message
    try {
      message = fromBinary(output, bytes)
    } catch (error) {
      return bad(`the response is no ${output.typeName}: ${String(error)}`)
    }
    const broken = validator && violations(validator, output, message)
    if (broken !== undefined) return bad(`the response breaks its contract: ${broken}`)
    return withFiles ? missing(artifactsIn(message, []), files) : undefined
  }
}

let shared: Validator | undefined
function sharedValidator(): Validator {
  return (shared ??= createValidator())
}

function bad(message: string): StepFailure {
  const hint = 'a mistake in the wrapper: report it to the team that owns the step'
  return failureOf({ class: ErrorClass.PERMANENT, reason: 'BAD_RESPONSE', message, hint })
}

async function missing(
  artifacts: readonly Artifact[],
  files: Files,
): Promise<StepFailure | undefined> {
  if (artifacts.length === 0) return undefined
  const problem = await files.problemOf(artifacts)
  if (problem === undefined) return undefined
  const { message, isLasting } = problem
  if (isLasting) return bad(message)
  const hint = 'the step said DONE, but its output is not there: look at the artifact store'
  return failureOf({ class: ErrorClass.RETRYABLE, reason: 'OUTPUT_MISSING', message, hint })
}

function violations(
  validator: Validator,
  schema: DescMessage,
  message: Message,
): string | undefined {
  const result = validator.validate(schema, message)
  if (result.kind === 'valid') return undefined
  return result.error.message
}

function hasRules(message: DescMessage, seen: Set<string>): boolean {
  if (seen.has(message.typeName)) return false
  seen.add(message.typeName)
  return (
    hasOption(message, rules.message) ||
    message.oneofs.some((oneof) => hasOption(oneof, rules.oneof)) ||
    message.fields.some(
      (field) =>
        hasOption(field, rules.field) || (field.message && hasRules(field.message, seen)) === true,
    )
  )
}

function holdsArtifacts(message: DescMessage, seen: Set<string>): boolean {
  if (message.typeName === ArtifactSchema.typeName) return true
  if (seen.has(message.typeName)) return false
  seen.add(message.typeName)
  return message.fields.some((field) => field.message && holdsArtifacts(field.message, seen))
}

function artifactsIn(value: unknown, found: Artifact[]): Artifact[] {
  if (value === null || typeof value !== 'object' || value instanceof Uint8Array) return found
  if ('$typeName' in value && value.$typeName === ArtifactSchema.typeName)
    found.push(value as Artifact)
  else for (const inner of Object.values(value)) artifactsIn(inner, found)
  return found
}
