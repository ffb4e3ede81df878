import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create, toBinary } from '@bufbuild/protobuf'
import {
  EntityStatusSchema,
  LevelClosedSchema,
  ClosedBy,
} from '#proto/wellspring/record/v1/output_pb.ts'
import type { LogRecord } from '@wellspring/kafka/records.ts'
import { planDemo } from '../../dev/demo.ts'
import { judgeFaults } from '../../dev/faults.ts'
import { apply, emptyObserved } from '../../dev/observe.ts'
import { picture } from '../../dev/screen.ts'
import { complaints, summarisePlates, type Summary } from '../../dev/summary.ts'

const demo = planDemo('seed', 'exp', 'image-quality')
const [plate = ''] = demo.plans.map((plan) => `exp/${plan.plate}/a1`)

function record(key: string, type: string, value: Uint8Array): LogRecord {
  const headers = { 'wellspring-type': type }
  const where = { topic: 'results.v1', partition: 0, offset: 0 } as const
  return { ...where, key: Buffer.from(key), value: Buffer.from(value), headers }
}

function close(revision: number, reason: string): LogRecord {
  const entity = plate
  const holes = [
    { entity: `${plate}/B02/t0/s1/z0/DNA`, reason },
    { entity: `${plate}/B02/t0`, reason },
  ]
  const message = create(LevelClosedSchema, { entity, revision, holes, closedBy: ClosedBy.QUORUM })
  const value = toBinary(LevelClosedSchema, message)
  return record(`${entity}/close@p#${revision}`, LevelClosedSchema.typeName, value)
}

test('nothing on the topics: no fault counts as handled, and everything is complained about', () => {
  const seen = emptyObserved()
  const faults = judgeFaults({ demo, seen, restarts: [], copyFailures: [] })
  assert.equal(faults.length, 7)
  assert.deepEqual(
    faults.filter(({ ok }) => ok),
    [],
  )
  const summary: Summary = {
    experiment: 'exp',
    seed: 'seed',
    seconds: 1,
    plates: summarisePlates(demo, seen),
    audit: { missing: 0, duplicate: 2, unplanned: 0 },
    faults,
    restarts: [],
  }
  // Two plates open and without nuclei, seven faults, one audit.
  assert.equal(complaints(summary).length, 2 * 2 + 7 + 1)
})

test('the latest close counts, and what lies below a hole is not listed again', () => {
  const seen = emptyObserved()
  assert.ok(apply(seen, 'exp', close(2, 'NEVER_ARRIVED')))
  assert.ok(apply(seen, 'exp', close(1, 'OLD')))
  assert.ok(!apply(seen, 'ex', close(3, 'OTHER_EXPERIMENT')))
  const [summary] = summarisePlates(demo, seen)
  assert.equal(summary?.closedBy, 'QUORUM')
  assert.equal(summary.revision, 2)
  assert.deepEqual(summary.holes, [
    { entity: `${plate}/B02/t0`, reason: 'NEVER_ARRIVED', step: '' },
  ])
})

test('no line of the live picture is wider than the terminal', () => {
  const status = create(EntityStatusSchema, {
    expected: 96,
    arrived: 90,
    done: 60,
    failed: 3,
    missing: 4,
    closedBy: ClosedBy.QUORUM,
  })
  const view = {
    elapsedMs: 1_000,
    plates: [
      { name: 'P1', status },
      { name: 'P2', status: undefined },
    ],
    services: ['kafka', 'coordinator', 'image-quality', 'segment-nuclei', 'well-profile'].map(
      (name, i) => ({ name, up: i !== 2 }),
    ),
    firstVerdict: { afterMs: 1_900, toBeImaged: 0.97 },
  }
  for (const columns of [76, 99, 100, 140]) {
    const lines = picture(view, { colour: false, utf8: true }, columns)
    assert.ok(
      lines.every(({ length }) => length <= columns),
      lines.join('\n'),
    )
    assert.ok(lines.includes('first verdict after 1.9 s, while 97 % is still to be imaged'))
    assert.ok(lines.some((line) => line.includes('↻ image-quality (starting)')))
    if (columns === 140) assert.match(lines[0] ?? '', /█+✗▒+◌/)
  }
})
