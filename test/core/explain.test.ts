import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ExplainResponse } from '#proto/wellspring/control/v1/control_pb.ts'
import { RunState } from '#proto/wellspring/journal/v1/state_pb.ts'
import { ClosedBy } from '#proto/wellspring/record/v1/output_pb.ts'
import { explain } from '../../coordinator/core/view/explain.ts'
import { traceId } from '../../coordinator/core/keys.ts'
import type { Task } from '../../coordinator/core/state.ts'
import { exampleTask, imageAt, noon, plateKey, run } from '../control/plate.ts'

const well = `${plateKey}/B07/t0`
const now = noon + 18_000

test('a done image: its path, its file, its trace, its time', () => {
  const key = `${well}/s1/z0/DNA`
  const why = explained(exampleTask(), key)
  assert.equal(why.state, 'DONE')
  assert.equal(why.uri, 'file:///data/P1/B07_s1_DNA.tif')
  assert.equal(why.traceId, traceId('test', key, 1))
  assert.equal(why.next, 'nothing: done')
  assert.deepEqual(times(why), { wall: 2200, work: 2000, queue: 200, backoff: 0, siblings: 0 })
  assert.deepEqual(why.notes, [`site ${well}/s1 closed by all, revision 1, 2 of 2 members done`])
})

test('an image in back-off: the next attempt, why, and the time so far', () => {
  const why = explained(exampleTask(), `${well}/s2/z0/DNA`)
  assert.equal(why.state, 'BACKOFF')
  assert.equal(why.next, 'attempt 3 of first at 12:00:19 UTC (back-off after RETRYABLE NOT_YET)')
  assert.deepEqual(times(why), {
    wall: 15_000,
    work: 2000,
    queue: 100,
    backoff: 12_900,
    siblings: 0,
  })
  const failures = why.runs.flatMap((run) => run.failure ?? [])
  assert.deepEqual(
    failures.map(({ reason, message, hint }) => [reason, message, hint]),
    [['NOT_YET', 'asked to fail for now', 'wait']],
  )
  assert.deepEqual(why.notes, [`site ${well}/s2 is open`])
})

test('an image that has not come is waited for, then given up', () => {
  const task = exampleTask()
  const key = `${well}/s2/z0/ER`
  const waiting = explained(task, key)
  assert.deepEqual([waiting.state, waiting.time, waiting.uri], ['WAITING', undefined, ''])
  assert.equal(
    waiting.next,
    `waits for it to arrive; site ${well}/s2 closes by quorum at 12:01:03 UTC if nothing arrives`,
  )
  task.sites.open(`${well}/s2`).expiredBy = ClosedBy.QUORUM
  assert.equal(explained(task, key).state, 'HOLE')
})

test('a parked image says how to go on', () => {
  const task = exampleTask()
  const key = `${well}/s2/z0/DNA`
  task.sites.open(`${well}/s2`).images[0]?.runs.splice(0, 1, run(0, 3_000, RunState.PARKED))
  const why = explained(task, key)
  assert.equal(why.state, 'PARKED')
  assert.equal(why.next, `nothing by itself; redrive with: npx wellspring redrive ${key}`)
  assert.equal(times(why).wall, 6000, 'ends when it was parked')
})

test('a redriven image counts its time from the redrive', () => {
  const task = exampleTask()
  const again = run(0, 9_000, RunState.RUNNING, { generation: 2 })
  task.sites.open(`${well}/s2`).images[0]?.runs.splice(0, 1, again)
  const why = explained(task, `${well}/s2/z0/DNA`)
  assert.equal(why.next, 'attempt 1 of first is under way since 12:00:09 UTC')
  assert.deepEqual(times(why), { wall: 9000, work: 9000, queue: 0, backoff: 0, siblings: 0 })
  assert.equal(why.traceId, traceId('test', `${well}/s2/z0/DNA`, 2))
  assert.match(why.notes[0] ?? '', /redriven 1 times/)
})

