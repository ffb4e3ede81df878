// How step runs ended, from the committed records of results.v1, dead-letters.v1 and commands.v1 alone.
import { fromBinary } from '@bufbuild/protobuf'
import type { PlatePlan } from '#proto/wellspring/lab/v1/plan_pb.ts'
import { CommandSchema } from '#proto/wellspring/record/v1/input_pb.ts'
import {
  DeadLetterSchema,
  LevelClosedSchema,
  StepResultSchema,
  type DeadLetter,
  type InputLoss,
  type InputPosition,
  type LevelClosed,
  type StepResult,
} from '#proto/wellspring/record/v1/output_pb.ts'
import { isCloseKey } from '../coordinator/core/keys.ts'

/**
 * A committed record; the topic carries no prefix, the type is the header wellspring-type, empty where there is none:
 * then the topic says what it is, and on results.v1 the key.
 */
export type TopicRecord = {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  readonly key: string
  readonly type: string
  readonly value: Uint8Array
  /** Set: no record can be read here, and why; the value is what is there instead. */
  readonly unreadable?: string
}

/** Something that was passed because it cannot be read. */
export type Passed = { readonly place: string; readonly why: string }

/** The latest end of a step run: highest revision, then highest generation. */
export type RunEnd = {
  readonly entity: string
  readonly step: string
  readonly revision: number
  readonly generation: number
  /** Set: the run is parked. Unset: it has a result. */
  readonly deadLetter?: DeadLetter
}

export type Ledger = {
  /** Takes one record in, in any order between topics, in log order within a partition. */
  add(record: TopicRecord): void
  /** By runKey. */
  readonly ends: ReadonlyMap<string, RunEnd>
  /** Latest close by entity. */
  readonly closes: ReadonlyMap<string, LevelClosed>
  /** Plans that were not refused, in log order. */
  plans(): PlatePlan[]
  /** Result and close keys, or ends of one (revision, generation), that are there twice. */
  readonly duplicates: readonly string[]
  /** Dead letters of input records: what could not be taken in. */
  readonly refusedInputs: readonly DeadLetter[]
  /** Why plates were stopped, the last word on each. */
  readonly stopped: ReadonlyMap<string, DeadLetter>
  /** What could not be read. */
  readonly passed: readonly Passed[]
  /** Input of tasks that was lost unread and let go. */
  readonly losses: readonly InputLoss[]
  /** Records of other pipelines, which this ledger does not judge. */
  otherPipelines(): number
}

/** Reason of the dead letter that a plate has when it stops. */
const PLATE_STOPPED = 'PLATE_STOPPED'

export const runKey = (entity: string, step: string): string => `${entity}/${step}`

/** A ledger of one pipeline's records; without a label, of every pipeline's. */
export function openLedger(pipeline?: string): Ledger {
  const { ends, duplicates, once, end } = openEnds()
  const closes = new Map<string, LevelClosed>()
  const plans = new Map<string, PlatePlan>()
  const refusedCommands: InputPosition[] = []
  const refusedInputs: DeadLetter[] = []
  const stopped = new Map<string, DeadLetter>()
  const passed: Passed[] = []
  const losses: InputLoss[] = []
  let others = 0

  const isOther = (label: string): boolean => {
    const other = pipeline !== undefined && label !== pipeline
    if (other) others += 1
    return other
  }
  const takeResult = ({ pipeline: label, ...result }: StepResult, key: string): void => {
    const { entity, step, revision, generation } = result
    if (!isOther(label)) end({ entity, step, revision, generation }, key)
  }
  const takeClose = (close: LevelClosed, key: string): void => {
    if (isOther(close.pipeline)) return
    once(key)
    const known = closes.get(close.entity)
    if (!known || close.revision > known.revision) closes.set(close.entity, close)
  }
  const takeDeadLetter = (letter: DeadLetter, key: string): void => {
    const { entity, step, generation, origin, loss } = letter
    if (loss) losses.push(loss)
    else if (step === '' && origin === undefined && letter.failure?.reason === PLATE_STOPPED) {
      stopped.set(entity, letter)
    } else if (step === '') {
      refusedInputs.push(letter)
      if (origin?.topic.endsWith('commands.v1')) refusedCommands.push(origin)
    } else if (!isOther(letter.pipeline)) {
      end(
        { entity, step, revision: Math.max(1, letter.revision), generation, deadLetter: letter },
        key,
      )
    }
  }

  return {
    ends,
    closes,
    duplicates,
    refusedInputs,
    losses,
    stopped,
    otherPipelines: () => others,
    passed,
    plans: () => {
      const isRefused = refusals(refusedCommands)
      return [...plans].flatMap(([position, plan]) => (isRefused(position) ? [] : [plan]))
    },
    add(record) {
      const { partition, offset, key, value, unreadable } = record
      try {
        if (unreadable !== undefined) throw new Error(unreadable)
        switch (typeOf(record)) {
          case StepResultSchema.typeName:
            return takeResult(fromBinary(StepResultSchema, value), key)
          case LevelClosedSchema.typeName:
            return takeClose(fromBinary(LevelClosedSchema, value), key)
          case DeadLetterSchema.typeName:
            return takeDeadLetter(fromBinary(DeadLetterSchema, value), key)
          case CommandSchema.typeName: {
            const plan = readPlan(value)
            if (plan) plans.set(`${partition}/${offset}`, plan)
          }
        }
      } catch (error) {
        passed.push(passedOf(record, error))
      }
    },
  }
}

