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
  const ends = new Map<string, RunEnd>()
  const closes = new Map<string, LevelClosed>()
  const plans = new Map<string, PlatePlan>()
  const refusedPlans = new Set<string>()
  const refusedInputs: DeadLetter[] = []
  const duplicates: string[] = []
  const seen = new Set<string>()
  let others = 0

  const once = (name: string): void => {
    if (seen.has(name)) duplicates.push(name)
    seen.add(name)
  }
  const end = (key: string, latest: RunEnd, as: string): void => {
    const { revision, generation } = latest
    once(as)
    const known = ends.get(key)
    if (known?.revision === revision && known.generation === generation) {
      // The same key twice is one mistake; two different ends of one run another.
      if (Boolean(known.deadLetter) !== Boolean(latest.deadLetter))
        duplicates.push(
          `${key}: revision ${revision} has a result and a dead letter of generation ${generation}`,
        )
      return
    }
    if (!known || isLater(latest, known)) ends.set(key, latest)
  }
  const isOther = (label: string): boolean => {
    const other = pipeline !== undefined && label !== pipeline
    if (other) others += 1
    return other
  }

  const takeResult = (result: StepResult, record: TopicRecord): void => {
    if (isOther(result.pipeline)) return
    const { entity, step, revision, generation } = result
    end(runKey(entity, step), { entity, step, revision, generation }, record.key)
  }
  const takeClose = (close: LevelClosed, record: TopicRecord): void => {
    if (isOther(close.pipeline)) return
    once(record.key)
    const known = closes.get(close.entity)
    if (!known || close.revision > known.revision) closes.set(close.entity, close)
  }
  const takeDeadLetter = (letter: DeadLetter, record: TopicRecord): void => {
    const { entity, step, generation, origin } = letter
    if (step === '') {
      refusedInputs.push(letter)
      if (origin?.topic.endsWith('commands.v1'))
        refusedPlans.add(`${origin.partition}/${origin.offset}`)
      return
    }
    if (isOther(letter.pipeline)) return
    const revision = Math.max(1, letter.revision)
    end(
      runKey(entity, step),
      { entity, step, revision, generation, deadLetter: letter },
      record.key,
    )
  }

  return {
    ends,
    closes,
    duplicates,
    refusedInputs,
    otherPipelines: () => others,
    plans: () =>
      [...plans].flatMap(([position, plan]) => (refusedPlans.has(position) ? [] : [plan])),
    add(record) {
      switch (record.type) {
        case StepResultSchema.typeName:
          return takeResult(fromBinary(StepResultSchema, record.value), record)
        case LevelClosedSchema.typeName:
          return takeClose(fromBinary(LevelClosedSchema, record.value), record)
        case DeadLetterSchema.typeName:
          return takeDeadLetter(fromBinary(DeadLetterSchema, record.value), record)
        case CommandSchema.typeName: {
          const plan = readPlan(record.value)
          if (plan) plans.set(`${record.partition}/${record.offset}`, plan)
          return undefined
        }
        default:
          return undefined
      }
    },
  }
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
