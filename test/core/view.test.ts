import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create, toBinary, toJson } from '@bufbuild/protobuf'
import { anyUnpack, timestampFromMs } from '@bufbuild/protobuf/wkt'
import { RunState } from '#proto/wellspring/journal/v1/state_pb.ts'
import { PlatePlanSchema } from '#proto/wellspring/lab/v1/plan_pb.ts'
import { ClosedBy, EntityStatusSchema, Verdict } from '#proto/wellspring/record/v1/output_pb.ts'
import {
  SegmentNucleiResponseSchema,
  SegmentNucleiService,
} from '#proto/wellspring/steps/nuclei/v1/segment_nuclei_pb.ts'
import { EchoImageResponseSchema } from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import { loadPipeline } from '../../coordinator/core/pipeline/check.ts'
import { channelImage, step } from '../../coordinator/core/pipeline/pipeline.ts'
import { emptyTask } from '../../coordinator/core/state.ts'
import {
  plateStatus,
  plateView,
  runViews,
  wellStatus,
  wellView,
} from '../../coordinator/core/view/view.ts'
import { exampleTask, noon, plan, plateKey, run } from '../control/plate.ts'

const wellKey = `${plateKey}/B07/t0`
const now = noon + 20_000

test('a plate says what is expected and what came, and when', () => {
  const status = plateStatus(exampleTask(), plateKey, now)
  const expected = create(EntityStatusSchema, {
    entity: plateKey,
    level: 4,
    pipeline: 'echo-1',
    expected: 4,
    arrived: 3,
    done: 2,
    failed: 0,
    missing: 0,
    duplicate: 0,
    parked: 0,
    closedBy: ClosedBy.UNSPECIFIED,
    revision: 0,
    verdict: Verdict.UNSPECIFIED,
    at: timestampFromMs(now),
    firstArrivalAt: timestampFromMs(noon),
    objects: 0,
  })
  assert.deepEqual(toJson(EntityStatusSchema, status), toJson(EntityStatusSchema, expected))
})

test('a plate without a plan expects nothing yet; a well without state has only what is expected of it', () => {
  const task = exampleTask()
  assert.equal(plateStatus(emptyTask('test', task.pipeline), plateKey, now).expected, 0)
  const status = wellStatus(exampleTask('E1/P2/a1'), 'E1/P2/a1/B07/t0', now)
  assert.deepEqual([status.expected, status.arrived, status.done], [4, 3, 2])
})

test('a well is as good as the worst of its images, sites and itself', () => {
  const task = exampleTask()
  const worst = (): Verdict => wellView(task, wellKey, now).worst
  assert.equal(worst(), Verdict.UNSPECIFIED)
  const site = task.sites.open(`${wellKey}/s1`)
  const [image] = site.images
  const [siteRun] = site.runs
  assert.ok(image?.runs[1] && siteRun)
  siteRun.verdict = Verdict.PASS
  assert.equal(worst(), Verdict.PASS)
  image.runs[1].verdict = Verdict.FAIL
  assert.equal(worst(), Verdict.FAIL)
})

test('parked step runs below a well are counted', () => {
  const task = exampleTask()
  const image = task.sites.open(`${wellKey}/s2`).images[0]
  assert.ok(image)
  image.runs[0] = run(0, 3_000, RunState.PARKED)
  assert.equal(wellStatus(task, wellKey, now).parked, 1)
})

test('a plate lists its wells in the order of the plan, and every hole once at its highest level', () => {
  const task = exampleTask()
  task.plans
    .open(plateKey)
    .wells.unshift({ ...task.plans.open(plateKey).wells[0], well: 'C01' } as never)
  Object.assign(task.plates.open(plateKey), {
    members: Uint8Array.of(3, 1),
    expiredBy: ClosedBy.DEADLINE,
  })
  const siteTwo = task.sites.open(`${wellKey}/s2`)
  siteTwo.expiredBy = ClosedBy.QUORUM
  const [image] = siteTwo.images
  assert.ok(image)
  image.runs = [run(0, 3_000, RunState.PARKED), run(1, 0, RunState.SKIPPED)]
  const view = plateView(task, plateKey, now)
  assert.deepEqual(
    view.wells.map(({ well, status }) => [well, status?.arrived]),
    [
      ['C01', 0],
      ['B07', 3],
    ],
  )
  assert.deepEqual(
    view.holes.map(({ entity, reason, step }) => [entity, reason, step]),
    [
      [`${plateKey}/C01/t0`, 'NEVER_ARRIVED', ''],
      [`${wellKey}/s2/z0/DNA`, 'NOT_YET', 'first'],
      [`${wellKey}/s2/z0/ER`, 'NEVER_ARRIVED', ''],
    ],
  )
})

test('an image that is late is no hole while its site still waits for it', () => {
  assert.deepEqual(plateView(exampleTask(), plateKey, now).holes, [])
})

test('a run shows its attempts, when it is tried again, and its output by its type', () => {
  const task = exampleTask()
  const digest = 'd'.repeat(64)
  const image = task.sites.open(`${wellKey}/s1`).images[0]
  assert.ok(image?.runs[0])
  image.runs[0].output = toBinary(
    EchoImageResponseSchema,
    create(EchoImageResponseSchema, { digest }),
  )
  const [done] = runViews(task, `${wellKey}/s1/z0/DNA`, now)
  assert.ok(done?.output)
  assert.equal(anyUnpack(done.output, EchoImageResponseSchema)?.digest, digest)
  assert.deepEqual(
    [done.state, done.attempts[0]?.queueMs, done.attempts[0]?.workMs],
    ['DONE', 100, 1000],
  )

  const [backoff, waiting] = runViews(task, `${wellKey}/s2/z0/DNA`, now)
  assert.deepEqual(backoff?.dueAt, timestampFromMs(noon + 19_000))
  assert.deepEqual(
    backoff?.attempts.map(({ number, failure }) => [number, failure?.reason]),
    [
      [1, 'NOT_YET'],
      [2, 'NOT_YET'],
    ],
  )
  assert.deepEqual([waiting?.state, waiting?.output], ['WAITING', undefined])
})

test('an attempt under way works so far', () => {
  const task = exampleTask()
  task.sites.open(`${wellKey}/s2`).images[0]?.runs.splice(0, 1, run(0, 3_000, RunState.RUNNING))
  const [running] = runViews(task, `${wellKey}/s2/z0/DNA`, now)
  assert.equal(running?.attempts[0]?.workMs, 17_000)
})

test('nuclei are summed over the sites that counted them', () => {
  const counting = step('segment', SegmentNucleiService.method.segmentNuclei, {
    nucleiImage: channelImage(1),
  })
  const bands = { name: 'none', version: 1, rules: [] }
  const pipeline = loadPipeline({ name: 'count', version: 1, steps: [counting], bands })
  const task = emptyTask('test', pipeline)
  task.plans.touch(plateKey, create(PlatePlanSchema, plan))
  task.plates.open(plateKey)
  task.wells.open(wellKey)
  for (const [index, nucleiCount] of [7, 35].entries()) {
    const response = create(SegmentNucleiResponseSchema, { nucleiCount })
    const output = toBinary(SegmentNucleiResponseSchema, response)
    task.sites.open(`${wellKey}/s${index + 1}`).runs.push(run(0, 0, RunState.DONE, { output }))
  }
  assert.equal(wellView(task, wellKey, now).value, 42)
  assert.equal(plateStatus(task, plateKey, now).objects, 42)
})
