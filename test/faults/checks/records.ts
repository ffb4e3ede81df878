// Committed records, decoded, with where they were found.
import { fromBinary, type DescMessage, type MessageShape } from '@bufbuild/protobuf'
import { CheckpointSchema, OwnerSchema } from '#proto/wellspring/journal/v1/state_pb.ts'
import { ImageAcquiredSchema } from '#proto/wellspring/record/v1/input_pb.ts'
import {
  DeadLetterSchema,
  LevelClosedSchema,
  PlateEventSchema,
  StepResultSchema,
} from '#proto/wellspring/record/v1/output_pb.ts'
import type { CommittedRecord, Evidence, Position } from '../evidence.ts'
import { once } from './names.ts'

export type Found<D extends DescMessage> = {
  readonly record: CommittedRecord
  readonly message: MessageShape<D>
}

export const results = once((evidence) =>
  decoded(evidence, 'results.v1', StepResultSchema).filter(isOurs(evidence)),
)
export const closes = once((evidence) =>
  decoded(evidence, 'results.v1', LevelClosedSchema).filter(isOurs(evidence)),
)
/** Of step runs and of input records. */
export const deadLetters = once((evidence) =>
  decoded(evidence, 'dead-letters.v1', DeadLetterSchema).filter(isOurs(evidence)),
)
export const plateEvents = once((evidence) =>
  decoded(evidence, 'plate-events.v1', PlateEventSchema).filter(isOurs(evidence)),
)

/** Announcements that can be read, refused or not; none that were deleted before anybody read them. */
export const announcements = once((evidence) =>
  allAnnouncements(evidence).filter(({ record }) => !isLost(evidence, record)),
)

/** Those that were. */
export const announcementsLost = once((evidence) =>
  allAnnouncements(evidence).filter(({ record }) => isLost(evidence, record)),
)

const allAnnouncements = once((evidence) => {
  const odd = new Set(evidence.circumstances.incoming?.odd.map(placeOf))
  return evidence.committed.flatMap((record) => {
    if (record.topic !== 'images.v1') return []
    // Whoever takes an odd one in may have read its headers in another way.
    const read = odd.has(placeOf(record)) ? { ...record, headers: {} } : record
    const message = tryDecode(ImageAcquiredSchema, read)
    const entity = message && imageKey(message)
    return entity === undefined ? [] : [{ record, entity, sha256: message?.artifact?.sha256 ?? '' }]
  })
})

/** Announcements that were taken in. */
export const images = once((evidence) => {
  const refused = new Set(
    deadLetters(evidence).flatMap(({ message: { origin } }) => (origin ? [placeOf(origin)] : [])),
  )
  return announcements(evidence).filter(({ record }) => !refused.has(placeOf(record)))
})

/** state.v1, partition by partition. */
export const journals = once((evidence) =>
  Map.groupBy(
    evidence.committed.filter(({ topic }) => topic === 'state.v1'),
    ({ partition }) => partition,
  ),
)

export type Entry =
  | ({ readonly kind: 'owner' } & Found<typeof OwnerSchema>)
  | ({ readonly kind: 'checkpoint' } & Found<typeof CheckpointSchema>)
  | { readonly kind: 'entity'; readonly record: CommittedRecord }

export function entryOf(record: CommittedRecord): Entry {
  const { key, value } = record
  if (value !== null && key === '#owner')
    return { kind: 'owner', record, message: fromBinary(OwnerSchema, value) }
  if (value !== null && key === '#ckpt')
    return { kind: 'checkpoint', record, message: fromBinary(CheckpointSchema, value) }
  return { kind: 'entity', record }
}

/** A part of an input that was deleted before its task had read it: from its first offset up to but not to. */
export type Lost = Omit<Position, 'offset'> & { readonly from: number; readonly to: number }

/** One per deletion that was ahead of its reader: the last checkpoint before it says where that stood. */
export const losses = once((evidence): readonly Lost[] =>
  (evidence.circumstances.incoming?.deletions ?? []).flatMap(({ topic, partition, to }) => {
    let from = 0
    for (const record of journals(evidence).get(partition) ?? []) {
      const entry = entryOf(record)
      if (entry.kind !== 'checkpoint') continue
      const next = entry.message.next.find((one) => one.topic === topic)?.next ?? 0
      if (next >= to) break
      from = next
    }
    return from < to ? [{ topic, partition, from, to }] : []
  }),
)

export function isLost(evidence: Evidence, { topic, partition, offset }: Position): boolean {
  return losses(evidence).some(
    (one) =>
      one.topic === topic && one.partition === partition && one.from <= offset && offset < one.to,
  )
}

/** The latest close of every entity. */
export const latestCloses = once((evidence) => {
  const latest = new Map<string, ReturnType<typeof closes>[number]['message']>()
  for (const { message } of closes(evidence)) {
    const known = latest.get(message.entity)
    if (!known || known.revision < message.revision) latest.set(message.entity, message)
  }
  return latest
})

/** Results by entity/step#revision; the first, should one be there twice. */
export const resultsByRevision = once((evidence) => {
  const first = new Map<string, Found<typeof StepResultSchema>>()
  for (const one of results(evidence)) {
    const { entity, step, revision } = one.message
    const name = `${entity}/${step}#${revision}`
    if (!first.has(name)) first.set(name, one)
  }
  return first
})

export const placeOf = ({ topic, partition, offset }: Position): string =>
  `${topic}/${partition}@${offset}`

function decoded<D extends DescMessage>(evidence: Evidence, topic: string, schema: D): Found<D>[] {
  return evidence.committed.flatMap((record) => {
    if (record.topic !== topic || record.value === null) return []
    if (record.headers['wellspring-type'] !== schema.typeName) return []
    return [{ record, message: fromBinary(schema, record.value) }]
  })
}

/** An input record may hold anything. */
export function tryDecode<D extends DescMessage>(
  schema: D,
  { value, headers }: CommittedRecord,
): MessageShape<D> | undefined {
  if (value === null || (headers['wellspring-type'] ?? schema.typeName) !== schema.typeName)
    return undefined
  try {
    return fromBinary(schema, value)
  } catch {
    return undefined
  }
}

function imageKey({ identity }: MessageShape<typeof ImageAcquiredSchema>): string | undefined {
  if (!identity) return undefined
  const { experiment, plate, acquisition, well, timePoint, site, z, channel } = identity
  return `${experiment}/${plate}/${acquisition}/${well}/t${timePoint}/s${site}/z${z}/${channel}`
}

function isOurs({ pipeline }: Evidence) {
  return ({ message }: { readonly message: { readonly pipeline: string } }): boolean =>
    message.pipeline === pipeline.label
}
