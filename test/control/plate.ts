// A small plate in hand-made state: one well, two sites of two channels, every kind of standing once.
import { create, type MessageInitShape } from '@bufbuild/protobuf'
import { ErrorClass } from '#proto/wellspring/contract/v1/errors_pb.ts'
import {
  CloseSchema,
  ImageStateSchema,
  RunState,
  StepRunSchema,
  type StepRun,
} from '#proto/wellspring/journal/v1/state_pb.ts'
import { PlatePlanSchema } from '#proto/wellspring/lab/v1/plan_pb.ts'
import { StepFailureSchema } from '#proto/wellspring/step/v1/failure_pb.ts'
import { EchoService } from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import { loadPipeline } from '../../coordinator/core/pipeline/check.ts'
import {
  constant,
  each,
  identity,
  image,
  out,
  step,
} from '../../coordinator/core/pipeline/pipeline.ts'
import { emptyTask, type Task } from '../../coordinator/core/state.ts'

const { echoImage, echoSite } = EchoService.method
const first = step('first', echoImage, { image: image.artifact, previous: constant('none') })
const second = step('second', echoImage, { image: image.artifact, previous: out(first, 'digest') })
const site = step('site', echoSite, {
  members: each({ name: identity.channel, digest: out(second, 'digest') }),
})

export const pipeline = loadPipeline({
  name: 'echo',
  version: 1,
  steps: [first, second, site],
  bands: { name: 'none', version: 1, rules: [] },
})

/** 2026-03-04 12:00:00 UTC. */
export const noon = Date.UTC(2026, 2, 4, 12)
export const plateKey = 'E1/P1/a1'

const notYet = create(StepFailureSchema, {
  class: ErrorClass.RETRYABLE,
  reason: 'NOT_YET',
  message: 'asked to fail for now',
  hint: 'wait',
})

/** A run of step `index`, ready at `atMs` after noon, whose attempts follow each other by 5 s. */
export function run(
  index: number,
  atMs: number,
  state: RunState,
  init: MessageInitShape<typeof StepRunSchema> = {},
): StepRun {
  const readyMs = noon + atMs
  const done = { number: 1, askedMs: readyMs, startedMs: readyMs + 100, endedMs: readyMs + 1_100 }
  const failed = { ...done, failure: notYet, replica: '127.0.0.1:7001' }
  const base = { step: index, state, readyMs, generation: 1, attempt: 1 }
  switch (state) {
    case RunState.DONE:
      return create(StepRunSchema, {
        ...base,
        revision: 1,
        endedMs: readyMs + 1_100,
        attempts: [{ ...done, replica: '127.0.0.1:7001' }],
        ...init,
      })
    case RunState.RUNNING:
      return create(StepRunSchema, {
        ...base,
        attempts: [{ number: 1, askedMs: readyMs }],
        ...init,
      })
    case RunState.BACKOFF:
    case RunState.PARKED: {
      const again = {
        ...failed,
        number: 2,
        askedMs: readyMs + 5_000,
        startedMs: readyMs + 5_000,
        endedMs: readyMs + 6_000,
      }
      return create(StepRunSchema, {
        ...base,
        attempt: 2,
        attempts: [failed, again],
        failure: notYet,
        ...(state === RunState.PARKED ? { endedMs: readyMs + 6_000 } : { dueMs: readyMs + 16_000 }),
        ...init,
      })
    }
    case RunState.UNSPECIFIED:
    case RunState.SKIPPED:
    default:
      return create(StepRunSchema, { ...base, readyMs: 0, attempt: 0, ...init })
  }
}

export function imageAt(channel: string, atMs: number, runs: StepRun[], site = 1) {
  return create(ImageStateSchema, {
    z: 0,
    channel: { name: channel },
    artifact: { uri: `file:///data/P1/B07_s${site}_${channel}.tif`, sizeBytes: 10 },
    arrivedMs: noon + atMs,
    runs,
    originTraceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
  })
}

export const plan = {
  experiment: 'E1',
  plate: 'P1',
  acquisition: 'a1',
  wells: [{ well: 'B07' }],
  sites: [1, 2],
  timePoints: [0],
  zPlanes: [0],
  channels: [{ name: 'DNA' }, { name: 'ER' }],
  completeness: { quorum: 0.5, quorumAfter: { seconds: 60n }, deadline: { seconds: 600n } },
} satisfies MessageInitShape<typeof PlatePlanSchema>

/**
 * Site 1 closed with both images done; of site 2 one image is in back-off and the other has not come.
 * The plate is E1/P1/a1, or that of another name; its plan may differ, and it may go beside others
 * into a task.
 */
export function exampleTask(
  plate = plateKey,
  differs: Pick<Partial<typeof plan>, 'wells' | 'channels'> = {},
  task = emptyTask('test', pipeline),
): Task {
  const well = `${plate}/B07/t0`
  task.plans.touch(plate, create(PlatePlanSchema, { ...plan, ...differs }))
  Object.assign(task.plates.open(plate), {
    members: Uint8Array.of(1),
    firstArrivalMs: noon,
    lastArrivalMs: noon + 3_000,
    arrived: 3,
    done: 2,
    seen: ['B07/t0'],
  })
  Object.assign(task.wells.open(well), {
    members: Uint8Array.of(2, 1),
    lastArrivalMs: noon + 3_000,
    arrived: 3,
    done: 2,
    seen: [1, 2],
  })
  const { DONE, BACKOFF } = RunState
  const chain = (atMs: number): StepRun[] => [run(0, atMs, DONE), run(1, atMs + 1_100, DONE)]
  const siteOne = task.sites.open(`${well}/s1`)
  siteOne.images.push(imageAt('DNA', 0, chain(0)), imageAt('ER', 500, chain(500)))
  siteOne.runs.push(run(2, 2_700, DONE))
  siteOne.lastArrivalMs = noon + 500
  siteOne.close = create(CloseSchema, {
    revision: 1,
    closedBy: 1,
    atMs: noon + 2_700,
    done: 2,
    expected: 2,
  })
  const siteTwo = task.sites.open(`${well}/s2`)
  siteTwo.images.push(imageAt('DNA', 3_000, [run(0, 3_000, BACKOFF), run(1, 0, 0)], 2))
  siteTwo.lastArrivalMs = noon + 3_000
  return task
}
