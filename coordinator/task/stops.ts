// A flush that cannot be written stops the plate that it was for, and nothing else; so does an outcome or a deadline that
// the coordinator fails on: the task reads back what is committed, and the mark goes out with the first flush. Whoever
// takes the task over in between finds the same again.
import type { Event } from '../core/event.ts'
import { isEntityKey, plateOf } from '@wellspring/lab/entity.ts'
import { entityOf, type Task } from '../core/state.ts'
import { UnreadableState, UnwritableState } from '../core/unreadable.ts'
import { PROCESSING_FAILED, failureOf } from './crash-guard.ts'
import { INPUT_TOPICS, type InputTopic } from '@wellspring/kafka/topic-names.ts'
import { LogError } from '@wellspring/kafka/errors.ts'
import type { TaskOptions } from './options.ts'

export type Stops = {
  /**
   * What the task failed for, when its inputs were taken in so far: as it is, or, of a record that cannot be written and
   * is of no plate that can be stopped for it, as an error of kind fatal.
   */
  noted(error: unknown, takenIn: Next): unknown
  /** The task runs again: plates to be marked. */
  begin(state: Task): readonly Event[]
  /** A flush is committed, and with it its marks; it has passed the inputs so far. */
  committed(state: Task, next: Next): void
}

type Next = Readonly<Record<InputTopic, number>>
type Stop = Extract<Event, { kind: 'stop' }>
/** What was taken in when it failed is taken in again: the command that let the plate go on must not do so again. */
type Waiting = { readonly stop: Stop; readonly until: Next; isMarked: boolean }

export function stops({ logger, task }: Pick<TaskOptions, 'logger' | 'task'>): Stops {
  let waiting: readonly Waiting[] = []
  return {
    noted(error, takenIn) {
      const stop = stopFor(error)
      if (stop === undefined) return error
      const { plate, reason, message } = stop
      if (plate === '' || waiting.some((one) => one.stop.plate === plate && !one.isMarked))
        return new LogError('fatal', `${reason}: ${message}`, { cause: error })
      waiting = [...waiting, { stop, until: { ...takenIn }, isMarked: false }]
      logger('error', 'a plate stops: the others go on', { task, plate, reason, error: message })
      return new LogError('unwritable', message, { cause: error })
    },
    begin(state) {
      for (const { stop } of waiting) state.stopping.add(stop.plate)
      return waiting.flatMap(({ stop, isMarked }) => (isMarked ? [] : [stop]))
    },
    committed(state, next) {
      if (waiting.length === 0) return
      for (const one of waiting) one.isMarked = true
      waiting = waiting.filter(({ until }) =>
        INPUT_TOPICS.some((topic) => next[topic] < until[topic]),
      )
      state.stopping.clear()
      for (const { stop } of waiting) state.stopping.add(stop.plate)
    },
  }
}

/** Taking an outcome or a deadline in threw. */
class EventFailed extends Error {
  readonly entity: string

  constructor(entity: string, cause: unknown) {
    super(failureOf(cause), { cause })
    this.name = 'EventFailed'
    this.entity = entity
  }
}

/** Takes an event in that is no record; what it throws stops the plate that it is about. */
export function takeOrStop(event: Event, take: (event: Event) => void): void {
  try {
    take(event)
  } catch (error) {
    if (error instanceof UnreadableState || !('entity' in event)) throw error
    throw new EventFailed(event.entity, error)
  }
}

function stopFor(error: unknown): Stop | undefined {
  if (error instanceof EventFailed)
    return { ...stopOf(error.entity), reason: PROCESSING_FAILED, message: error.message }
  if (error instanceof UnwritableState)
    return { ...stopOf(error.entity), reason: 'STATE_UNWRITABLE', message: error.message }
  if (!(error instanceof LogError) || error.kind !== 'unwritable') return undefined
  const { record, message } = error
  const reason = record?.topic === 'state.v1' ? 'STATE_TOO_LARGE' : 'RECORD_TOO_LARGE'
  return { ...stopOf(record?.entity ?? record?.key ?? ''), reason, message }
}

/** Of no plate: empty. */
function stopOf(key: string): Pick<Stop, 'kind' | 'plate'> {
  const plate = plateOf(entityOf(key))
  return { kind: 'stop', plate: isEntityKey(plate) ? plate : '' }
}
