import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { timestampFromMs } from '@bufbuild/protobuf/wkt'
import { GetPlateResponseSchema } from '#proto/wellspring/control/v1/control_pb.ts'
import {
  ClosedBy,
  EntityStatusSchema,
  HoleSchema,
  Verdict,
  type Hole,
} from '#proto/wellspring/record/v1/output_pb.ts'
import { holeLines, plateText, platesText } from '../../cli/plates.ts'

const LOOK = { colour: false, utf8: true } as const
const PLATE = 'E/P1/a1'

const hole = (entity: string, reason: string, step = ''): Hole =>
  create(HoleSchema, { entity: `${PLATE}/${entity}`, reason, step })

test('holes are named by cause, and a group whose members are listed is not listed itself', () => {
  const holes = [
    hole('B02/t0', 'INPUT_MISSING'),
    hole('B02/t0/s1', 'INPUT_MISSING'),
    hole('B02/t0/s1/z0/DNA', 'TRUNCATED', 'image-quality'),
    hole('B03/t0/s2', 'NEVER_ARRIVED'),
    hole('B04/t0/s1', 'NEVER_ARRIVED'),
  ]
  assert.deepEqual(holeLines(holes, PLATE), [
    'hole  TRUNCATED at image-quality  1',
    '      B02/t0/s1/z0/DNA',
    'hole  NEVER_ARRIVED  2',
    '      B03/t0/s2',
    '      B04/t0/s1',
  ])
})

test('a long list of one cause is cut, with its number', () => {
  const holes = Array.from({ length: 20 }, (_, at) => hole(`A01/t0/s${at}`, 'NEVER_ARRIVED'))
  const lines = holeLines(holes, PLATE)
  assert.equal(lines[0], 'hole  NEVER_ARRIVED  20')
  assert.equal(lines.at(-1), '      … and 12 more (-o json lists them)')
})

test('a stopped plate: that it is, why, and what goes on with it', () => {
  const status = create(EntityStatusSchema, {
    entity: PLATE,
    arrived: 3,
    parked: 1,
    stopped: { reason: 'STATE_TOO_LARGE', message: 'a record is too large; redrive it' },
  })
  const text = plateText(create(GetPlateResponseSchema, { status }), LOOK)
  assert.match(text, /^E\/P1\/a1 {2}STOPPED, open\n/)
  assert.match(text, /^stopped: STATE_TOO_LARGE: a record is too large; redrive it$/m)
  assert.match(text, /^next: npx wellspring redrive E\/P1\/a1$/m)
  assert.match(platesText([status]), /STOPPED, open/)
  const given = create(EntityStatusSchema, { ...status, retiredAt: timestampFromMs(1) })
  assert.match(platesText([given]), /STOPPED, open, retired/)
})

test('a closed plate: how it closed, its verdict, and what to type next', () => {
  const status = {
    entity: PLATE,
    expected: 4,
    arrived: 3,
    done: 3,
    missing: 1,
    closedBy: ClosedBy.DEADLINE,
    revision: 2,
    verdict: Verdict.WARN,
    objects: 120,
  }
  const holes = [hole('B03/t0/s2', 'NEVER_ARRIVED')]
  const text = plateText(create(GetPlateResponseSchema, { status, holes }), LOOK)
  assert.match(text, /^E\/P1\/a1 {2}closed by deadline, revision 2\n/)
  assert.match(text, /arrived 3 \(75\.0%\) .* missing 1 .* nuclei 120/)
  assert.match(text, /^verdict {2}WARN$/m)
  assert.match(text, /^next: npx wellspring why E\/P1\/a1\/B03\/t0\/s2$/m)
  const parked = create(GetPlateResponseSchema, { status: { ...status, parked: 1 }, holes })
  assert.match(plateText(parked, LOOK), /next: npx wellspring dead-letters E\/P1\/a1$/)
})

test('wells of several time points are drawn one time point at a time', () => {
  const wells = [0, 1].map((time) => ({ well: 'A01', status: { entity: `${PLATE}/A01/t${time}` } }))
  const text = plateText(create(GetPlateResponseSchema, { wells }), LOOK, 1)
  assert.match(text, /time point 1 of 0, 1 \(--time-point shows another\)/)
})
