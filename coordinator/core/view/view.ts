// What the operator and the console see: control messages as pure functions of a task's state and a moment.
import { create, fromBinary } from '@bufbuild/protobuf'
import { anyPack, timestampFromMs } from '@bufbuild/protobuf/wkt'
import { Level } from '#proto/wellspring/contract/v1/options_pb.ts'
import {
  AttemptViewSchema,
  GetPlateResponseSchema,
  RunViewSchema,
  WellViewSchema,
  type AttemptView,
  type GetPlateResponse,
  type RunView,
  type WellView,
} from '#proto/wellspring/control/v1/control_pb.ts'
import {
  RunState,
  RunStateSchema,
  type Attempt,
  type StepRun,
  type Stopped,
} from '#proto/wellspring/journal/v1/state_pb.ts'
import {
  EntityStatusSchema,
  PlateStoppedSchema,
  Verdict,
  type EntityStatus,
  type PlateStopped,
} from '#proto/wellspring/record/v1/output_pb.ts'
import { attemptFailure, failureOf } from '../attempts.ts'
import { worse } from '../pipeline/bands.ts'
import { hex } from '../keys.ts'
import { plateOf, wellOf } from '@wellspring/lab/entity.ts'
import { membersOf } from '../life.ts'
import { groupOf } from '../context.ts'
import { objectsOf } from '../objects.ts'
import { outputOf } from '../payload.ts'
import { knownHoles, runsOf } from '../standing.ts'
import { isRetired, type Task } from '../state.ts'
import { wayOut } from '../stop.ts'
import { wordOf } from './word.ts'

/** Holes listed in a plate's view. */
const HOLES_MAX = 1_000

/** Where a plate stands. A plate without state is all zeros. */
export function plateStatus(task: Task, key: string, nowMs: number): EntityStatus {
  const plate = task.plates.get(key)
  return create(EntityStatusSchema, {
    ...groupStatus(task, key, nowMs),
    level: Level.PLATE,
    expected: plate?.retired?.imagesExpected ?? task.shape(key)?.imagesExpected ?? 0,
    arrived: plate?.arrived ?? 0,
    done: plate?.done ?? 0,
    failed: plate?.failed ?? 0,
    missing: plate?.missing ?? 0,
    duplicate: plate?.duplicate ?? 0,
    parked: plate?.parked ?? 0,
    ...(plate?.firstArrivalMs && { firstArrivalAt: timestampFromMs(plate.firstArrivalMs) }),
    ...(plate?.firstVerdictMs && { firstVerdictAt: timestampFromMs(plate.firstVerdictMs) }),
    ...(plate?.retired && { retiredAt: timestampFromMs(plate.retired.atMs) }),
    ...(plate?.inputLoss && {
      inputLoss: {
        records: plate.inputLoss.records,
        acceptedAt: timestampFromMs(plate.inputLoss.atMs),
        acceptedBy: plate.inputLoss.acceptedBy,
      },
    }),
    ...(plate?.stopped && { stopped: stoppedView(plate.stopped, key) }),
  })
}

function stoppedView({ reason, message, atMs }: Stopped, key: string): PlateStopped {
  const told = `${message}; ${wayOut(key)}`
  return create(PlateStoppedSchema, { reason, message: told, at: timestampFromMs(atMs) })
}

/** Where a well at a time point stands. A well without state is all zeros, but for what is expected of it. */
export function wellStatus(task: Task, key: string, nowMs: number): EntityStatus {
  const well = task.wells.get(key)
  const shape = task.shape(plateOf(key))
  const sites = shape?.sites(wellOf(key)).length ?? 0
  return create(EntityStatusSchema, {
    ...groupStatus(task, key, nowMs),
    level: Level.WELL,
    expected: sites * (shape?.images.length ?? 0),
    arrived: well?.arrived ?? 0,
    done: well?.done ?? 0,
    failed: well?.failed ?? 0,
    missing: well?.missing ?? 0,
    parked: parkedBelow(task, key),
  })
}

function groupStatus(task: Task, key: string, nowMs: number) {
  const group = groupOf(task, key)
  return {
    entity: key,
    pipeline: task.pipeline.label,
    revision: group?.close?.revision ?? 0,
    ...(group?.close && { closedBy: group.close.closedBy }),
    verdict: verdictOf(group?.runs ?? []),
    objects: objectsOf(task, key),
    at: timestampFromMs(nowMs),
  }
}

/** A plate with its wells in the plan's order, its own runs, and its holes at all levels (at most 1,000). Of a retired
 * plate only what its summary keeps. */
