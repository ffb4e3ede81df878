// Why a task cannot run for now, in words that a person can act on. It is the task's trouble alone: the others run.
import type { Task } from '../core/state.ts'
import { UnreadableState } from '../core/unreadable.ts'
import type { LostInput } from './input-loss.ts'
import { LogError } from '@wellspring/kafka/errors.ts'
import type { InputTopic } from '@wellspring/kafka/topic-names.ts'

export type TroubleReason =
  | 'INPUT_LOST'
  | 'INPUT_RESET'
  | 'NEWER_JOURNAL'
  | 'STATE_UNREADABLE'
  | 'FLUSH_REFUSED'
  | 'INTERNAL_ERROR'

export type Trouble = {
  readonly reason: TroubleReason
  readonly message: string
  /** What a person can do. */
  readonly hint: string
  /** Input that waits for a person's word. */
  readonly lost: readonly LostInput[]
  /** What was read before it was given up; undefined: nothing that can be relied on. */
  readonly read?: WhatWasRead
}

export type WhatWasRead = {
  /** To look at only. */
  readonly state: Task
  /** Where the task would go on. */
  readonly next: Readonly<Record<InputTopic, number>> | undefined
  /** Where the next record of state.v1 would be: as long as there is none, trying again reads the same. */
  readonly end: number
}

/** What stops a task, thrown where it is found. */
export class TaskTrouble extends Error {
  readonly trouble: Trouble
  constructor(trouble: Trouble, options?: ErrorOptions) {
    super(trouble.message, options)
    this.name = 'TaskTrouble'
    this.trouble = trouble
  }
}

/** undefined: it passes by itself, when Kafka answers again or the group has confirmed who owns the task. */
export function troubleOf(error: unknown): Trouble | undefined {
  if (error instanceof TaskTrouble) return error.trouble
  if (error instanceof UnreadableState) return unreadable(error.message)
  if (!(error instanceof LogError)) return internal(error)
  if (error.kind !== 'fatal') return undefined
  return {
    reason: 'FLUSH_REFUSED',
    message: error.message,
    hint: 'start a version that keeps it smaller',
    lost: [],
  }
}

/** A record of state.v1 that this version cannot read. */
export function unreadable(what: string): Trouble {
  return {
    reason: 'STATE_UNREADABLE',
    message: `state.v1 cannot be read: ${what}`,
    hint:
      'start the version that wrote it, or restore the topic; a record that nothing of this project wrote can be ' +
      'removed by a tombstone for its key, and what it held is forgotten then',
    lost: [],
  }
}

function internal(error: unknown): Trouble {
  const said = error instanceof Error ? `${error.name}: ${error.message}` : String(error)
  return {
    reason: 'INTERNAL_ERROR',
    message: `the coordinator failed in a turn of this task: ${said}`,
    hint: 'a defect of this program: report it with the line "task failed" of its log, which has the stack; it is tried again by itself',
    lost: [],
  }
}
