import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create, type MessageInitShape } from '@bufbuild/protobuf'
import { timestampFromMs } from '@bufbuild/protobuf/wkt'
import { EntityStatusSchema } from '#proto/wellspring/record/v1/output_pb.ts'
import { openLedger } from '../../cli/ledger.ts'
import { meantOf, redriveOf, redriveText } from '../../cli/redrive.ts'
import { isWithin, parkedRuns, stoppedPlates } from '../../cli/selection.ts'
import { parseWhere } from '../../cli/where.ts'
import { deadLettersText } from '../../cli/dead-letters.ts'
import { deadLetter, IMAGE, PLATE, plan, refused, result, SITE, stopped, WELL } from './records.ts'

function ledgerOf(...records: Parameters<ReturnType<typeof openLedger>['add']>[0][]) {
  const ledger = openLedger()
  for (const record of records) ledger.add(record)
  return ledger
}

const parked = ledgerOf(
  deadLetter(IMAGE, 'check'),
  deadLetter(SITE, 'count'),
  deadLetter('E/P2/a1/B02/t0', 'profile'),
  deadLetter(WELL, 'profile'),
  result(WELL, 'profile', { generation: 2 }),
)

const picks: readonly [string, string, string[]][] = [
  ['', '', [`${IMAGE}/check`, `${SITE}/count`, 'E/P2/a1/B02/t0/profile']],
  [PLATE, '', [`${IMAGE}/check`, `${SITE}/count`]],
  ['P2', '', ['E/P2/a1/B02/t0/profile']],
  ['', 'step=count', [`${SITE}/count`]],
  ['', 'step=check && reason=TRUNCATED', [`${IMAGE}/check`]],
  ['', 'level=well', ['E/P2/a1/B02/t0/profile']],
  ['', 'plate=P1,well=B02,class=POISON', [`${IMAGE}/check`, `${SITE}/count`]],
  ['', 'reason=OTHER', []],
]
for (const [within, where, expected] of picks)
  test(`parked at "${within}" where "${where}"`, () => {
    const found = parkedRuns(parked, within, where === '' ? new Map() : parseWhere(where))
    assert.deepEqual(
      found.map(({ entity, step }) => `${entity}/${step}`),
      expected,
    )
  })

for (const wrong of ['step', 'step=', 'colour=red', ''])
  test(`--where "${wrong}" is a mistake of use`, () => {
    assert.throws(() => parseWhere(wrong), { exit: 2 })
  })

test('a part of an entity names whole segments only', () => {
  assert.equal(isWithin('E/P1/a1/B02', 'P1/a1'), true)
  assert.equal(isWithin('E/P11/a1', 'P1'), false)
  assert.equal(isWithin('E/P1/a1', '/E/P1/'), true)
})

test('a redrive names the run and its reason, and says what it does', () => {
  const meant = parkedRuns(parked, SITE, parseWhere('step=count'))
  const [run] = meant
  assert.ok(run)
  const command = redriveOf(run, 'lamp replaced')
  assert.equal(command.reason, 'lamp replaced')
  assert.deepEqual(
    command.action.case === 'redrive' && [command.action.value.entity, command.action.value.step],
    [SITE, 'count'],
  )
  assert.equal(
    redriveText(meant.map(meantOf), 'would redrive'),
    `would redrive 1 step run of 1 plate\n  ${SITE}/count  generation 1 -> 2  TRUNCATED`,
  )
})

test('a stopped plate is redriven whole, as long as it is stopped', () => {
  const status = (entity: string, fields: MessageInitShape<typeof EntityStatusSchema> = {}) =>
    [entity, create(EntityStatusSchema, { entity, ...fields })] as const
  const stopped = { reason: 'STATE_TOO_LARGE', message: 'too large' }
  const statuses = new Map([
    status('E/P1/a1', { stopped }),
    status('E/P2/a1'),
    status('E/P3/a1', { stopped }),
    status('E/P4/a1', { stopped, retiredAt: timestampFromMs(1) }),
  ])
  assert.deepEqual(
    stoppedPlates(statuses, 'E').map(({ entity }) => entity),
    ['E/P1/a1', 'E/P3/a1'],
  )
  const [plate] = stoppedPlates(statuses, 'P3')
  assert.ok(plate)
  const meant = { ...plate, step: '', says: `stopped: ${plate.reason}` }
  assert.deepEqual(redriveOf(meant, '').action.value, {
    $typeName: 'wellspring.record.v1.Redrive',
    entity: 'E/P3/a1',
    step: '',
  })
  const [run] = parkedRuns(parked, SITE, parseWhere('step=count'))
  assert.ok(run)
  assert.equal(
    redriveText([meant, meantOf(run)], 'redriven'),
    `redriven 1 step run and 1 stopped plate of 2 plates\n  E/P3/a1  stopped: STATE_TOO_LARGE\n` +
      `  ${SITE}/count  generation 1 -> 2  TRUNCATED`,
  )
})

test('a stopped plate and what was set aside for it are told apart', () => {
  const ledger = ledgerOf(stopped('E/P1/a1'), refused(plan()))
  const text = deadLettersText([...ledger.stopped.values(), ...ledger.refusedInputs], '')
  assert.match(text, /^plate {2}PERMANENT PLATE_STOPPED {2}1\n {2}hint {2}npx wellspring redrive\n/)
  assert.match(text, /E\/P1\/a1 .* STATE_TOO_LARGE: a record is too large/)
  assert.match(text, /^not taken in {2}PERMANENT PLAN_CONFLICT {2}1$/m)
})

test('dead letters are grouped by step and reason, with the next command', () => {
  const text = deadLettersText(
    parkedRuns(parked, '', new Map()).map((run) => run.deadLetter),
    '',
  )
  assert.match(text, /^check {2}POISON TRUNCATED {2}1\n/)
  assert.match(text, /next {2}npx wellspring redrive --where step=count,reason=TRUNCATED --dry-run/)
  assert.equal(deadLettersText([], ''), 'nothing is parked')
})
