// Builds committed records by hand, so that a test can write any log, broken ones too.
import { create, toBinary, type MessageInitShape } from '@bufbuild/protobuf'
import { ErrorClass } from '#proto/wellspring/contract/v1/errors_pb.ts'
import { Level } from '#proto/wellspring/contract/v1/options_pb.ts'
import { PlatePlanSchema } from '#proto/wellspring/lab/v1/plan_pb.ts'
import { CommandSchema } from '#proto/wellspring/record/v1/input_pb.ts'
import {
  DeadLetterSchema,
  LevelClosedSchema,
  StepResultSchema,
} from '#proto/wellspring/record/v1/output_pb.ts'
import { resultKey } from '../../coordinator/core/keys.ts'
import type { AuditPipeline } from '../../cli/audit.ts'
import type { TopicRecord } from '../../cli/ledger.ts'

/** Two steps an image, one at each level above. */
export const PIPELINE: AuditPipeline = {
  label: 'test-1',
  steps: [
    { name: 'check', level: Level.IMAGE },
    { name: 'clean', level: Level.IMAGE },
    { name: 'count', level: Level.SITE },
    { name: 'profile', level: Level.WELL },
    { name: 'judge', level: Level.PLATE },
  ],
}

export const PLATE = 'E/P1/a1'
export const WELL = `${PLATE}/B02/t0`
export const SITE = `${WELL}/s1`
export const IMAGE = `${SITE}/z0/DNA`

let offset = 0

function record(topic: string, key: string, type: string, value: Uint8Array): TopicRecord {
  offset += 1
  return { topic, partition: 0, offset, key, type, value }
}

/** One well, one site, one image of channel DNA, unless told otherwise. */
export function plan(changes: MessageInitShape<typeof PlatePlanSchema> = {}): TopicRecord {
  const value = create(PlatePlanSchema, {
    experiment: 'E',
    plate: 'P1',
    acquisition: 'a1',
    wells: [{ well: 'B02' }],
    sites: [1],
    timePoints: [0],
    zPlanes: [0],
    channels: [{ name: 'DNA' }],
    ...changes,
  })
  const command = create(CommandSchema, { action: { case: 'plan', value } })
  return record('commands.v1', 'E/P1', CommandSchema.typeName, toBinary(CommandSchema, command))
}

type Numbers = {
  readonly revision?: number
  readonly generation?: number
  readonly pipeline?: string
}

export function result(entity: string, step: string, numbers: Numbers = {}): TopicRecord {
  const { revision = 1, generation = 1, pipeline = PIPELINE.label } = numbers
  const message = create(StepResultSchema, { entity, step, pipeline, revision, generation })
  const key = resultKey(entity, step, pipeline, revision)
  return record('results.v1', key, StepResultSchema.typeName, toBinary(StepResultSchema, message))
}

export function deadLetter(entity: string, step: string, numbers: Numbers = {}): TopicRecord {
  const { revision = 1, generation = 1, pipeline = PIPELINE.label } = numbers
  const failure = { class: ErrorClass.POISON, reason: 'TRUNCATED', message: 'half a file' }
  const message = create(DeadLetterSchema, {
    entity,
    step,
    pipeline,
    revision,
    generation,
    failure,
  })
  const key = `${entity}/${step}@${pipeline}#g${generation}`
  return record(
    'dead-letters.v1',
    key,
    DeadLetterSchema.typeName,
    toBinary(DeadLetterSchema, message),
  )
}

/** A dead letter of an input record. */
export function refused(
  of: Pick<TopicRecord, 'topic' | 'partition' | 'offset'>,
  lastOffset?: number,
): TopicRecord {
  const { topic, partition, offset: at } = of
  const message = create(DeadLetterSchema, {
    pipeline: PIPELINE.label,
    origin: { topic, partition, offset: at, ...(lastOffset === undefined ? {} : { lastOffset }) },
    failure: { class: ErrorClass.PERMANENT, reason: 'PLAN_CONFLICT' },
  })
  const key = `${topic}/${partition}/${at}`
  return record(
    'dead-letters.v1',
    key,
    DeadLetterSchema.typeName,
    toBinary(DeadLetterSchema, message),
  )
}

/** The dead letter of a plate that stops. */
export function stopped(plate: string): TopicRecord {
  const message = create(DeadLetterSchema, {
    entity: plate,
    pipeline: PIPELINE.label,
    failure: {
      class: ErrorClass.PERMANENT,
      reason: 'PLATE_STOPPED',
      message: 'STATE_TOO_LARGE: a record is too large',
      hint: 'npx wellspring redrive',
    },
  })
  return record(
    'dead-letters.v1',
    `${plate}/stopped@${PIPELINE.label}#1`,
    DeadLetterSchema.typeName,
    toBinary(DeadLetterSchema, message),
  )
}

export function closed(
  entity: string,
  changes: MessageInitShape<typeof LevelClosedSchema> = {},
): TopicRecord {
  const message = create(LevelClosedSchema, {
    entity,
    pipeline: PIPELINE.label,
    revision: 1,
    ...changes,
  })
  const key = resultKey(entity, 'close', message.pipeline, message.revision)
  return record('results.v1', key, LevelClosedSchema.typeName, toBinary(LevelClosedSchema, message))
}

/** Every step of the one-image plate has its result, every level is closed. */
export function perfectLog(): TopicRecord[] {
  return [
    plan(),
    result(IMAGE, 'check'),
    result(IMAGE, 'clean'),
    closed(SITE),
    result(SITE, 'count'),
    closed(WELL),
    result(WELL, 'profile'),
    closed(PLATE),
    result(PLATE, 'judge'),
  ]
}
