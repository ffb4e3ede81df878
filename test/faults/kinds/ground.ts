// What kinds of trouble work with, and what they note for the judges.
import type { OutgoingRecord } from '@wellspring/kafka/client.ts'
import type { RawBatch } from '../batch.ts'
import type { Crew } from '../crew.ts'
import type { Deletion, Position, Post, Start } from '../evidence.ts'
import type { Produced } from '../raw.ts'
import type { Services } from '../services.ts'
import type { Bombs } from './bomb.ts'

export type Ground = {
  readonly brokers: readonly string[]
  readonly topicPrefix: string
  readonly tasks: number
  readonly crew: Crew
  readonly services: Services
  /** Made before the run. */
  readonly bombs: Bombs
  /** Directory below which images must be there. */
  readonly shareDir: string
  /** Records that a client library can write; repeated until the broker has them. */
  readonly announce: (records: readonly OutgoingRecord[]) => Promise<void>
  /** A batch that none would write, to a topic without its prefix; repeated until a broker answers. */
  readonly produce: (topic: string, partition: number, batch: RawBatch) => Promise<Produced>
  readonly notes: Notes
}

/** Grows during the run. */
export type Notes = {
  /** Plate acquisitions that were made for a kind. */
  readonly plates: Set<string>
  /** Batches that no reader must open. */
  readonly bombs: Position[]
  readonly deletions: Deletion[]
  readonly posts: Post[]
  readonly starts: Start[]
}

export function newNotes(): Notes {
  return { plates: new Set(), bombs: [], deletions: [], posts: [], starts: [] }
}
