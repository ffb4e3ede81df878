// Taking a task over: fence, barrier, read back. The order is the proof (takeover.md): the fence ends the older
// writer's transaction before the barrier, so everything in front of the barrier is decided, and reading up to it
// also answers whether the last flush of the older owner, or our own lost one, was committed.
import { randomBytes } from 'node:crypto'
import { fromBinary } from '@bufbuild/protobuf'
import type { Checkpoint } from '#proto/wellspring/journal/v1/state_pb.ts'
import { CheckpointSchema, OwnerSchema } from '#proto/wellspring/journal/v1/state_pb.ts'
import type { Task } from '../core/state.ts'
import { loadState } from '../core/state.ts'
import { CHECKPOINT_KEY, JOURNAL_VERSION, OWNER_KEY, ownerRecord } from './batch.ts'
import type { InputTopic, Log, LogRecord, Writer } from './port.ts'
import { INPUT_TOPICS, LogError, asLogError } from './port.ts'

export type Restored = {
  readonly writer: Writer
  readonly state: Task
  readonly flushSeq: number
  readonly next: Record<InputTopic, number>
  /** The last checkpoint, if there is one. */
  readonly last: Checkpoint | undefined
}

export type Owner = {
  readonly application: string
  readonly instance: string
  readonly controlAddress: string
}

export type TakeOver = {
  readonly log: Log
  readonly task: number
  /** Nothing, or what a standby read; what is read back is added. */
  readonly back: ReadBack
  readonly owner: Owner
  /** False once the task has moved away: no barrier is written then. */
  readonly isWanted: () => boolean
}

/** Makes this process the task's owner. Rejects with LogError; the writer is closed then. */
export async function takeOver({ log, task, back, owner, isWanted }: TakeOver): Promise<Restored> {
  const writer = await log.fence(task)
  try {
    const nonce = randomBytes(12).toString('hex')
    // Most is read before the barrier is written: a state that this version cannot read stays as it is. The fence has
    // decided all that is there, and what somebody puts behind it is read with the barrier.
    const from = await log.readState(task, back.from, (record) => apply(back, record, nonce))
    refuseUnknown(back)
    if (!isWanted()) throw new LogError('fenced', `task ${task} moved away while it was read`)
    const { instance, controlAddress } = owner
    await writer.commit([ownerRecord(task, { nonce, instance, controlAddress }, writer.id)])
    await readToBarrier(log, task, { back, nonce, from })
    refuseUnknown(back)
    const { state, last } = back
    const next = await nextOffsets(log, task, last)
    return { writer, state, flushSeq: last?.flushSeq ?? 0, next, last }
  } catch (error) {
    await writer.close()
    throw error
  }
}

/** What was read of state.v1. */
export type ReadBack = {
  readonly state: Task
  /** Where reading goes on. */
  from: number
  /** The last checkpoint, if there is one. */
  last: Checkpoint | undefined
  /** The first record that could not be read. */
  unreadable?: unknown
}

export function nothingRead(state: Task): ReadBack {
  return { state, from: 0, last: undefined }
}

async function readToBarrier(
  log: Log,
  task: number,
  { back, nonce, from }: { back: ReadBack; nonce: string; from: number },
): Promise<void> {
  let isOurs = false
  await log.readState(task, from, (record) => {
    isOurs = apply(back, record, nonce)
    return isOurs
  })
  // Past the end without our barrier: it was compacted away behind a newer owner's.
  if (!isOurs) throw new LogError('fenced', `task ${task} has a newer owner`)
}

/** The latest checkpoint's version counts: what a newer one left, an older one may have written over. */
function refuseUnknown({ last, unreadable }: ReadBack): void {
  const version = last?.journalVersion ?? 1
  if (version > JOURNAL_VERSION)
    throw new LogError(
      'fatal',
      `state.v1 was written by a newer version (journal ${version}, this one knows ${JOURNAL_VERSION}): start that ` +
        'version, or a new application id; nothing was changed',
    )
  if (unreadable !== undefined)
    throw new LogError('fatal', `state.v1 cannot be read: ${asLogError(unreadable).message}`)
}

/** Applies one record of state.v1; true at our own barrier. */
export function apply(back: ReadBack, record: LogRecord, nonce?: string): boolean {
  const key = record.key?.toString('utf8') ?? ''
  if (key === OWNER_KEY)
    return record.value !== null && fromBinary(OwnerSchema, record.value).nonce === nonce
  if (key === CHECKPOINT_KEY) {
    if (record.value === null) return false
    const checkpoint = fromBinary(CheckpointSchema, record.value)
    back.last = checkpoint
    back.state.journalVersion = Math.max(1, checkpoint.journalVersion)
    return false
  }
  try {
    loadState(back.state, key, record.value)
  } catch (error) {
    back.unreadable ??= error
  }
  return false
}

async function nextOffsets(
  log: Log,
  task: number,
  last: Checkpoint | undefined,
): Promise<Record<InputTopic, number>> {
  const known = new Map(last?.next.map((at) => [at.topic, at.next]))
  const listed = await log.inputOffsets(task)
  const next = { 'images.v1': 0, 'commands.v1': 0 }
  for (const topic of INPUT_TOPICS) {
    const { low, high } = listed[topic]
    next[topic] = known.get(topic) ?? low
    if (next[topic] < low || next[topic] > high)
      throw new LogError(
        'fatal',
        `${topic}/${task}: next offset ${next[topic]} is outside ${low} .. ${high}: records were deleted before ` +
          'they were read, or the topic was made anew; restore it, or start a new application id',
      )
  }
  return next
}
