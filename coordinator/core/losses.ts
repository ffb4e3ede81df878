// Input that is lost and that a person has let go: remembered, told, and marked on every plate that it may have touched.
import { create, toBinary } from '@bufbuild/protobuf'
import { timestampFromMs } from '@bufbuild/protobuf/wkt'
import { Code } from '#proto/google/rpc/code_pb.ts'
import { ErrorClass } from '#proto/wellspring/contract/v1/errors_pb.ts'
import {
  AcceptedLossSchema,
  InputLossMarkSchema,
  type AcceptedLoss,
  type PlateState,
} from '#proto/wellspring/journal/v1/state_pb.ts'
import type { AcceptLoss, Command } from '#proto/wellspring/record/v1/input_pb.ts'
import {
  ClosedBy,
  DeadLetterSchema,
  InputLossSchema,
  type InputLoss,
} from '#proto/wellspring/record/v1/output_pb.ts'
import { StepFailureSchema } from '#proto/wellspring/step/v1/failure_pb.ts'
import type { Context } from './context.ts'
import type { Effect, Event } from './event.ts'
import { entityKey, plateOf } from '@wellspring/lab/entity.ts'
import { refuse } from './refuse.ts'
import { LOSSES_VERSION, type Task } from './state.ts'

/** Losses that a checkpoint names: the last ones. */
const LOSSES_MAX = 16

/** What is not read any more of one input of a task; `to` below `from`: its topic was made anew. */
export type Loss = {
  readonly topic: string
  readonly task: number
  readonly from: number
  readonly to: number
  readonly noticedMs: number
}

/** A loss that a person has let go. */
export type LetGo = {
  readonly lost: Loss
  readonly command: Command
  /** End of each input when it was found. */
  readonly until: Readonly<Record<string, number>>
}

/** The task goes on without it: the dead letter that says so. State remembers it, and marks plates, from here on. */
export function loseInput(task: Task, { lost, command, until }: LetGo, now: number): Effect[] {
  const cx: Context = { task, now, dice: () => 0, effects: [] }
  const { topic, from, to, noticedMs } = lost
  const { author: acceptedBy, id, reason } = command
  const said = { acceptedMs: now, acceptedBy, command: id, reason }
  const accepted = create(AcceptedLossSchema, { topic, from, to, noticedMs, ...said })
  accepted.until = Object.entries(until).map(([input, next]) => ({
    $typeName: 'wellspring.journal.v1.InputOffset',
    topic: input,
    next,
  }))
  accepted.unmarkedFrom = platesFrom(task, '')[0] ?? ''
  task.losses = [...task.losses, accepted].slice(-LOSSES_MAX)
  task.journalVersion = Math.max(task.journalVersion, LOSSES_VERSION)
  cx.effects.push(deadLetter(task, lost.task, accepted))
  markPlates(cx)
  return cx.effects
}

/** Marks the plates that were there when input was let go, some at a time: there may be more than a flush holds. */
export function markPlates(cx: Context): void {
  const { task } = cx
  for (const loss of task.losses) {
    if (loss.unmarkedFrom === '') continue
    const plates = platesFrom(task, loss.unmarkedFrom)
    for (const key of plates.slice(0, task.bounds.recordsPerEvent)) mark(task, key, loss)
    loss.unmarkedFrom = plates[task.bounds.recordsPerEvent] ?? ''
    if (loss.unmarkedFrom === '') continue
    const entity = loss.unmarkedFrom
    cx.effects.push({ kind: 'timer', entity, atMs: cx.now, completeness: false })
  }
}

/** A plate of which a record was waiting when input was let go may lack what came before it. */
export function markPlateOf(
  cx: Context,
  event: Extract<Event, { kind: 'image' } | { kind: 'command' }>,
): void {
  for (const loss of cx.task.losses) {
    const end = loss.until.find(({ topic }) => topic === event.at.topic)?.next ?? 0
    const plate = event.at.offset < end ? plateNamedBy(event) : undefined
    if (plate !== undefined) mark(cx.task, plate, loss)
  }
}

