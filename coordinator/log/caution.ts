// A record that kills its process would kill every next one too. The checkpoint remembers where an owner went on; one
// that ended without getting past that place counts as a strike, unless we are that owner and only lost a flush. From
// the last but one on records are taken one by one, each named by a committed checkpoint first; the one in hand at the
// last strike is set aside unread. Outcomes and timers wait while a record is named: who dies of one must not blame it.
import type { Checkpoint } from '#proto/wellspring/journal/v1/state_pb.ts'
import type { InputTopic, LogRecord, WriterId } from './port.ts'
import { INPUT_TOPICS } from './port.ts'

/** Records taken one by one; then whatever was in hand at the last death is behind us. */
const ALONE_RECORDS_MAX = 450

type Next = Readonly<Record<InputTopic, number>>
type Place = { readonly topic: InputTopic; readonly offset: number }
/** What a checkpoint says of it. */
export type Said = Pick<Checkpoint, 'began' | 'strikes'> & {
  readonly suspect?: Checkpoint['suspect']
}

export type Caution = {
  /** A new owner goes on here, after this checkpoint, and writes as `writer`. */
  begin(last: (Said & WriterId) | undefined, next: Next, writer: WriterId): void
  /** Whether a record may be taken in now. False: a flush must be committed first. */
  mayTake(record: LogRecord): boolean
  /** Whether something else than a record may be taken in now. False: a record comes first, or a flush. */
  mayTurn(): boolean
  /** The record was in hand when the process died once too often. */
  isCondemned(record: LogRecord): boolean
  /** A record was taken in, and whether it was the last that waits. */
  taken(record: LogRecord, isLast: boolean): void
  /** The owner ends in order. True: a last flush should say so. */
  leave(): boolean
  /** A flush is wanted that nothing else asks for. */
  isWaiting(): boolean
  /** What the checkpoint of a flush says. */
  said(next: Next): Said
  committed(said: Said): void
}

/** A record is set aside at the strikesMax-th. */
export function caution(strikesMax: number): Caution {
  let began: Next | undefined
  let strikes = 0
  let condemned: Place | undefined
  let wanted: Place | undefined
  /** What committed checkpoints of this owner say: nothing yet, that it began, or the record in hand. */
  let isKnown = false
  let isSilent = true
  let inHand: Place | undefined
  /** A checkpoint that is committed, or may be, blames a record: in hand or taken in since. */
  let isBlaming = false
  let isClearing = false
  let alone = 0
  /** Next offset per input behind what this process has taken in, and lives. */
  const survived: Record<InputTopic, number> = { 'images.v1': 0, 'commands.v1': 0 }
  /** Writers of this process: what one of them left behind killed nobody. */
  const ours = new Set<string>()
  const named = ({ producerId, epoch }: WriterId): string => `${producerId}/${epoch}`

  const isAlone = (): boolean => strikes >= strikesMax - 1

  return {
    begin(last, next, writer) {
      const before = new Map(last?.began.map((at) => [at.topic, at.next]))
      const isStuck = INPUT_TOPICS.every((topic) => before.get(topic) === next[topic])
      const isOurs = last !== undefined && ours.has(named(last))
      const strike = isOurs ? 0 : 1
      if (!isOurs) ours.clear()
      ours.add(named(writer))
      strikes = before.size === 0 ? 0 : isStuck ? (last?.strikes ?? 0) + strike : strike
      condemned = strikes >= strikesMax ? placeOf(last?.suspect) : undefined
      began = { ...next }
      wanted = undefined
      isKnown = false
      isSilent = true
      inHand = undefined
      isBlaming = last?.suspect !== undefined && !condemned
      isClearing = false
      alone = 0
    },
    mayTake(record) {
      if (isKnown && (!isAlone() || isAt(inHand, record))) return true
      isSilent = false
      if (isClearing) return false
      wanted = { topic: record.topic as InputTopic, offset: record.offset }
      return false
    },
    mayTurn() {
      if (isBlaming && !inHand) isClearing = true
      return !isBlaming
    },
    // Two owners that fence each other look dead to each other, again and again; what one of them took in killed nobody.
    isCondemned: (record) =>
      isAt(condemned, record) && record.offset >= survived[record.topic as InputTopic],
    taken(record, isLast) {
      survived[record.topic as InputTopic] = record.offset + 1
      inHand = undefined
      alone += 1
      if (isLast || alone >= ALONE_RECORDS_MAX || isAt(condemned, record)) strikes = 0
    },
    leave() {
      isSilent = true
      return isKnown
    },
    isWaiting: () => wanted !== undefined || isClearing,
    said(next) {
      // Who takes no record can die of none.
      if (isSilent) return { began: [], strikes: 0 }
      // Record by record, so that ending at the next one is a strike as well.
      if (isAlone() || !began) began = { ...next }
      const from = began
      const suspect = isAlone() ? wanted : undefined
      // From now on: the flush may be committed behind our back.
      isBlaming ||= suspect !== undefined
      return {
        began: INPUT_TOPICS.map((topic) => ({ ...inputOffset, topic, next: from[topic] })),
        strikes,
        ...(suspect ? { suspect: at(suspect) } : {}),
      }
    },
    committed({ began: since, suspect }) {
      isKnown = since.length > 0
      inHand = placeOf(suspect)
      isBlaming = inHand !== undefined
      isClearing = false
      wanted = undefined
    },
  }
}

const inputOffset = { $typeName: 'wellspring.journal.v1.InputOffset' } as const

function at({ topic, offset }: Place): NonNullable<Checkpoint['suspect']> {
  return { ...inputOffset, topic, next: offset }
}

function placeOf(said: Said['suspect']): Place | undefined {
  return said && { topic: said.topic as InputTopic, offset: said.next }
}

function isAt(place: Place | undefined, { topic, offset }: LogRecord): boolean {
  return place?.topic === topic && place.offset === offset
}
