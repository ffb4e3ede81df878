// The one switch: what happened, in; what is to be done, out. Deterministic: the clock and the dice are arguments.
import { Level } from '#proto/wellspring/contract/v1/options_pb.ts'
import { RunState } from '#proto/wellspring/journal/v1/state_pb.ts'
import { adopt } from './adopt.ts'
import { onCommand } from './commands.ts'
import { placeOf, type Context } from './context.ts'
import type { Effect, Event } from './event.ts'
import { afterRun, restart } from './follow.ts'
import { deadlineOf } from './due.ts'
import { hex } from './keys.ts'
import { onImage } from './images.ts'
import { arm, expire } from './levels.ts'
import { markPlateOf, markPlates } from './losses.ts'
import { refuse } from './refuse.ts'
import { forget, retire } from './retire.ts'
import { goOn, runOf, settleRun } from './runs.ts'
import { during, isRetired, isStopped, type Task } from './state.ts'
import { stop } from './stop.ts'
import { sweep } from './sweep.ts'

/** Takes an event in: changes the task's state, returns what is to be done about it. */
export function decide(task: Task, event: Event, now: number, dice: () => number): Effect[] {
  const cx: Context = { task, now, dice, effects: [] }
  during(task, () => take(cx, event))
  return cx.effects
}

function take(cx: Context, event: Event): void {
  switch (event.kind) {
    case 'image':
      onImage(cx, event)
      return markPlateOf(cx, event)
    case 'command':
      onCommand(cx, event)
      return markPlateOf(cx, event)
    case 'unreadable':
      return refuse(cx, event, { entity: '', reason: event.reason, message: event.message })
    case 'outcome':
      return onOutcome(cx, event)
    case 'timer':
      return onTimer(cx, event.entity, event.completeness)
    case 'stop':
      return stop(cx, event)
  }
}

function onOutcome(cx: Context, event: Extract<Event, { kind: 'outcome' }>): void {
  if (isStopped(cx.task, event.entity)) return
  const place = placeOf(cx.task, event.entity)
  const step = cx.task.pipeline.steps.find((one) => one.name === event.step)
  if (!place || !step) return
  const run = runOf(place, step)
  // An outcome of a run that was given up, redriven or restored differently is dropped.
  if (run.state !== RunState.RUNNING || hex(run.idempotencyKey) !== event.idempotencyKey) return
  settleRun(cx, place, step, event.outcome)
  afterRun(cx, place)
}

function onTimer(cx: Context, entity: string, completeness: boolean): void {
  if (completeness) {
    const due = deadlineOf(cx, entity)
    if (due.kind === 'now') expire(cx, entity, due.by)
    else if (due.kind === 'retire') retire(cx, entity)
    else arm(cx, entity)
    return
  }
  markPlates(cx)
  if (isRetired(cx.task, entity)) return forget(cx, entity)
  if (isStopped(cx.task, entity)) return
  const place = placeOf(cx.task, entity)
  if (!place) return
  for (const step of cx.task.pipeline.at(place.level)) {
    const run = runOf(place, step)
    if (run.state !== RunState.BACKOFF) continue
    // An entity has one such timer: what is due later is set again.
    if (run.dueMs > cx.now)
      cx.effects.push({ kind: 'timer', entity, atMs: run.dueMs, completeness: false })
    else if (!goOn(cx, place, step)) restart(cx, place)
  }
  if (place.level !== Level.PLATE) return
  adopt(cx, entity)
  sweep(cx, entity)
}
