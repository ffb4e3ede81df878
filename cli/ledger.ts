// How step runs ended, from the committed records of results.v1, dead-letters.v1 and commands.v1 alone.
import { fromBinary } from '@bufbuild/protobuf'
import type { PlatePlan } from '#proto/wellspring/lab/v1/plan_pb.ts'
import { CommandSchema } from '#proto/wellspring/record/v1/input_pb.ts'
import type { DeadLetter, LevelClosed, StepResult } from '#proto/wellspring/record/v1/output_pb.ts'
import {
  DeadLetterSchema,
  LevelClosedSchema,
  StepResultSchema,
} from '#proto/wellspring/record/v1/output_pb.ts'

/** A committed record; the topic carries no prefix, the type is the header wellspring-type. */
export type TopicRecord = {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  readonly key: string
  readonly type: string
  readonly value: Uint8Array
}

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
  /** Records of other pipelines, which this ledger does not judge. */
  otherPipelines(): number
}

export const runKey = (entity: string, step: string): string => `${entity}/${step}`

/** A ledger of one pipeline's records; without a label, of every pipeline's. */
export function openLedger(pipeline?: string): Ledger {
  const { ends, duplicates, once, end } = openEnds()
  const closes = new Map<string, LevelClosed>()
  const plans = new Map<string, PlatePlan>()
  const refusedPlans = new Set<string>()
  const refusedInputs: DeadLetter[] = []
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
    const { entity, step, generation, origin } = letter
    if (step === '') {
      refusedInputs.push(letter)
      if (origin?.topic.endsWith('commands.v1'))
        refusedPlans.add(`${origin.partition}/${origin.offset}`)
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
    otherPipelines: () => others,
    plans: () =>
      [...plans].flatMap(([position, plan]) => (refusedPlans.has(position) ? [] : [plan])),
    add({ type, key, value, partition, offset }) {
      if (type === StepResultSchema.typeName) takeResult(fromBinary(StepResultSchema, value), key)
      if (type === LevelClosedSchema.typeName) takeClose(fromBinary(LevelClosedSchema, value), key)
      if (type === DeadLetterSchema.typeName)
        takeDeadLetter(fromBinary(DeadLetterSchema, value), key)
      const plan = type === CommandSchema.typeName ? readPlan(value) : undefined
      if (plan) plans.set(`${partition}/${offset}`, plan)
    },
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
