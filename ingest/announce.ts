// Announces plates: the plan first, then each image with the digest of what is on disk.
import { randomUUID } from 'node:crypto'
import { create, toBinary, type DescMessage, type MessageShape } from '@bufbuild/protobuf'
import { createValidator } from '@bufbuild/protovalidate'
import type { PlatePlan } from '#proto/wellspring/lab/v1/plan_pb.ts'
import {
  CommandSchema,
  ImageAcquiredSchema,
  type Command,
  type ImageAcquired,
} from '#proto/wellspring/record/v1/input_pb.ts'
import type { Artifact } from '#proto/wellspring/lab/v1/artifact_pb.ts'
import { entityKey, partitionKey } from '@wellspring/lab/entity.ts'
import { spanId, traceId } from '../coordinator/core/keys.ts'
import { artifactOf, mapOrdered } from './digest.ts'
import type { ResolvedImage } from './resolve.ts'
import { messageOf, type Refusal } from './sighting.ts'

/** A record for an input topic, without the topic's prefix; the announcer picks the partition from the key. */
export type Announcement = {
  readonly topic: 'commands.v1' | 'images.v1'
  /** experiment/plate. */
  readonly key: string
  /** Unset: the one that the key belongs to. */
  readonly partition?: number
  readonly value: Uint8Array
  readonly headers: Readonly<Record<string, string>>
}

/** Where announcements go: Kafka, or a list in a test. Resolves when the records are there to stay. */
export interface Announcer {
  announce(records: readonly Announcement[]): Promise<void>
}

export type AnnounceOptions = {
  /** Application id that the traces belong to. */
  readonly application: string
  /** Who announces, for the record. */
  readonly author: string
  /** Called for every image that is announced. */
  readonly onImage?: (image: ImageAcquired) => void
}

export type Announced = { readonly images: number; readonly refusals: readonly Refusal[] }

const filesAtOnce = 4
const recordsPerSend = 100
const validator = createValidator()

/**
 * Announces one plate acquisition. An image whose file cannot be read, or is not what its manifest claims, is
 * refused and stays a hole of the plan. Rejects when the plan is invalid (nothing is announced then) or when the
 * announcer does.
 */
export async function announcePlate(
  plan: PlatePlan,
  images: readonly ResolvedImage[],
  announcer: Announcer,
  options: AnnounceOptions,
): Promise<Announced> {
  const command = create(CommandSchema, {
    id: randomUUID(),
    author: options.author,
    reason: 'ingest',
    action: { case: 'plan', value: plan },
  })
  await announcer.announce([commandRecord(command, planEntity(plan), options.application)])

  const refusals: Refusal[] = []
  let announced = 0
  let batch: ImageAcquired[] = []
  const send = async (): Promise<void> => {
    if (batch.length === 0) return
    await announcer.announce(batch.map((image) => imageRecord(image, options.application)))
    for (const image of batch) options.onImage?.(image)
    announced += batch.length
    batch = []
  }
  for await (const read of mapOrdered(images, filesAtOnce, (image) => readImage(image, options))) {
    if ('reason' in read) refusals.push(read)
    else batch.push(read)
    if (batch.length >= recordsPerSend) await send()
  }
  await send()
  return { images: announced, refusals }
}

async function readImage(
  image: ResolvedImage,
  options: AnnounceOptions,
): Promise<ImageAcquired | Refusal> {
  const { sighting, identity, channel } = image
  const { origin } = sighting
  try {
    const artifact = await artifactOf(sighting.path)
    const contradiction = contradictionOf(sighting.claimed, artifact)
    if (contradiction !== undefined) return { origin, reason: contradiction }
    const record = create(ImageAcquiredSchema, {
      identity,
      artifact,
      channel,
      instrument: options.author,
    })
    check(ImageAcquiredSchema, record)
    return record
  } catch (error) {
    return { origin, reason: `cannot be announced: ${messageOf(error)}` }
  }
}

function contradictionOf(
  claimed: ResolvedImage['sighting']['claimed'],
  artifact: Artifact,
): string | undefined {
  const { sizeBytes, sha256 } = claimed
  if (sizeBytes !== undefined && sizeBytes !== artifact.sizeBytes)
    return `the manifest claims ${sizeBytes} bytes, the file has ${artifact.sizeBytes}: still being copied, or changed since`
  if (sha256 !== undefined && sha256 !== artifact.sha256)
    return `the manifest claims sha256 ${sha256}, the file has ${artifact.sha256}: changed since the manifest was written`
  return undefined
}

/** A command as a record for its plate's partition. Throws when it is invalid, saying which field. */
export function commandRecord(command: Command, entity: string, application: string): Announcement {
  check(CommandSchema, command)
  return {
    topic: 'commands.v1',
    key: partitionKey(entity),
    value: toBinary(CommandSchema, command),
    headers: headersOf(CommandSchema, entity, application),
  }
}

export function imageRecord(image: ImageAcquired, application: string): Announcement {
  const entity = image.identity ? entityKey(image.identity) : ''
  return {
    topic: 'images.v1',
    key: partitionKey(entity),
    value: toBinary(ImageAcquiredSchema, image),
    headers: headersOf(ImageAcquiredSchema, entity, application),
  }
}

function headersOf(
  schema: DescMessage,
  entity: string,
  application: string,
): Record<string, string> {
  const trace = traceId(application, entity, 1)
  return {
    'wellspring-type': schema.typeName,
    traceparent: `00-${trace}-${spanId(trace, 'root')}-01`,
  }
}

/** Entity key of a plan's plate acquisition. */
export function planEntity(plan: PlatePlan): string {
  return `${plan.experiment}/${plan.plate}/${plan.acquisition}`
}

/** Throws when a message breaks its contract. */
export function check<D extends DescMessage>(schema: D, message: MessageShape<D>): void {
  const result = validator.validate(schema, message)
  if (result.kind === 'valid') return
  const violations = result.kind === 'invalid' ? result.violations.slice(0, 3) : []
  const said = violations.map(
    (violation) =>
      `${violation.field.map((part) => ('localName' in part ? part.localName : '')).join('.')}: ${violation.message}`,
  )
  throw new Error(
    `${schema.typeName} is invalid: ${said.join('; ') || result.error?.message || ''}`,
  )
}