export function plateView(task: Task, key: string, nowMs: number): GetPlateResponse {
  const parts = plateViewParts(task, key, nowMs)
  for (;;) {
    const next = parts.next()
    if (next.done) return next.value
  }
}

/** plateView, well by well: a large plate takes a while, and whoever drives this has other things to do. */
export function* plateViewParts(
  task: Task,
  key: string,
  nowMs: number,
): Generator<undefined, GetPlateResponse> {
  const view = create(GetPlateResponseSchema, {
    status: plateStatus(task, key, nowMs),
    runs: runViews(task, key, nowMs),
  })
  for (const well of isRetired(task, key) ? [] : membersOf(task, key)) {
    view.wells.push(wellView(task, well, nowMs))
    view.holes.push(...knownHoles(task, well, HOLES_MAX - view.holes.length))
    yield
  }
  return view
}

/** A well with the worst verdict of its images, its sites and itself. */
export function wellView(task: Task, key: string, nowMs: number): WellView {
  const status = wellStatus(task, key, nowMs)
  const verdicts = [status.verdict]
  for (const site of membersOf(task, key)) {
    const state = task.sites.get(site)
    if (!state) continue
    verdicts.push(verdictOf(state.runs), ...state.images.map((image) => verdictOf(image.runs)))
  }
  return create(WellViewSchema, {
    status,
    well: wellOf(key),
    worst: verdicts.reduce(worse),
    value: status.objects,
  })
}

/** A view per step of the entity's level, in the pipeline's order. */
export function runViews(task: Task, key: string, nowMs: number): RunView[] {
  const runs = runsOf(task, key)
  if (!runs) return []
  const steps = task.pipeline.steps
  return runs
    .toSorted((a, b) => a.step - b.step)
    .filter((run) => steps[run.step] !== undefined)
    .map((run) => runView(task, key, run, nowMs))
}

function runView(task: Task, key: string, run: StepRun, nowMs: number): RunView {
  const step = task.pipeline.steps[run.step]
  const isWaiting = run.state === RunState.UNSPECIFIED
  const failure = failureOf(run)
  return create(RunViewSchema, {
    entity: key,
    step: step?.name ?? '',
    state: isWaiting ? 'WAITING' : wordOf(RunStateSchema, run.state),
    revision: run.revision,
    generation: run.generation,
    attempts: run.attempts.map((attempt) => attemptView(run, attempt, nowMs)),
    attemptsLeftOut: run.trouble?.attemptsLeftOut ?? 0,
    verdict: run.verdict,
    idempotencyKey: hex(run.idempotencyKey),
    ...(failure && { failure }),
    ...(run.state === RunState.BACKOFF && {
      // A service may wish for a fraction of a millisecond.
      dueAt: timestampFromMs(Math.ceil(run.dueMs)),
    }),
    ...(step &&
      run.revision > 0 && {
        output: anyPack(
          step.method.output,
          fromBinary(step.method.output, outputOf(task, { key, run })),
        ),
      }),
  })
}

function attemptView(run: StepRun, attempt: Attempt, nowMs: number): AttemptView {
  const { number, askedMs, startedMs, endedMs, replica, times } = attempt
  const failure = attemptFailure(run, attempt)
  const isRunning = endedMs === 0
  const endMs = isRunning ? Math.max(nowMs, askedMs) : endedMs
  // As in timeline.ts: without a start, an ended attempt only queued, and a running one is taken to work.
  const startMs = startedMs || (isRunning ? askedMs : endMs)
  return create(AttemptViewSchema, {
    number,
    askedAt: timestampFromMs(askedMs),
    // From the first time on that it was put off, it waited for more than a free slot.
    queueMs: times > 1 ? 0 : Math.max(0, startMs - askedMs),
    workMs: Math.max(0, endMs - startMs),
    replica,
    times,
    ...(!isRunning && { endedAt: timestampFromMs(endedMs) }),
    ...(failure && { failure }),
  })
}

/** Worst verdict on the latest results of some runs; UNSPECIFIED without any. */
export function verdictOf(runs: readonly StepRun[]): Verdict {
  return runs.map((run) => run.verdict).reduce<Verdict>(worse, Verdict.UNSPECIFIED)
}

function parkedBelow(task: Task, key: string): number {
  const own = (runsOf(task, key) ?? []).filter((run) => run.state === RunState.PARKED).length
  if (!groupOf(task, key)) return own
  return membersOf(task, key).reduce((sum, member) => sum + parkedBelow(task, member), own)
}