test('a site: closed and done, or open and waiting for what', () => {
  const task = exampleTask()
  const closed = explained(task, `${well}/s1`)
  assert.equal(closed.state, 'DONE')
  assert.deepEqual(times(closed), {
    wall: 3800,
    work: 1000,
    queue: 100,
    backoff: 0,
    siblings: 2700,
  })
  assert.deepEqual(closed.notes, ['closed by all, revision 1, 2 of 2 members done'])

  const open = explained(task, `${well}/s2`)
  assert.equal(open.state, 'OPEN')
  assert.equal(
    open.next,
    'waits for 1 image of site s2: z0/ER; waits for 1 image in work: z0/DNA (BACKOFF); ' +
      'closes by quorum at 12:01:03 UTC if nothing arrives',
  )
  assert.deepEqual(times(open), { wall: 15_000, work: 0, queue: 0, backoff: 0, siblings: 15_000 })
})

test('a site without quorum closes by deadline; on another day the sentence says so', () => {
  const channels = ['DNA', 'ER', 'AGP', 'Mito'].map((name) => ({ name }))
  const shaped = exampleTask(plateKey, { channels })
  const why = explained(shaped, `${well}/s2`)
  assert.match(
    why.next,
    /3 images of site s2: z0\/ER, z0\/AGP, z0\/Mito;.*deadline at 12:10:03 UTC if/,
  )
  const late = explain(shaped, `${well}/s2/z0/ER`, noon - 86_400_000)
  assert.match(late?.next ?? '', /12:10:03 UTC in 1 day if/)
})

test('wells and plates wait for their members by name', () => {
  const task = exampleTask()
  assert.equal(explained(task, well).next, 'waits for 1 site in work: s2 (OPEN)')
  assert.equal(explained(task, plateKey).next, 'waits for 1 well in work: B07/t0 (OPEN)')
  assert.equal(times(explained(task, plateKey)).wall, 18_000)
})

test('before its plan a plate waits for it, and images are known by what came', () => {
  const task = exampleTask()
  const orphan = 'E1/P9/a1'
  task.plates.open(orphan).seen = ['A01/t0']
  task.wells.open(`${orphan}/A01/t0`).seen = [1]
  task.sites.open(`${orphan}/A01/t0/s1`).images.push(imageAt('DNA', 0, [run(0, 0, RunState.DONE)]))
  assert.match(explained(task, orphan).next, /^waits for the plan of plate E1\/P9\/a1/)
  assert.equal(explained(task, `${orphan}/A01/t0/s1/z0/DNA`).state, 'WAITING')
})

test('what is neither known nor planned is not explained', () => {
  const task = exampleTask()
  for (const key of [`${well}/s3`, `${well}/s2/z1/DNA`, `${plateKey}/C01/t0`, 'E1/P2/a1'])
    assert.equal(explain(task, key, now), undefined, key)
  assert.throws(() => explain(task, 'P1', now), /is no entity key/)
})

test('the parts of the time sum to the wall time, whatever overlaps', () => {
  for (let seed = 1; seed <= 300; seed++) {
    const task = exampleTask()
    let state = seed
    const dice = (): number => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647
    const states = [RunState.DONE, RunState.RUNNING, RunState.BACKOFF, RunState.PARKED]
    const runs = [0, 1].map((step) =>
      run(step, Math.floor(dice() * 9_000), states[Math.floor(dice() * 4)] ?? RunState.DONE),
    )
    const [image] = task.sites.open(`${well}/s2`).images
    assert.ok(image)
    image.runs = runs
    image.arrivedMs = noon
    for (const key of [`${well}/s2/z0/DNA`, `${well}/s2`, `${well}/s1`, well]) {
      const { wall, ...parts } = times(explained(task, key))
      const sum = Object.values(parts).reduce((total, part) => total + part, 0)
      assert.equal(sum, wall, `seed ${seed}, ${key}`)
    }
  }
})

function explained(task: Task, key: string): ExplainResponse {
  const why = explain(task, key, now)
  assert.ok(why, `${key} is not explained`)
  return why
}

function times({ time }: ExplainResponse) {
  assert.ok(time)
  const { wallMs, workMs, queueMs, backoffMs, siblingsMs } = time
  return { wall: wallMs, work: workMs, queue: queueMs, backoff: backoffMs, siblings: siblingsMs }
}