export function passedOf({ topic, partition, offset }: TopicRecord, error: unknown): Passed {
  const why = error instanceof Error ? error.message : String(error)
  return { place: `${topic}/${partition} at ${offset}`, why }
}

/** What the header says, else what the topic is for. */
export function typeOf({ topic, key, type }: TopicRecord): string {
  if (type !== '') return type
  switch (topic) {
    case 'commands.v1':
      return CommandSchema.typeName
    case 'dead-letters.v1':
      return DeadLetterSchema.typeName
    case 'results.v1':
      return isCloseKey(key) ? LevelClosedSchema.typeName : StepResultSchema.typeName
    default:
      return ''
  }
}

/** Whether a position is one of a command that was refused, alone or with all of its batch. */
function refusals(refused: readonly InputPosition[]): (position: string) => boolean {
  const alone = new Set(refused.map(({ partition, offset }) => `${partition}/${offset}`))
  const ranges = refused.filter(({ lastOffset }) => lastOffset !== undefined)
  return (position) => {
    if (alone.has(position)) return true
    const [partition, offset] = position.split('/').map(Number)
    return ranges.some(
      (range) =>
        range.partition === partition &&
        range.offset <= (offset ?? NaN) &&
        (offset ?? NaN) <= (range.lastOffset ?? -1),
    )
  }
}

/** The latest end of every run, and what is there twice. */
function openEnds() {
  const ends = new Map<string, RunEnd>()
  const duplicates: string[] = []
  const seen = new Set<string>()
  const once = (key: string): void => {
    if (seen.has(key)) duplicates.push(key)
    seen.add(key)
  }
  const end = (latest: RunEnd, recordKey: string): void => {
    once(recordKey)
    const { entity, step, revision, generation } = latest
    const key = runKey(entity, step)
    const known = ends.get(key)
    const isSame = known?.revision === revision && known.generation === generation
    // The same key twice is one mistake; two different ends of one run another.
    if (isSame && Boolean(known.deadLetter) !== Boolean(latest.deadLetter))
      duplicates.push(
        `${key}: revision ${revision} has a result and a dead letter of generation ${generation}`,
      )
    if (!known || isLater(latest, known)) ends.set(key, latest)
  }
  return { ends, duplicates, once, end }
}

function isLater(a: RunEnd, b: RunEnd): boolean {
  return a.revision > b.revision || (a.revision === b.revision && a.generation > b.generation)
}

/** Undecodable commands are the coordinator's to refuse; here they plan nothing. */
function readPlan(value: Uint8Array): PlatePlan | undefined {
  try {
    const { action } = fromBinary(CommandSchema, value)
    return action.case === 'plan' ? action.value : undefined
  } catch {
    return undefined
  }
}
