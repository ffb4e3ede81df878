// Taking a task over: fence, barrier, read back. The order is the proof (docs/decisions/log.md): the fence ends the older
// writer's transaction before the barrier, so everything in front of the barrier is decided, and reading up to it
// also answers whether the last flush of the older owner, or our own lost one, was committed.
import { randomBytes } from 'node:crypto'
import { fromBinary } from '@bufbuild/protobuf'
import {
  CheckpointSchema,
  OwnerSchema,
  type Checkpoint,
  type InputOffset,
} from '#proto/wellspring/journal/v1/state_pb.ts'
import { loadState, type Task } from '../core/state.ts'
import { CHECKPOINT_KEY, JOURNAL_VERSION, OWNER_KEY, ownerRecord } from './batch.ts'
import { behind, isReset, lostInputs, wordsOn, type LetGo, type LostInput } from './input-loss.ts'
import { INPUT_TOPICS, type InputTopic } from '@wellspring/kafka/topic-names.ts'
import type { Log, Writer } from '../log/port.ts'
import type { LogRecord, Offsets } from '@wellspring/kafka/records.ts'
import { LogError } from '@wellspring/kafka/errors.ts'
import { TaskTrouble, unreadable, type Trouble } from './trouble.ts'

type Next = Record<InputTopic, number>

export type Restored = {
  readonly writer: Writer
  readonly state: Task
  readonly flushSeq: number
  readonly next: Next
  /** The last checkpoint, if there is one. */
  readonly last: Checkpoint | undefined
  /** Input that is lost and that a person has let go: the next checkpoint says so. */
  readonly letGo: readonly LetGo[]
  /** The task has no owner before this one; inputs whose first records had been deleted by then. */
  readonly beganLate: readonly InputTopic[]
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
  /** UTC milliseconds. */
  readonly nowMs: () => number
}

/** Makes this process the task's owner. Rejects with LogError or TaskTrouble; the writer is closed then. */
export async function takeOver(options: TakeOver): Promise<Restored> {
  const { log, task, back, owner, isWanted } = options
  const writer = await log.fence(task)
  try {
    const nonce = randomBytes(12).toString('hex')
    // Most is read before the barrier is written: a state that this version cannot read stays as it is. The fence has
    // decided all that is there, and what somebody puts behind it is read with the barrier.
    back.from = await log
      .readState(task, back.from, (record) => apply(back, record, nonce))
      .catch(asTrouble)
    refuseUnknown(back)
    const listed = await log.inputOffsets(task)
    const next = nextOffsets(back, listed)
    const lost = lostInputs(task, next, listed, back.lostSinceMs || options.nowMs())
    if (!isWanted()) throw new LogError('fenced', `task ${task} moved away while it was read`)
    const { instance, controlAddress } = owner
    const barrier = {
      nonce,
      instance,
      controlAddress,
      // Until a checkpoint says it: whoever comes next must know what was there.
      start: back.last ? [] : INPUT_TOPICS.map((topic) => inputOffset(topic, next[topic])),
      inputLostSinceMs: lost[0]?.noticedMs ?? 0,
    }
    await writer.commit([ownerRecord(task, barrier, writer.id)])
    await readToBarrier(log, task, { back, nonce })
    refuseUnknown(back)
    const until = known(INPUT_TOPICS.map((topic) => inputOffset(topic, listed[topic].high)))
    const letGo = await lettingGo(log, task, { back, next, lost, until })
    const isFirst = back.last === undefined && back.start === undefined
    return {
      writer,
      state: back.state,
      flushSeq: back.last?.flushSeq ?? 0,
      next: behind(next, lost),
      last: back.last,
      letGo,
      beganLate: isFirst ? INPUT_TOPICS.filter((topic) => listed[topic].low > 0) : [],
    }
  } catch (error) {
    await writer.close()
    throw error
  }
}

/**
 * Looks again at what stops a task without claiming it, cheaply. Returns the trouble as it is now; undefined: it may be
 * over, and is worth a try. Rejects with LogError.
 */
export async function lookAgain(
  log: Log,
  task: number,
  trouble: Trouble,
): Promise<Trouble | undefined> {
  const { reason, read } = trouble
  if (reason === 'INTERNAL_ERROR' || reason === 'FLUSH_REFUSED' || !read) return undefined
  let isNew = false
  await log.readState(task, read.end, () => (isNew = true))
  if (isNew) return undefined
  const { next } = read
  const [first] = trouble.lost
  if (!next || !first) return trouble
  const lost = lostInputs(task, next, await log.inputOffsets(task), first.noticedMs)
  const { letGo, refused } = await wordsOn(log, task, { lost, next })
  return letGo.length === lost.length ? undefined : lossTrouble(lost, refused, read)
}

/** What was read of state.v1. */
export type ReadBack = {
  readonly state: Task
  /** Where reading goes on. */
  from: number
  /** The last checkpoint, if there is one. */
  last: Checkpoint | undefined
  /** Where the task began, as long as there was no checkpoint. */
  start: readonly InputOffset[] | undefined
  /** When it was noticed that input is lost; 0: none was. */
  lostSinceMs: number
  /** Why each record that could not be read could not, by key; one that was written anew since is as good as any. */
  readonly unreadable: Map<string, string>
}

export function nothingRead(state: Task): ReadBack {
  const nothing = { from: 0, last: undefined, start: undefined, lostSinceMs: 0 }
  return { state, ...nothing, unreadable: new Map() }
}

