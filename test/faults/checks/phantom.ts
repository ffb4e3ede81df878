// I2: no result from nowhere: each is asked for by a plan, is the step's pure function of its inputs, and an execution
// gave it.
import { createHash } from 'node:crypto'
import { fromBinary } from '@bufbuild/protobuf'
import type { Artifact } from '#proto/wellspring/lab/v1/artifact_pb.ts'
import type { StepResult } from '#proto/wellspring/record/v1/output_pb.ts'
import { EchoFileResponseSchema } from '#proto/wellspring/steps/echo/v1/echo_file_pb.ts'
import { EchoImageResponseSchema } from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import type { Evidence, JudgedStep } from '../evidence.ts'
import { once, planned, stepsAt } from './names.ts'
import { closes, deadLetters, images, placeOf, results, resultsByRevision } from './records.ts'

export function noPhantom(evidence: Evidence): string[] {
  const executed = new Set(
    evidence.calls.filter(({ outcome }) => outcome === 'ok').map(({ key }) => key),
  )
  const complaints = outsideThePlan(evidence)
  for (const { record, message } of results(evidence)) {
    const name = `${message.entity}/${message.step}#${message.revision}`
    if (!executed.has(message.idempotencyKey))
      complaints.push(
        `${name} at ${placeOf(record)}: no execution of ${message.idempotencyKey} gave it`,
      )
    const step = evidence.pipeline.steps.find((one) => one.name === message.step)
    if (!step) continue
    const kept = step.isKept ? fileIn(message)?.sha256 : digestIn(message)
    if (kept !== digestIn(message))
      complaints.push(`${name} at ${placeOf(record)} names a file of digest ${kept ?? 'none'}`)
    const wanted = digestsOf(evidence, step, message, record.offset)
    const found = digestIn(message)
    if (wanted && !wanted.includes(found))
      complaints.push(
        `${name} at ${placeOf(record)} has digest ${found}, its inputs give ${wanted.join(' or ') || 'none'}`,
      )
  }
  return complaints
}

function outsideThePlan(evidence: Evidence): string[] {
  const plan = planned(evidence)
  const isPlanned = (entity: string, step: string): boolean => {
    const known = plan.get(entity)
    return known !== undefined && stepsAt(evidence, known.level).some(({ name }) => name === step)
  }
  const runs = [
    ...results(evidence),
    ...deadLetters(evidence).filter(({ message }) => message.step),
  ]
  return [
    ...runs.flatMap(({ record, message: { entity, step } }) =>
      isPlanned(entity, step) ? [] : [`${placeOf(record)}: nobody planned ${entity}/${step}`],
    ),
    ...closes(evidence).flatMap(({ record, message: { entity } }) =>
      plan.has(entity) ? [] : [`${placeOf(record)}: nobody planned ${entity}, which closed`],
    ),
  ]
}

/** Every echo answers with its digest in field 1. */
export function digestIn({ output }: StepResult): string {
  return fromBinary(EchoImageResponseSchema, output?.value ?? new Uint8Array()).digest
}

function fileIn({ output }: StepResult): Artifact | undefined {
  return fromBinary(EchoFileResponseSchema, output?.value ?? new Uint8Array()).file
}

/** The digests that a result may have; undefined: its inputs are not all listed. */
function digestsOf(
  evidence: Evidence,
  { echo }: JudgedStep,
  result: StepResult,
  offset: number,
): string[] | undefined {
  if (result.inputsLeftOut > 0) return undefined
  if (echo.kind === 'image')
    return [...(announcedBytes(evidence).get(result.entity) ?? [])].map((sha256) =>
      echoOf(sha256, ''),
    )
  const inputs = result.inputs.map((input) =>
    resultsByRevision(evidence).get(`${result.entity}/${input}`),
  )
  const known = inputs.flatMap((input) => (input ? [input.message] : []))
  if (known.length < inputs.length) return []
  if (echo.kind === 'previous') return [echoOf('', ...known.map(digestIn))]
  const members = known.map((input) => `${memberName(input.entity)}=${digestIn(input)}`)
  if (!echo.withHoles) return [echoOf(...members)]
  const close = closesOf(evidence)
    .get(result.entity)
    ?.findLast(({ record }) => record.offset < offset)?.message
  if (close !== undefined && close.holesLeftOut > 0) return undefined
  return [echoOf(...members, ...(close?.holes ?? []).map(({ entity }) => entity))]
}

const closesOf = once((evidence) => Map.groupBy(closes(evidence), ({ message }) => message.entity))

const announcedBytes = once((evidence) => {
  const bytes = new Map<string, Set<string>>()
  for (const { entity, sha256 } of images(evidence))
    bytes.set(entity, (bytes.get(entity) ?? new Set()).add(sha256))
  return bytes
})

/** What the echo pipelines call a member: an image by its channel, a site or well by its well. */
function memberName(entity: string): string {
  const segments = entity.split('/')
  return segments[7] ?? segments[3] ?? ''
}

function echoOf(...parts: readonly string[]): string {
  return createHash('sha256').update(parts.join('\n')).digest('hex')
}
