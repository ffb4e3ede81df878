// A flush that cannot be written stops the plate that it was for, and nothing else; so does an outcome or a deadline that
// the coordinator fails on: the task reads back what is committed, and the mark goes out with the first flush. Whoever
// takes the task over in between finds the same again.
import type { Event } from './core/event.ts'
import { isEntityKey, plateOf } from './core/ids.ts'
import { entityOf } from './core/state.ts'
import { UnwritableState } from './core/unreadable.ts'
import { PROCESSING_FAILED, failureOf } from './log/caution.ts'
import { LogError } from './log/port.ts'
import type { TaskOptions } from './task-options.ts'

export type Stops = {
  /**
   * What a flush failed for: as it is, or, of a record that cannot be written and is of no plate that can be stopped for
   * it, as an error of kind fatal.
   */
  noted(error: unknown): unknown
  /** Plates to be marked as soon as the task runs again. */
  events(): readonly Event[]
  /** The marks are committed. */
  committed(): void
}

type Stop = Extract<Event, { kind: 'stop' }>

export function stops({ logger, task }: Pick<TaskOptions, 'logger' | 'task'>): Stops {
  let waiting: readonly Stop[] = []
  return {
    noted(error) {
      const stop = stopFor(error)
      if (stop === undefined) return error
      const { plate, reason, message } = stop
      if (plate === '' || waiting.some((one) => one.plate === plate))
        return new LogError('fatal', `${reason}: ${message}`, { cause: error })
      waiting = [...waiting, stop]
      logger('error', 'a plate stops: the others go on', { task, plate, reason, error: message })
      return new LogError('unwritable', message, { cause: error })
    },
    events: () => waiting,
    committed() {
      waiting = []
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
    throw 'entity' in event ? new EventFailed(event.entity, error) : error
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