async function readToBarrier(
  log: Log,
  task: number,
  { back, nonce }: { back: ReadBack; nonce: string },
): Promise<void> {
  let isOurs = false
  const untilOurs = (record: LogRecord): boolean => (isOurs = apply(back, record, nonce))
  back.from = await log.readState(task, back.from, untilOurs).catch(asTrouble)
  // Past the end without our barrier: it was compacted away behind a newer owner's.
  if (!isOurs) throw new LogError('fenced', `task ${task} has a newer owner`)
}

/** What state.v1 itself refuses, a damaged batch for instance, is the task's trouble as what it holds is. */
function asTrouble(error: unknown): never {
  if (error instanceof LogError && error.kind === 'fatal')
    throw new TaskTrouble(unreadable(error.message), { cause: error })
  throw error
}

/** The latest checkpoint's version counts: what a newer one left, an older one may have written over. */
function refuseUnknown(back: ReadBack): void {
  const { state, last, from: end } = back
  const version = last?.journalVersion ?? 1
  const next = last && known(last.next)
  if (version > JOURNAL_VERSION)
    throw new TaskTrouble({
      reason: 'NEWER_JOURNAL',
      message:
        `state.v1 was written by a newer version (journal ${version}, this one knows ${JOURNAL_VERSION}); nothing ` +
        'was changed',
      hint: 'start that version, or a new application id',
      lost: [],
      read: { state, next: undefined, end },
    })
  const [first, ...more] = [...back.unreadable.values()]
  if (first === undefined) return
  const others = more.length > 0 ? ` (and ${more.length} more records)` : ''
  const trouble = unreadable(first + others)
  throw new TaskTrouble({ ...trouble, read: { state, next, end } })
}

/** Applies one record of state.v1; true at our own barrier. Never throws: what cannot be read is noted. */
export function apply(back: ReadBack, record: LogRecord, nonce?: string): boolean {
  const key = record.key?.toString('utf8') ?? ''
  try {
    const isOurs = applyKnown(back, { key, value: record.value }, nonce)
    back.unreadable.delete(key)
    return isOurs
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    back.unreadable.set(key, `"${key.slice(0, 200)}" at offset ${record.offset}: ${why}`)
    return false
  }
}

type KeyValue = { readonly key: string; readonly value: Buffer | null }

function applyKnown(back: ReadBack, { key, value }: KeyValue, nonce: string | undefined): boolean {
  switch (key) {
    case OWNER_KEY: {
      if (value === null) return false
      const owner = fromBinary(OwnerSchema, value)
      if (owner.nonce === nonce) return true
      if (owner.start.length > 0) back.start = owner.start
      back.lostSinceMs = owner.inputLostSinceMs
      return false
    }
    case CHECKPOINT_KEY: {
      if (value === null) return false
      // A copy: the record is lent, and fields of bytes would be parts of it.
      const checkpoint = fromBinary(CheckpointSchema, new Uint8Array(value))
      back.last = checkpoint
      back.state.journalVersion = Math.max(1, checkpoint.journalVersion)
      back.state.losses = checkpoint.losses
      return false
    }
    default:
      loadState(back.state, key, value)
      return false
  }
}

/** By the last checkpoint, else where an earlier owner began, else the first that is there. */
function nextOffsets(
  { last, start = [] }: ReadBack,
  listed: Readonly<Record<InputTopic, Offsets>>,
): Next {
  const lows = INPUT_TOPICS.map((topic) => inputOffset(topic, listed[topic].low))
  return known([...lows, ...(last?.next ?? start)])
}

function known(offsets: readonly InputOffset[]): Next {
  const next = { 'images.v1': 0, 'commands.v1': 0 }
  for (const { topic, next: at } of offsets)
    if (topic === 'images.v1' || topic === 'commands.v1') next[topic] = at
  return next
}

function inputOffset(topic: string, next: number): InputOffset {
  return { $typeName: 'wellspring.journal.v1.InputOffset', topic, next }
}

/** Rejects unless a person has let go of all that is lost. */
async function lettingGo(
  log: Log,
  task: number,
  found: { back: ReadBack; next: Next; lost: readonly LostInput[]; until: Next },
): Promise<readonly LetGo[]> {
  const { back, next, lost, until } = found
  if (lost.length === 0) return []
  const { letGo, refused } = await wordsOn(log, task, { lost, next })
  if (letGo.length === lost.length) return letGo.map((one) => ({ ...one, until }))
  const { state, from: end } = back
  throw new TaskTrouble(lossTrouble(lost, refused, { state, next, end }))
}

function lossTrouble(
  lost: readonly LostInput[],
  refused: readonly string[],
  read: NonNullable<Trouble['read']>,
): Trouble {
  const isNew = lost.some(isReset)
  const accept = lost.map(({ topic, task }) => `--accept-loss ${topic}/${task}`).join(' ')
  return {
    reason: isNew ? 'INPUT_RESET' : 'INPUT_LOST',
    message: [...lost.map(said), ...refused].join('; '),
    hint:
      (isNew
        ? 'restore the topic, or start a new application id, or go on with what the topic holds now: '
        : 'go on without them (and announce again what there is a copy of): ') +
      `npx wellspring tasks ${accept} --reason "..."`,
    lost,
    read,
  }
}

function said(one: LostInput): string {
  const { topic, task, from, to } = one
  return isReset(one)
    ? `${topic}/${task} was made anew or cut off: it has nothing at ${from}, where this task goes on, and begins at ${to}`
    : `${to - from} records of ${topic}/${task} were deleted before they were read: ${from} to ${to}`
}
