// results: what steps measured, and what closes said, from the topics.
import { fromBinary, type JsonValue } from '@bufbuild/protobuf'
import {
  LevelClosedSchema,
  StepResultSchema,
  type LevelClosed,
  type StepResult,
} from '#proto/wellspring/record/v1/output_pb.ts'
import { kafkaPlace, type WhereFlags } from './environment.ts'
import { jsonOf } from './json.ts'
import { passedOf, typeOf, type Passed, type TopicRecord } from './ledger.ts'
import { data, dataJson, say, shown, table, type Format } from './output.ts'
import { sayPassed } from './read.ts'
import { isWithin } from './selection.ts'
import { closedWord } from './states.ts'
import { openTopics } from './topics.ts'

export type ResultFlags = WhereFlags & {
  readonly output: Format
  readonly step?: string
  readonly closes: boolean
  readonly allRevisions: boolean
}

type Found = {
  readonly key: string
  readonly revision: number
  readonly value: StepResult | LevelClosed
}

/** Prints results at or below an entity; the latest revision of each, unless all are asked for. */
export async function results(within: string, flags: ResultFlags): Promise<void> {
  const latest = new Map<string, Found>()
  const passed: Passed[] = []
  const topics = await openTopics(kafkaPlace(flags))
  try {
    await topics.read('results.v1', (record) => {
      const found = readable(record, flags, passed)
      if (!found || !isWithin(found.value.entity, within)) return
      const slot = flags.allRevisions ? `${record.partition}/${record.offset}` : slotOf(found.key)
      const known = latest.get(slot)
      if (!known || found.revision > known.revision) latest.set(slot, found)
    })
  } finally {
    await topics.close()
  }
  show([...latest.values()], flags.output)
  sayPassed(passed)
}

/** undefined: another kind of record, or none at all, which is noted. */
function readable(record: TopicRecord, flags: ResultFlags, passed: Passed[]): Found | undefined {
  try {
    if (record.unreadable !== undefined) throw new Error(record.unreadable)
    return readResult(record, flags)
  } catch (error) {
    passed.push(passedOf(record, error))
    return undefined
  }
}

/** A key without its revision. */
const slotOf = (key: string): string => key.slice(0, key.lastIndexOf('#'))

export function readResult(
  record: TopicRecord,
  { step, closes }: Pick<ResultFlags, 'step' | 'closes'>,
): Found | undefined {
  const { key, value } = record
  const type = typeOf(record)
  if (type === LevelClosedSchema.typeName) {
    if (!closes || (step !== undefined && step !== 'close')) return undefined
    const close = fromBinary(LevelClosedSchema, value)
    return { key, revision: close.revision, value: close }
  }
  if (type !== StepResultSchema.typeName) return undefined
  const result = fromBinary(StepResultSchema, value)
  if (step !== undefined && result.step !== step) return undefined
  return { key, revision: result.revision, value: result }
}

/** Row by row, so that a million results need no string of a million results. */
function show(found: readonly Found[], format: Format): void {
  if (format === 'jsonl') {
    for (const one of found) dataJson(itemOf(one))
  } else if (format === 'json') {
    data('{"items": [')
    found.forEach((one, at) => dataJson(itemOf(one), at + 1 < found.length ? ',' : ''))
    data('], "nextPageToken": ""}')
  } else if (found.length === 0) {
    say('no results yet')
  } else {
    data(table(found.map((one) => shown([one.key, summary(one.value)]))))
  }
}

/** A result that holds what cannot be shown, for instance an output that is none, is there by its name. */
function itemOf(found: Found): JsonValue {
  try {
    return shownItem(found)
  } catch (error) {
    return { key: found.key, unreadable: String(error) }
  }
}

function shownItem({ key, value }: Found): JsonValue {
  const message =
    value.$typeName === 'wellspring.record.v1.StepResult'
      ? jsonOf(StepResultSchema, value)
      : jsonOf(LevelClosedSchema, value)
  return { key, ...(message as { [field: string]: JsonValue }) }
}

/** The first plain numbers and words of an output, in a line. */
export function summary(value: StepResult | LevelClosed): string {
  try {
    return shownSummary(value)
  } catch (error) {
    return `cannot be shown: ${String(error)}`
  }
}

function shownSummary(value: StepResult | LevelClosed): string {
  if (value.$typeName === 'wellspring.record.v1.LevelClosed')
    return `${closedWord(value.closedBy)}  ${value.done} of ${value.expected}  ${value.holes.length + value.holesLeftOut} holes`
  const json = jsonOf(StepResultSchema, value)
  const output = (json as { output?: { [field: string]: JsonValue } }).output ?? {}
  return Object.entries(output)
    .flatMap(([name, field]) => {
      if (typeof field === 'number') return `${name}=${Number(field.toPrecision(5))}`
      if (name === '@type' || (typeof field !== 'string' && typeof field !== 'boolean')) return []
      return `${name}=${field}`
    })
    .slice(0, 6)
    .join('  ')
}