function plateNamedBy(
  event: Extract<Event, { kind: 'image' } | { kind: 'command' }>,
): string | undefined {
  if (event.kind === 'image')
    return event.image.identity && plateOf(entityKey(event.image.identity))
  if (event.command.action.case !== 'plan') return undefined
  const { experiment, plate, acquisition } = event.command.action.value
  return `${experiment}/${plate}/${acquisition}`
}

function platesFrom(task: Task, first: string): string[] {
  return [...task.plates.keys()].filter((key) => key >= first).toSorted()
}

/** In its turn among the commands it is done already, or names what is not lost. */
export function onAcceptLoss(
  cx: Context,
  named: AcceptLoss,
  event: Extract<Event, { kind: 'command' }>,
): void {
  const isDone = cx.task.losses.some(
    ({ topic, from, to }) => topic === named.topic && from === named.from && to === named.to,
  )
  if (isDone && named.partition === event.at.partition) return
  const place = `${named.topic}/${named.partition} ${named.from} to ${named.to}`
  refuse(cx, event, {
    entity: '',
    reason: 'NO_SUCH_LOSS',
    message: `${place} is not what task ${event.at.partition} lost: nothing was passed over`,
    hint: 'npx wellspring tasks shows what is lost now, if anything is',
  })
}

/** How a loss is told to others. */
export function inputLoss(task: number, loss: Loss | AcceptedLoss): InputLoss {
  const { topic, from, to, noticedMs } = loss
  const isReset = to < from
  return create(InputLossSchema, {
    topic,
    partition: task,
    reason: isReset ? 'INPUT_RESET' : 'INPUT_LOST',
    from,
    to,
    records: isReset ? 0 : to - from,
    noticedAt: timestampFromMs(noticedMs),
    ...('acceptedMs' in loss && {
      acceptedAt: timestampFromMs(loss.acceptedMs),
      acceptedBy: loss.acceptedBy,
      acceptedBecause: loss.reason,
    }),
  })
}

/** A plate that is retired takes nothing in; of one that has all its images none can be among what is lost. */
function mark(task: Task, key: string, loss: AcceptedLoss): void {
  const plate = task.plates.get(key)
  if (!plate || plate.retired || (loss.topic === 'images.v1' && hasAll(plate))) return
  if ((plate.inputLoss?.atMs ?? 0) >= loss.acceptedMs) return
  const before = plate.inputLoss?.records ?? 0
  plate.inputLoss = create(InputLossMarkSchema, {
    records: before + Math.max(0, loss.to - loss.from),
    atMs: loss.acceptedMs,
    acceptedBy: loss.acceptedBy,
  })
  task.plates.touch(key, plate)
}

function hasAll({ close, changed }: PlateState): boolean {
  return close?.closedBy === ClosedBy.ALL && !changed
}

function deadLetter(task: Task, partition: number, accepted: AcceptedLoss): Effect {
  const loss = inputLoss(partition, accepted)
  const { topic, reason, from, to, records } = loss
  const many = records > 0 ? `${records} records` : 'an unknown number of records'
  const letter = create(DeadLetterSchema, {
    pipeline: task.pipeline.label,
    failure: create(StepFailureSchema, {
      class: ErrorClass.PERMANENT,
      code: Code.DATA_LOSS,
      reason,
      message:
        `${many} of ${topic}/${partition} were gone before they were read (${from} to ${to}); accepted by ` +
        `${accepted.acceptedBy}: ${accepted.reason}`,
      hint: 'announce again what there is a copy of',
    }),
    parkedAt: timestampFromMs(accepted.acceptedMs),
    origin: { topic, partition, offset: from },
    loss,
  })
  const key = `${topic}/${partition}/${from}`
  return {
    kind: 'output',
    topic: 'dead-letters.v1',
    key,
    type: DeadLetterSchema.typeName,
    value: toBinary(DeadLetterSchema, letter),
    entity: '',
    trace: 1,
  }
}
