// What a flush writes, collected while the last one is under way.
import { createHash } from 'node:crypto'
import { create, toBinary, type MessageInitShape } from '@bufbuild/protobuf'
import {
  CheckpointSchema,
  OwnerSchema,
  type Checkpoint,
} from '#proto/wellspring/journal/v1/state_pb.ts'
import type { Call, Effect } from '../core/event.ts'
import { invariant } from '../core/invariant.ts'
import { sha256 } from '../core/keys.ts'
import { taskOf } from '@wellspring/kafka/partition.ts'
import { allRecords, changesOf, takeChanges, type Task } from '../core/state.ts'
import type { Limits } from './limits.ts'
import type { Said } from './crash-guard.ts'
import {
  PLATE_EVENT_PARTITIONS,
  type InputTopic,
  type OutputTopic,
} from '@wellspring/kafka/topic-names.ts'
import type { NewRecord, WriterId } from '@wellspring/kafka/records.ts'

export const CHECKPOINT_KEY = '#ckpt'
export const OWNER_KEY = '#owner'
/**
 * Newest layout of state.v1 that this coordinator knows; one that reads a higher one stops. What it writes is of the
 * lowest version that can hold it, so that the last version goes on beside it during a roll.
 */
export const JOURNAL_VERSION = 4

type Output = Extract<Effect, { kind: 'output' }>

export type Batch = {
  readonly outputs: NewRecord[]
  bytes: number
  /** Idempotency keys whose outcomes this flush carries. */
  readonly outcomes: string[]
  /** Calls that wait for their intent to be committed. */
  readonly afterCommit: Call[]
  /** Input records passed without any effect also count: their offset must move. */
  touched: boolean
}

export function emptyBatch(): Batch {
  return { outputs: [], bytes: 0, outcomes: [], afterCommit: [], touched: false }
}

/** Adds a record the core asked for; of one partition all are written by the task's one owner (T2). */
export function addOutput(batch: Batch, task: number, output: Output, traceparent: string): void {
  const isEvent = output.topic === 'plate-events.v1'
  addRecord(batch, {
    topic: output.topic,
    partition: isEvent ? taskOf(output.key, PLATE_EVENT_PARTITIONS) : task,
    key: output.key,
    value: output.value,
    headers: { 'wellspring-type': output.type, traceparent },
    entity: output.entity,
  })
}

export function addRecord(batch: Batch, record: NewRecord): void {
  batch.outputs.push(record)
  batch.bytes += record.key.length + (record.value?.length ?? 0) + 100
}

/** A flush is bounded: what does not fit waits for the next one. */
export function hasRoom(batch: Batch, state: Task | undefined, limits: Limits): boolean {
  const { records, bytes } = changesOf(state)
  return (
    batch.outputs.length + records < limits.flushRecordsMax &&
    batch.bytes + bytes < limits.flushBytesMax
  )
}

export type FlushHead = {
  readonly task: number
  readonly flushSeq: number
  readonly next: Readonly<Record<InputTopic, number>>
  readonly writer: WriterId
  /** Log the hash of the whole state too (T3): costs a pass over it. */
  readonly withStateDigest: boolean
  readonly crashGuard: Said
}

/** The records of one flush: changed entities, checkpoint, outputs, all in one transaction. */
export function flushRecords(batch: Batch, state: Task, head: FlushHead): NewRecord[] {
  invariant(
    batch.outputs.every(
      ({ topic, partition }) => topic === 'plate-events.v1' || partition === head.task,
    ),
    'T2',
    'a flush writes to the partitions of its task alone',
    `task ${head.task}`,
  )
  const changes = takeChanges(state).map(([key, value]) => stateRecord(head.task, key, value))
  const checkpoint: Checkpoint = create(CheckpointSchema, {
    flushSeq: head.flushSeq,
    next: Object.entries(head.next).map(([topic, next]) => ({ topic, next })),
    producerId: head.writer.producerId,
    epoch: head.writer.epoch,
    journalVersion: state.journalVersion,
    ...head.crashGuard,
    losses: [...state.losses],
    outputs: batch.outputs.length,
    outputsDigest: outputsDigest(batch.outputs),
    ...(head.withStateDigest ? { stateDigest: stateDigest(state) } : {}),
  })
  const record = stateRecord(head.task, CHECKPOINT_KEY, toBinary(CheckpointSchema, checkpoint))
  return [...changes, record, ...batch.outputs]
}

export function ownerRecord(
  task: number,
  owner: MessageInitShape<typeof OwnerSchema>,
  writer: WriterId,
): NewRecord {
  return stateRecord(
    task,
    OWNER_KEY,
    toBinary(OwnerSchema, create(OwnerSchema, { ...owner, ...writer })),
  )
}

function stateRecord(task: number, key: string, value: Uint8Array | null): NewRecord {
  return { topic: 'state.v1' satisfies OutputTopic, partition: task, key, value, headers: {} }
}

/**
 * SHA-256 over topics, keys and values, first 16 bytes; by topic and partition, within one in order: the log keeps no
 * order between partitions, and must be able to prove it.
 */
export function outputsDigest(outputs: readonly NewRecord[]): Uint8Array {
  const sorted = outputs.toSorted((a, b) =>
    a.topic === b.topic ? a.partition - b.partition : a.topic < b.topic ? -1 : 1,
  )
  const parts: Uint8Array[] = []
  for (const { topic, key, value } of sorted) {
    parts.push(Buffer.from(`${topic}\n${key}\n`))
    if (value) parts.push(value)
  }
  // In one piece: a flush has hundreds of parts, and each would be a call into crypto.
  return sha256(Buffer.concat(parts)).subarray(0, 16)
}

/** SHA-256 over every record of state, first 16 bytes. */
export function stateDigest(state: Task): Uint8Array {
  const digest = createHash('sha256')
  for (const [key, bytes] of allRecords(state)) digest.update(key).update('\n').update(bytes)
  return digest.digest().subarray(0, 16)
}
