// What must hold of a world's committed log, by the numbers of coordinator/INVARIANTS.md.
import { fromBinary } from '@bufbuild/protobuf'
import { timestampMs } from '@bufbuild/protobuf/wkt'
import { createHash } from 'node:crypto'
import { audit } from '../../cli/audit.ts'
import type { TopicRecord } from '../../cli/ledger.ts'
import { hex } from '../../coordinator/core/keys.ts'
import type { Pipeline } from '../../coordinator/core/pipeline/pipeline.ts'
import { emptyTask, loadState } from '../../coordinator/core/state.ts'
import { CHECKPOINT_KEY, OWNER_KEY, stateDigest } from '../../coordinator/task/batch.ts'
import type { MemoryBroker } from '../../coordinator/log/memory.ts'
import type { LogRecord } from '@wellspring/kafka/records.ts'
import { OUTPUT_TOPICS } from '@wellspring/kafka/topic-names.ts'
import { CheckpointSchema, OwnerSchema } from '#proto/wellspring/journal/v1/state_pb.ts'
import { CommandSchema } from '#proto/wellspring/record/v1/input_pb.ts'
import {
  ClosedBy,
  DeadLetterSchema,
  LevelClosedSchema,
  StepResultSchema,
} from '#proto/wellspring/record/v1/output_pb.ts'
import { remains } from './remains.ts'
import { Purity } from '#proto/wellspring/contract/v1/options_pb.ts'

export type Judged = {
  readonly broker: MemoryBroker
  readonly pipeline: Pipeline
  /** Executions of an effect that did their work, by idempotency key. */
  readonly executions: ReadonlyMap<string, number>
  /** When each image was announced, UTC ms. */
  readonly announced: ReadonlyMap<string, number>
  /** Finished plates are retired. */
  readonly isRetiring: boolean
  /** When an outage ended during which deadlines fell due, UTC ms. */
  readonly outageEndedMs: number | undefined
}

/** Every invariant that the log breaks, with its number; empty: none. */
export function broken(judged: Judged): string[] {
  const { broker, pipeline, executions } = judged
  const complaints: string[] = []
  for (let task = 0; task < broker.tasks; task += 1) {
    const log = broker.committed('state.v1').filter((record) => record.partition === task)
    complaints.push(...flushOrder(task, log), ...rebuild(task, log, pipeline))
    complaints.push(...remains(judged, task))
  }
  complaints.push(...announced(broker), ...results(broker, pipeline, executions))
  complaints.push(...closedOverWaitingData(judged))
  complaints.push(...innocents(broker))
  if (broker.hasOpenTransaction()) complaints.push('T6 a transaction hangs open')
  const report = audit(topicRecords(broker), { label: pipeline.label, steps: stepsOf(pipeline) })
  if (report.missing > 0) complaints.push(`T5 missing: ${report.names.missing.join(', ')}`)
  if (report.duplicate > 0) complaints.push(`I1 duplicate: ${report.names.duplicate.join(', ')}`)
  if (report.unplanned > 0) complaints.push(`I2 unplanned: ${report.names.unplanned.join(', ')}`)
  return complaints
}

export function stepsOf(
  pipeline: Pipeline,
): { name: string; level: Pipeline['steps'][number]['policy']['level'] }[] {
  return pipeline.steps.map(({ name, policy }) => ({ name, level: policy.level }))
}

/** T1, T2: flushSeq +1 each, offsets never go back, and only the last owner writes. */
function flushOrder(task: number, log: readonly LogRecord[]): string[] {
  const complaints: string[] = []
  let seq = 0
  let writer = ''
  let next = new Map<string, number>()
  for (const record of log) {
    const key = record.key?.toString() ?? ''
    if (record.value === null) continue
    if (key === OWNER_KEY) {
      const owner = fromBinary(OwnerSchema, record.value)
      writer = `${owner.producerId}/${owner.epoch}`
    }
    if (key !== CHECKPOINT_KEY) continue
    const checkpoint = fromBinary(CheckpointSchema, record.value)
    if (checkpoint.flushSeq !== seq + 1)
      complaints.push(`T1 task ${task}: flushSeq ${seq} then ${checkpoint.flushSeq}`)
    seq = checkpoint.flushSeq
    const by = `${checkpoint.producerId}/${checkpoint.epoch}`
    if (by !== writer)
      complaints.push(`T2 task ${task}: ${by} wrote after the barrier of ${writer}`)
    for (const { topic, next: at } of checkpoint.next)
      if (at < (next.get(topic) ?? 0))
        complaints.push(`T1 task ${task}: ${topic} went back to ${at}`)
    next = new Map(checkpoint.next.map((one) => [one.topic, one.next]))
  }
  return complaints
}

/** T3: the state rebuilt from the log at every flush is the state its writer had. */
function rebuild(task: number, log: readonly LogRecord[], pipeline: Pipeline): string[] {
  const state = emptyTask('sim', pipeline)
  for (const record of log) {
    const key = record.key?.toString() ?? ''
    if (key === OWNER_KEY) continue
    if (key !== CHECKPOINT_KEY || record.value === null) {
      loadState(state, key, record.value)
      continue
    }
    const checkpoint = fromBinary(CheckpointSchema, record.value)
    if (hex(checkpoint.stateDigest) !== hex(stateDigest(state)))
      return [`T3 task ${task}: flush ${checkpoint.flushSeq} was computed from another state`]
  }
  return []
}

