// What leaves on Kafka, made from state.
import { create, toBinary } from '@bufbuild/protobuf'
import { timestampFromMs } from '@bufbuild/protobuf/wkt'
import type { StepRun } from '#proto/wellspring/journal/v1/state_pb.ts'
import {
  DeadLetterSchema,
  LevelClosedSchema,
  PlateEventSchema,
  QualityVerdictSchema,
  StepResultSchema,
  type Hole,
  type LevelClosed,
  type PlateEvent,
  type QualityVerdict,
  type StepResult,
} from '#proto/wellspring/record/v1/output_pb.ts'
import type { StepFailure } from '#proto/wellspring/step/v1/failure_pb.ts'
import { failureOf } from './attempts.ts'
import type { Judgement } from './pipeline/bands.ts'
import type { Context, Place } from './context.ts'
import type { Effect, Position } from './event.ts'
import { hex, resultKey, traceId } from './keys.ts'
import { firstOf, inputsOf } from './payload.ts'
import type { Pipeline, Step } from './pipeline/pipeline.ts'
import { cutBytes } from './text.ts'

/** Bytes of an input record kept in its dead letter. */
const ORIGIN_BYTES_MAX = 32_768
/** An entity key has 813 at most; what a command names may be none. */
const ENTITY_BYTES_MAX = 1_024

type Output = Extract<Effect, { kind: 'output' }>
type About = { pipeline: Pipeline; place: Place; step: Step; run: StepRun; trace: number }

export function resultRecord(
  cx: Context,
  about: About & { readonly output: Uint8Array },
  supersedes: number,
): Output {
  const { pipeline, place, step, run, trace, output } = about
  const went = inputsOf(cx.task, { key: place.key, run })
  // Up to journal version 3 the list was kept whole.
  const inputs = firstOf(went, (one) => one.length + 4)
  const attempt = run.attempts.at(-1)
  // A literal: create() takes as long as all the rest.
  const result: StepResult = {
    $typeName: StepResultSchema.typeName,
    entity: place.key,
    step: step.name,
    pipeline: pipeline.label,
    revision: run.revision,
    supersedesRevision: supersedes,
    generation: run.generation,
    level: place.level,
    idempotencyKey: hex(run.idempotencyKey),
    inputDigest: hex(run.inputDigest),
    inputs,
    inputsLeftOut: (run.inputsLeftOut ?? 0) + went.length - inputs.length,
    output: {
      $typeName: 'google.protobuf.Any',
      typeUrl: `type.googleapis.com/${step.method.output.typeName}`,
      value: output,
    },
    attempts: run.attempt,
    readyAt: timestampFromMs(run.readyMs),
    startedAt: timestampFromMs(attempt?.startedMs ?? run.readyMs),
    finishedAt: timestampFromMs(cx.now),
    replica: attempt?.replica ?? '',
    traceId: traceId(cx.task.application, place.key, trace),
  }
  return {
    kind: 'output',
    topic: 'results.v1',
    key: resultKey(place.key, step.name, pipeline.label, run.revision),
    type: StepResultSchema.typeName,
    value: toBinary(StepResultSchema, result),
    entity: place.key,
    trace,
  }
}

export function qualityRecord(
  { pipeline, place, step, run, trace }: About,
  judged: Judgement,
): Output {
  const quality: QualityVerdict = create(QualityVerdictSchema, {
    entity: place.key,
    step: step.name,
    pipeline: pipeline.label,
    revision: run.revision,
    verdict: judged.verdict,
    policy: `${pipeline.bands.name}-${pipeline.bands.version}`,
    findings: judged.findings,
  })
  return {
    kind: 'output',
    topic: 'quality.v1',
    key: resultKey(place.key, step.name, pipeline.label, run.revision),
    type: QualityVerdictSchema.typeName,
    value: toBinary(QualityVerdictSchema, quality),
    entity: place.key,
    trace,
  }
}

export function closedRecord(closed: LevelClosed, holes: readonly Hole[]): Output {
  const kept = firstOf(
    holes,
    (hole) => hole.entity.length + hole.reason.length + hole.step.length + 8,
  )
  const value = create(LevelClosedSchema, {
    ...closed,
    holes: kept,
    holesLeftOut: holes.length - kept.length,
  })
  return {
    kind: 'output',
    topic: 'results.v1',
    key: resultKey(closed.entity, 'close', closed.pipeline, closed.revision),
    type: LevelClosedSchema.typeName,
    value: toBinary(LevelClosedSchema, value),
    entity: closed.entity,
    trace: closed.revision,
  }
}

export function plateEventRecord(event: PlateEvent): Output {
  return {
    kind: 'output',
    topic: 'plate-events.v1',
    key: event.entity.split('/', 1)[0] ?? '',
    type: PlateEventSchema.typeName,
    value: toBinary(PlateEventSchema, event),
    entity: event.entity,
    trace: event.revision,
  }
}

export function deadLetterRecord(
  cx: Context,
  { pipeline, place, step, run, trace }: About,
): Output {
  const failure = failureOf(run)
  const letter = create(DeadLetterSchema, {
    entity: place.key,
    step: step.name,
    pipeline: pipeline.label,
    generation: run.generation,
    revision: run.revision + 1,
    attempts: run.attempt,
    parkedAt: timestampFromMs(cx.now),
    traceId: traceId(cx.task.application, place.key, trace),
    ...(failure ? { failure } : {}),
  })
  return {
    kind: 'output',
    topic: 'dead-letters.v1',
    key: `${place.key}/${step.name}@${pipeline.label}#g${run.generation}`,
    type: DeadLetterSchema.typeName,
    value: toBinary(DeadLetterSchema, letter),
    entity: place.key,
    trace,
  }
}

/** A plate that is stopped. */
export function plateDeadLetter(cx: Context, plate: string, failure: StepFailure): Output {
  const { label } = cx.task.pipeline
  const letter = create(DeadLetterSchema, {
    entity: plate,
    pipeline: label,
    failure,
    parkedAt: timestampFromMs(cx.now),
  })
  return {
    kind: 'output',
    topic: 'dead-letters.v1',
    key: `${plate}/stopped@${label}#${cx.now}`,
    type: DeadLetterSchema.typeName,
    value: toBinary(DeadLetterSchema, letter),
    entity: plate,
    trace: 1,
  }
}

/** An input record that cannot be taken in, with its bytes, so that nothing is lost. */
export function inputDeadLetter(
  cx: Context,
  at: Position,
  bytes: Uint8Array,
  failure: { entity: string; failure: StepFailure },
): Output {
  const letter = create(DeadLetterSchema, {
    entity: cutBytes(failure.entity, ENTITY_BYTES_MAX),
    pipeline: cx.task.pipeline.label,
    failure: failure.failure,
    parkedAt: timestampFromMs(cx.now),
    origin: {
      topic: at.topic,
      partition: at.partition,
      offset: at.offset,
      key: cutBytes(at.key, 512),
      ...(at.last === undefined ? {} : { lastOffset: at.last }),
    },
    originValue: bytes.subarray(0, ORIGIN_BYTES_MAX),
  })
  return {
    kind: 'output',
    topic: 'dead-letters.v1',
    key: `${at.topic}/${at.partition}/${at.offset}`,
    type: DeadLetterSchema.typeName,
    value: toBinary(DeadLetterSchema, letter),
    entity: failure.entity,
    trace: 1,
  }
}
