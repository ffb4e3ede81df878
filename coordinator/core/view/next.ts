// What happens next, in a sentence that a person can act on.
import { durationMs } from '@bufbuild/protobuf/wkt'
import { ErrorClass, ErrorClassSchema } from '#proto/wellspring/contract/v1/errors_pb.ts'
import { Level, LevelSchema } from '#proto/wellspring/contract/v1/options_pb.ts'
import { RunState, type StepRun } from '#proto/wellspring/journal/v1/state_pb.ts'
import { failureOf } from '../attempts.ts'
import { levelOf, parentOf, plateOf } from '@wellspring/lab/entity.ts'
import { dueOf } from '../due.ts'
import { membersOf } from '../life.ts'
import { standing } from '../members.ts'
import { runsOf, stateOf, type State } from '../standing.ts'
import { groupOf } from '../context.ts'
import { wayOut } from '../stop.ts'
import type { Task } from '../state.ts'
import { wordOf } from './word.ts'

/** Members named in a sentence. */
const NAMED_MAX = 5

/** What happens next to an entity in that state. Times of day are UTC. */
export function nextOf(task: Task, key: string, state: State, nowMs: number): string {
  const runs = runsOf(task, key) ?? []
  switch (state) {
    case 'RUNNING':
    case 'BACKOFF':
      return runs.flatMap((run) => runNext(task, run, nowMs)).join('; ')
    case 'PARKED':
      return `nothing by itself; redrive with: npx wellspring redrive ${key}`
    case 'OPEN':
      return openNext(task, key, nowMs)
    case 'WAITING':
      return waitingNext(task, key, runs, nowMs)
    case 'HOLE':
      return `nothing: given up as never arriving; if it comes after all, ${plateOf(key)} gets a new revision`
    case 'RETIRED':
      return `nothing: ${plateOf(key)} is retired; its results are there: npx wellspring results ${key}`
    case 'STOPPED': {
      const plate = plateOf(key)
      return `nothing: ${plate} is stopped; ${wayOut(plate)} goes on with it`
    }
    case 'CLOSED':
    case 'DONE':
      return 'nothing: done'
  }
}

function runNext(task: Task, run: StepRun, nowMs: number): string[] {
  const step = task.pipeline.steps[run.step]?.name ?? ''
  if (run.state === RunState.RUNNING) {
    const asked = run.attempts.at(-1)?.askedMs ?? run.readyMs
    return [`attempt ${run.attempt} of ${step} is under way since ${clock(asked, nowMs)}`]
  }
  if (run.state !== RunState.BACKOFF) return []
  const { attempt } = run
  const failure = failureOf(run)
  const number = failure?.class === ErrorClass.OVERLOADED ? attempt : attempt + 1
  const why = failure ? ` after ${wordOf(ErrorClassSchema, failure.class)} ${failure.reason}` : ''
  return [`attempt ${number} of ${step} at ${clock(run.dueMs, nowMs)} (back-off${why})`]
}

function waitingNext(task: Task, key: string, runs: readonly StepRun[], nowMs: number): string {
  if (runs.length > 0) {
    const steps = task.pipeline.at(levelOf(key))
    const waits = steps.find((step) => {
      const state = runs.find((run) => run.step === step.index)?.state
      return state === undefined || state === RunState.UNSPECIFIED
    })
    const needs = waits?.needs.join(' and ')
    return `waits for ${needs ? `step ${needs}` : 'its turn'}`
  }
  const parent = parentOf(key) ?? ''
  const closing = closingWords(task, parent, nowMs)
  const above = wordOf(LevelSchema, levelOf(parent)).toLowerCase()
  return `waits for it to arrive${closing && `; ${above} ${parent} ${closing}`}`
}

function openNext(task: Task, key: string, nowMs: number): string {
  if (!task.shape(plateOf(key)))
    return `waits for the plan of plate ${plateOf(key)}: nothing above the image closes without it`
  const { absent, busy } = awaited(task, key)
  const level = wordOf(LevelSchema, levelOf(key)).toLowerCase()
  const below =
    levelOf(key) === Level.PLATE ? 'well' : levelOf(key) === Level.WELL ? 'site' : 'image'
  const name = key.slice(key.lastIndexOf('/') + 1)
  const parts: string[] = []
  if (absent.length > 0)
    parts.push(`waits for ${counted(absent.length, below)} of ${level} ${name}: ${named(absent)}`)
  if (busy.length > 0)
    parts.push(`waits for ${counted(busy.length, below)} in work: ${named(busy)}`)
  const closing = absent.length > 0 ? closingWords(task, key, nowMs) : ''
  if (closing) parts.push(closing)
  return parts.join('; ') || 'closes now'
}

/** Members, by name within the group, that have not come and were not given up, and those in work. */
function awaited(task: Task, key: string): { absent: string[]; busy: string[] } {
  const absent: string[] = []
  const busy: string[] = []
  for (const member of membersOf(task, key)) {
    const name = member.slice(key.length + 1)
    const runs = runsOf(task, member)
    const state = stateOf(task, member)
    if (!runs) {
      if (state !== 'HOLE') absent.push(name)
    } else if (levelOf(member) === Level.IMAGE) {
      if (standing(task, Level.IMAGE, runs) === 'open') busy.push(`${name} (${state})`)
    } else if (state === 'OPEN' || state === 'RUNNING' || state === 'BACKOFF') {
      busy.push(`${name} (${state})`)
    }
  }
  return { absent, busy }
}

/** "closes by quorum at 12:03:41 UTC"; empty if it does not close by time. */
function closingWords(task: Task, key: string, nowMs: number): string {
  const due = dueOf({ task, now: nowMs }, key)
  if (due.kind === 'never') return ''
  if (due.kind === 'now') return 'closes as soon as all that was announced is read'
  const policy = task.shape(plateOf(key))?.plan.completeness
  const deadlineMs =
    (groupOf(task, key)?.lastArrivalMs ?? 0) + (policy?.deadline ? durationMs(policy.deadline) : 0)
  const by = due.atMs < deadlineMs ? 'quorum' : 'deadline'
  return `closes by ${by} at ${clock(due.atMs, nowMs)} if nothing arrives`
}

function named(names: readonly string[]): string {
  const more = names.length - NAMED_MAX
  return names.slice(0, NAMED_MAX).join(', ') + (more > 0 ? ` and ${more} more` : '')
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}

const dayMs = 86_400_000

/** HH:MM:SS UTC, with the distance in days where it is another day. */
function clock(ms: number, nowMs: number): string {
  const seconds = Math.floor((ms % dayMs) / 1000)
  const two = (value: number): string => String(Math.floor(value)).padStart(2, '0')
  const time = `${two(seconds / 3600)}:${two((seconds / 60) % 60)}:${two(seconds % 60)} UTC`
  const days = Math.floor(ms / dayMs) - Math.floor(nowMs / dayMs)
  if (days === 0) return time
  return `${time} ${days > 0 ? `in ${counted(days, 'day')}` : `${counted(-days, 'day')} ago`}`
}