/** T4: what a checkpoint announces is what its flush put on the other topics. */
function announced(broker: MemoryBroker): string[] {
  const complaints: string[] = []
  const flushes = broker.flushes()
  for (const flush of flushes) {
    const found = flush.find((record) => record.key?.toString() === CHECKPOINT_KEY)
    if (!found?.value) continue
    const checkpoint = fromBinary(CheckpointSchema, found.value)
    const outputs = flush
      .filter((record) => record.topic !== 'state.v1')
      .toSorted((a, b) =>
        a.topic === b.topic ? a.partition - b.partition : a.topic < b.topic ? -1 : 1,
      )
    const digest = createHash('sha256')
    for (const { topic, key, value } of outputs) {
      digest
        .update(topic)
        .update('\n')
        .update(key ?? '')
        .update('\n')
      if (value) digest.update(value)
    }
    const same = hex(digest.digest().subarray(0, 16)) === hex(checkpoint.outputsDigest)
    if (outputs.length !== checkpoint.outputs || !same)
      complaints.push(
        `T4 flush ${checkpoint.flushSeq} of task ${found.partition} announced other outputs`,
      )
  }
  return complaints
}

/** I2, I3, I9: results come from executions, what must not run twice does not, attempts keep the policy. */
function results(
  broker: MemoryBroker,
  pipeline: Pipeline,
  executions: ReadonlyMap<string, number>,
): string[] {
  const complaints: string[] = []
  for (const record of broker.committed('results.v1')) {
    if (record.headers['wellspring-type'] === LevelClosedSchema.typeName || record.value === null)
      continue
    const result = fromBinary(StepResultSchema, record.value)
    const step = pipeline.steps.find((one) => one.name === result.step)
    const times = executions.get(result.idempotencyKey) ?? 0
    if (times === 0)
      complaints.push(`I2 ${result.entity}/${result.step} has a result that no execution gave`)
    if (step && result.attempts > step.policy.attemptsMax)
      complaints.push(`I9 ${result.entity}: ${result.attempts} attempts`)
  }
  if (pipeline.steps.every((step) => step.policy.purity === Purity.NOT_IDEMPOTENT))
    for (const [key, times] of executions)
      if (times > 1) complaints.push(`I3 effect ${key} happened ${times} times`)
  return complaints
}

/** I1: no record kills its process in a world, so none may be set aside for that. */
function innocents(broker: MemoryBroker): string[] {
  return broker.committed('dead-letters.v1').flatMap(({ value }) => {
    const letter = value && fromBinary(DeadLetterSchema, value)
    if (letter?.failure?.reason !== 'KILLED_ITS_PROCESS') return []
    const { topic, partition, offset } = letter.origin ?? {}
    return [`I1 ${topic}/${partition}@${offset} killed nobody and was set aside`]
  })
}

/** I10: after an outage no close names an image as never arrived that was waiting in the topic. */
function closedOverWaitingData({
  broker,
  announced: announcedMs,
  outageEndedMs,
}: Judged): string[] {
  if (outageEndedMs === undefined) return []
  // Closes soon after the outage; later ones may have given up members for good reasons since.
  const UNTIL_MS = 2_000
  return broker.committed('results.v1').flatMap((record) => {
    if (record.headers['wellspring-type'] !== LevelClosedSchema.typeName || !record.value) return []
    const close = fromBinary(LevelClosedSchema, record.value)
    const sinceMs = (close.closedAt ? timestampMs(close.closedAt) : 0) - outageEndedMs
    // The operator's word does not wait for data.
    if (close.closedBy === ClosedBy.OPERATOR || sinceMs < 0 || sinceMs > UNTIL_MS) return []
    return close.holes
      .filter((hole) => hole.reason === 'NEVER_ARRIVED')
      .filter((hole) => wasWaiting(hole.entity))
      .map(
        (hole) =>
          `I10 ${close.entity} closed without ${hole.entity}, which was waiting in the topic`,
      )
  })

  function wasWaiting(entity: string): boolean {
    return [...announcedMs].some(
      ([image, atMs]) => image.startsWith(entity) && atMs < Number(outageEndedMs),
    )
  }
}

function* topicRecords(broker: MemoryBroker): Generator<TopicRecord> {
  for (const topic of ['commands.v1', ...OUTPUT_TOPICS] as const) {
    if (topic !== 'commands.v1' && topic !== 'results.v1' && topic !== 'dead-letters.v1') continue
    for (const { partition, offset, key, value, headers } of broker.committed(topic)) {
      const type =
        headers['wellspring-type'] ?? (topic === 'commands.v1' ? CommandSchema.typeName : '')
      yield {
        topic,
        partition,
        offset,
        key: key?.toString() ?? '',
        type,
        value: value ?? Buffer.alloc(0),
      }
    }
  }
}
