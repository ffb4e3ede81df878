// `why`: everything known about one entity, and where its time went.
import { create, toJson } from '@bufbuild/protobuf'
import { TimestampSchema, timestampFromMs } from '@bufbuild/protobuf/wkt'
import { Level } from '#proto/wellspring/contract/v1/options_pb.ts'
import {
  ExplainResponseSchema,
  TimeSpentSchema,
  type ExplainResponse,
  type TimeSpent,
} from '#proto/wellspring/control/v1/control_pb.ts'
import { ClosedBySchema, Verdict, VerdictSchema } from '#proto/wellspring/record/v1/output_pb.ts'
import { levelOf, parentOf, plateOf } from '@wellspring/lab/entity.ts'
import { traceId } from '../keys.ts'
import { imageOf, lifeOf, membersOf } from '../life.ts'
import { nextOf } from './next.ts'
import { isPlanned, knownHoles, runsOf, stateOf, type State } from '../standing.ts'
import { groupOf } from '../context.ts'
import { isRetired, type Task } from '../state.ts'
import { latestRuns, shareTime, traceNumber, type Interval, type Life } from '../timeline.ts'
import { runViews, verdictOf } from './view.ts'
import { wordOf } from './word.ts'

/** Holes named in the notes. */
const HOLES_NAMED_MAX = 10
/** Holes counted per member. */
const HOLES_COUNTED_MAX = 1_000

/** Explains an entity that has state or is planned; undefined for any other. Throws on what is no entity key. */
export function explain(task: Task, key: string, nowMs: number): ExplainResponse | undefined {
  const life = lifeOf(task, key)
  if (!life && !isPlanned(task, key) && !isRetired(task, key)) return undefined
  const state = stateOf(task, key)
  return create(ExplainResponseSchema, {
    entity: key,
    level: levelOf(key),
    state,
    traceId: traceId(task.application, key, life ? traceNumber(life) : 1),
    uri: levelOf(key) === Level.IMAGE ? (imageOf(task, key)?.artifact?.uri ?? '') : '',
    runs: runViews(task, key, nowMs),
    ...(life && timeOf(life, state, nowMs)),
    next: nextOf(task, key, state, nowMs),
    notes: notesOf(task, key),
  })
}

type TimeView = Pick<ExplainResponse, 'time' | 'from'>

function timeOf(life: Life, state: State, nowMs: number): TimeView {
  const { fromMs, runs } = latestRuns(life, nowMs)
  const isOver = ['DONE', 'PARKED', 'CLOSED', 'RETIRED'].includes(state)
  const endedMs = runs.reduce((last, run) => Math.max(last, run.toMs), life.close?.atMs ?? fromMs)
  const toMs = Math.max(fromMs, isOver ? endedMs : nowMs)
  const intervals: Interval[] = runs.flatMap((run) => run.intervals)
  // A group waits for members until it closes, and again when one of them moved.
  if (state === 'OPEN') intervals.push({ kind: 'siblings', fromMs, toMs })
  else if (life.close) intervals.push({ kind: 'siblings', fromMs, toMs: life.close.atMs })
  return { from: timestampFromMs(fromMs), time: timeSpent(intervals, fromMs, toMs) }
}

function timeSpent(intervals: readonly Interval[], fromMs: number, toMs: number): TimeSpent {
  const { work, queue, backoff, siblings } = shareTime(intervals, fromMs, toMs)
  return create(TimeSpentSchema, {
    wallMs: toMs - fromMs,
    workMs: work,
    queueMs: queue,
    backoffMs: backoff,
    siblingsMs: siblings,
  })
}

function notesOf(task: Task, key: string): string[] {
  const runs = runsOf(task, key) ?? []
  const notes: string[] = []
  for (const run of runs) {
    const step = task.pipeline.steps[run.step]?.name ?? ''
    if (run.generation > 1)
      notes.push(`${step}: redriven ${run.generation - 1} times; the time counts from the latest`)
  }
  const verdict = verdictOf(runs)
  if (verdict !== Verdict.UNSPECIFIED) notes.push(`verdict ${wordOf(VerdictSchema, verdict)}`)
  if (isRetired(task, key)) return [...notes, ...retiredNotes(task, key)]
  return [
    ...notes,
    ...stoppedNotes(task, key),
    ...(levelOf(key) === Level.IMAGE ? siblingNotes(task, key) : groupNotes(task, key)),
  ]
}

function retiredNotes(task: Task, key: string): string[] {
  const plate = plateOf(key)
  const close = task.plates.get(plate)?.close
  const closed = close
    ? [`${key === plate ? '' : `plate ${plate} `}closed ${closeWords(close)}`]
    : []
  const forgotten = 'what is below it is forgotten'
  return [
    ...closed,
    key === plate ? `retired: ${forgotten}` : `plate ${plate} is retired: ${forgotten}`,
  ]
}

function stoppedNotes(task: Task, key: string): string[] {
  const plate = plateOf(key)
  const stopped = task.plates.get(plate)?.stopped
  if (!stopped) return []
  const { reason, message, atMs } = stopped
  const since = toJson(TimestampSchema, timestampFromMs(atMs))
  return [`plate ${plate} is stopped since ${since}: ${reason}: ${message}`]
}

function siblingNotes(task: Task, key: string): string[] {
  const site = parentOf(key) ?? ''
  const group = groupOf(task, site)
  if (group?.close && !group.changed) return [`site ${site} closed ${closeWords(group.close)}`]
  return [`site ${site} is open`]
}

function groupNotes(task: Task, key: string): string[] {
  const close = groupOf(task, key)?.close
  const plate = task.plates.get(key)
  // Its counters spare the look at all that is below a large plate.
  const isWhole = plate && plate.failed + plate.missing + plate.parked === 0
  const members = isWhole ? [] : membersOf(task, key)
  const holes = members.flatMap((member) => knownHoles(task, member, HOLES_COUNTED_MAX))
  const named = holes.slice(0, HOLES_NAMED_MAX).map(({ entity, reason, step }) => {
    const at = step ? ` at ${step}` : ''
    return `hole: ${entity} (${reason}${at})`
  })
  if (holes.length > named.length) named.push(`and ${holes.length - named.length} more holes`)
  return [...(close ? [`closed ${closeWords(close)}`] : []), ...named]
}

function closeWords(close: { closedBy: number; revision: number; done: number; expected: number }) {
  const by = wordOf(ClosedBySchema, close.closedBy).toLowerCase()
  return `by ${by}, revision ${close.revision}, ${close.done} of ${close.expected} members done`
}
