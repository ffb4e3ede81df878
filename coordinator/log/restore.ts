// Taking a task over: fence, barrier, read back. The order is the proof (takeover.md): the fence ends the older
// writer's transaction before the barrier, so everything in front of the barrier is decided, and reading up to it
// also answers whether the last flush of the older owner, or our own lost one, was committed.
import { randomBytes } from 'node:crypto'
import { fromBinary } from '@bufbuild/protobuf'
import type { Checkpoint } from '#proto/wellspring/journal/v1/state_pb.ts'
import { CheckpointSchema, OwnerSchema } from '#proto/wellspring/journal/v1/state_pb.ts'
import type { Pipeline } from '../core/pipeline.ts'
import type { Task } from '../core/state.ts'
import { emptyTask, loadState } from '../core/state.ts'
import { CHECKPOINT_KEY, JOURNAL_VERSION, OWNER_KEY, ownerRecord } from './batch.ts'
import type { InputTopic, Log, LogRecord, Writer } from './port.ts'
import { INPUT_TOPICS, LogError } from './port.ts'

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

/** Makes this process the task's owner. Rejects with LogError; the writer is closed then. */
export async function takeOver(
  log: Log,
  task: number,
  pipeline: Pipeline,
  owner: Owner,
): Promise<Restored> {
  const writer = await log.fence(task)
  try {
    const nonce = randomBytes(12).toString('hex')
    const { instance, controlAddress } = owner
    await writer.commit([ownerRecord(task, { nonce, instance, controlAddress }, writer.id)])
    const { state, last } = await readBack(log, task, nonce, emptyTask(owner.application, pipeline))
    const next = await nextOffsets(log, task, last)
    return { writer, state, flushSeq: last?.flushSeq ?? 0, next, last }
  } catch (error) {
    await writer.close()
    throw error
  }
}

type ReadBack = { readonly state: Task; last: Checkpoint | undefined }

async function readBack(log: Log, task: number, nonce: string, state: Task): Promise<ReadBack> {
  const back: ReadBack = { state, last: undefined }
  let isOurs = false
  await log.readState(task, 0, (record) => {
    isOurs = apply(back, record, nonce)
    return isOurs
  })
  // Past the end without our barrier: it was compacted away behind a newer owner's.
  if (!isOurs) throw new LogError('fenced', `task ${task} has a newer owner`)
  return back
}

/** Applies one record of state.v1; true at our own barrier. */
function apply(back: ReadBack, record: LogRecord, nonce: string): boolean {
  const key = record.key?.toString('utf8') ?? ''
  if (key === OWNER_KEY)
    return record.value !== null && fromBinary(OwnerSchema, record.value).nonce === nonce
  if (key === CHECKPOINT_KEY) {
    if (record.value === null) return false
    const checkpoint = fromBinary(CheckpointSchema, record.value)
    if (checkpoint.journalVersion > JOURNAL_VERSION)
      throw new LogError(
        'fatal',
        `state.v1 was written by a newer version (journal ${checkpoint.journalVersion}, this one knows ` +
          `${JOURNAL_VERSION}): start that version, or a new application id`,
      )
    back.last = checkpoint
    return false
  }
  loadState(back.state, key, record.value)
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
