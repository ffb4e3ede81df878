// Verify, then believe: a response decodes, keeps its contract's rules, and the files it names are there.
import { createHash } from 'node:crypto'
import { open, realpath } from 'node:fs/promises'
import { sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { DescMessage, DescMethod, Message } from '@bufbuild/protobuf'
import { fromBinary, hasOption } from '@bufbuild/protobuf'
import type { Validator } from '@bufbuild/protovalidate'
import { createValidator } from '@bufbuild/protovalidate'
import * as rules from '#proto/buf/validate/validate_pb.ts'
import { ErrorClass } from '#proto/wellspring/contract/v1/errors_pb.ts'
import type { Artifact } from '#proto/wellspring/lab/v1/artifact_pb.ts'
import { ArtifactSchema } from '#proto/wellspring/lab/v1/artifact_pb.ts'
import type { StepFailure } from '#proto/wellspring/step/v1/failure_pb.ts'
import { failureOf } from './classify.ts'

/** Checks a response. undefined: it is good. A promise only when there are files to look at. */
export type ResponseCheck = (
  bytes: Uint8Array,
) => StepFailure | undefined | Promise<StepFailure | undefined>

export type Files = {
  /** Why an artifact is not what it is said to be; undefined: it is. */
  problemOf(artifact: Artifact): Promise<string | undefined>
}

/** Prepares the check of a method's responses: what has no rules is not validated, what has no files not walked. */
export function responseCheck(method: DescMethod, files: Files): ResponseCheck {
  const { output } = method
  const validator = hasRules(output, new Set()) ? sharedValidator() : undefined
  const withFiles = holdsArtifacts(output, new Set())
  return (bytes) => {
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
  for (const artifact of artifacts) {
    // One after another: what bounds the reading is in Files.
    const message = await files.problemOf(artifact)
    if (message === undefined) continue
    const hint = 'the step said DONE, but its output is not there: look at the artifact store'
    return failureOf({ class: ErrorClass.RETRYABLE, reason: 'OUTPUT_MISSING', message, hint })
  }
  return undefined
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

/** Files below the roots, of which at most readersMax are read at once. */
export function openFiles(roots: readonly string[], readersMax: number): Files {
  const waiting: (() => void)[] = []
  let readers = 0
  async function enter(): Promise<void> {
    if (readers < readersMax) readers += 1
    else await new Promise<void>((resolve) => waiting.push(resolve))
  }
  function leave(): void {
    const next = waiting.shift()
    if (next) next()
    else readers -= 1
  }
  return {
    async problemOf(artifact) {
      await enter()
      try {
        return await problem(artifact, roots)
      } catch (error) {
        return `cannot read ${artifact.uri}: ${error instanceof Error ? error.message : String(error)}`
      } finally {
        leave()
      }
    },
  }
}

async function problem(artifact: Artifact, roots: readonly string[]): Promise<string | undefined> {
  const { uri, sizeBytes, sha256 } = artifact
  if (!uri.startsWith('file:')) return `${uri} is no file: URI`
  const path = await realpath(fileURLToPath(uri))
  const isBelow = await Promise.all(
    roots.map(async (root) => path.startsWith((await realpath(root)) + sep)),
  )
  if (!isBelow.includes(true))
    return `${uri} is below none of the roots that this coordinator may read: ${roots.join(', ')}`
  const handle = await open(path)
  try {
    const { size } = await handle.stat()
    if (size !== sizeBytes) return `${uri} has ${size} bytes, the response says ${sizeBytes}`
    const hash = createHash('sha256')
    for await (const chunk of handle.createReadStream({ autoClose: false })) hash.update(chunk)
    const found = hash.digest('hex')
    return found === sha256 ? undefined : `${uri} has sha256 ${found}, the response says ${sha256}`
  } finally {
    await handle.close()
  }
}
