// A record that kills its process would kill every next one too. The checkpoint remembers where an owner went on; one
// that ended without getting past that place counts as a strike, unless we are that owner and only lost a flush. From
// the last but one on records are taken one by one, each named by a committed checkpoint first; the one in hand at the
// last strike is set aside unread. Outcomes and timers wait while a record is named: who dies of one must not blame it.
// A compressed batch is opened under the same guard as a record is taken in. What throws, and kills nobody, is known in
// memory: the task is taken over again, since its state may be half changed, and what threw is set aside at once.
import type { Checkpoint } from '#proto/wellspring/journal/v1/state_pb.ts'
import { lastOf, type Input, type WriterId } from '@wellspring/kafka/records.ts'
import { INPUT_TOPICS, type InputTopic } from '@wellspring/kafka/topic-names.ts'

/** Records taken one by one; then whatever was in hand at the last death is behind us. */
const ALONE_RECORDS_MAX = 450

type Next = Readonly<Record<InputTopic, number>>
/** A record, or a batch that begins there and is not open yet. */
type Place = { readonly topic: InputTopic; readonly offset: number; readonly isBatch: boolean }

/** Why something is set aside without being taken in. */
export type Guilt = { readonly reason: string; readonly message: string }

export const PROCESSING_FAILED = 'PROCESSING_FAILED'
const KILLED: Guilt = {
  reason: 'KILLED_ITS_PROCESS',
  message: 'three coordinators in a row ended with this record in hand: look at their last words',
}

/** What was thrown, with the first places of its stack. */
export function failureOf(error: unknown): string {
  const stack = error instanceof Error ? (error.stack ?? error.message) : String(error)
  return `the coordinator failed on it: ${stack.split('\n').slice(0, 4).join('\n')}`
}
/** What a checkpoint says of it. */
export type Said = Pick<Checkpoint, 'began' | 'strikes'> & {
  readonly suspect?: Checkpoint['suspect']
}

export type CrashGuard = {
  /** A new owner goes on here, after this checkpoint, and writes as `writer`. */
  begin(last: (Said & WriterId) | undefined, next: Next, writer: WriterId): void
  /** Whether a record may be taken in now. False: a flush must be committed first. */
  mayTake(input: Input): boolean
  /** Whether something else than a record may be taken in now. False: a record comes first, or a flush. */
  mayTurn(): boolean
  /** Set: it was in hand when the process died once too often, or it threw. */
  guiltOf(input: Input): Guilt | undefined
  /** What is at this place threw an error: it is guilty from now on. */
  blame(at: { readonly topic: string; readonly offset: number }, error: unknown): void
  /** Something was taken in, and whether it was the last that waits. */
  taken(input: Input, isLast: boolean): void
  /** The owner ends in order. True: a last flush should say so. */
  leave(): boolean
  /** A flush is wanted that nothing else asks for. */
  isWaiting(): boolean
  /** What the checkpoint of a flush says. */
  said(next: Next): Said
  committed(said: Said): void
}

/** A record is set aside at the strikesMax-th. */
export function createCrashGuard(strikesMax: number): CrashGuard {
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
  /** What threw in this process, by `topic/offset`; set aside with the first flush that passes it. */
  const thrown = new Map<string, Guilt & Place>()
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
      for (const [place, { offset, topic }] of thrown)
        if (offset < next[topic]) thrown.delete(place)
      began = { ...next }
      wanted = undefined
      isKnown = false
      isSilent = true
      inHand = undefined
      isBlaming = last?.suspect !== undefined && !condemned
      isClearing = false
      alone = 0
    },
    mayTake(input) {
      if (isKnown && (!isAlone() || isAt(inHand, input))) return true
      isSilent = false
      if (isClearing) return false
      wanted = placeAt(input)
      return false
    },
    mayTurn() {
      if (isBlaming && !inHand) isClearing = true
      return !isBlaming
    },
    guiltOf(input) {
      const threw = 'batch' in input ? undefined : thrown.get(`${input.topic}/${input.offset}`)
      // Two owners that fence each other look dead to each other, again and again; what one of them took in killed nobody.
      const hasSurvived = input.offset < survived[input.topic as InputTopic]
      return threw ?? (isAt(condemned, input) && !hasSurvived ? KILLED : undefined)
    },
    blame({ topic, offset }, error) {
      const place = { topic: topic as InputTopic, offset, isBatch: false }
      const guilt = { reason: PROCESSING_FAILED, message: failureOf(error) }
      thrown.set(`${topic}/${offset}`, { ...place, ...guilt })
    },
    taken(input, isLast) {
      survived[input.topic as InputTopic] = lastOf(input) + 1
      inHand = undefined
      alone += 1
      if (isLast || alone >= ALONE_RECORDS_MAX || isAt(condemned, input)) strikes = 0
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
        ...(suspect ? { suspect: suspectAt(suspect) } : {}),
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

function suspectAt({ topic, offset, isBatch }: Place): NonNullable<Checkpoint['suspect']> {
  return { ...inputOffset, topic, next: offset, ...(isBatch ? { isBatch } : {}) }
}

function placeOf(suspect: Said['suspect']): Place | undefined {
  if (!suspect) return undefined
  return {
    topic: suspect.topic as InputTopic,
    offset: suspect.next,
    isBatch: suspect.isBatch ?? false,
  }
}

function placeAt(input: Input): Place {
  return { topic: input.topic as InputTopic, offset: input.offset, isBatch: 'batch' in input }
}

function isAt(place: Place | undefined, input: Input): boolean {
  const { topic, offset, isBatch } = placeAt(input)
  return place?.topic === topic && place.offset === offset && place.isBatch === isBatch
}
