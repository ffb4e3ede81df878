import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { timestampFromMs } from '@bufbuild/protobuf/wkt'
import { TaskStatusSchema, type TaskStatus } from '#proto/wellspring/control/v1/control_pb.ts'
import { EntityStatusSchema } from '#proto/wellspring/record/v1/output_pb.ts'
import { CliError } from '../../cli/exit.ts'
import { plateWord } from '../../cli/states.ts'
import { lossAt, tasksText } from '../../cli/tasks.ts'

const NOON = Date.UTC(2026, 2, 4, 12)
const lost = { topic: 'images.v1', partition: 1, reason: 'INPUT_LOST', from: 4, to: 8, records: 4 }

const all: TaskStatus[] = [
  create(TaskStatusSchema, {
    task: 0,
    state: 'RUNNING',
    owner: 'c0',
    since: timestampFromMs(NOON),
    inputs: [
      { topic: 'images.v1', next: 90, low: 0, high: 100, retentionLeftMs: 3_600_000 },
      { topic: 'commands.v1', next: 2, low: 0, high: 2 },
    ],
    accepted: [
      {
        ...lost,
        partition: 0,
        acceptedAt: timestampFromMs(NOON),
        acceptedBy: 'ada',
        acceptedBecause: 'full',
      },
    ],
  }),
  create(TaskStatusSchema, {
    task: 1,
    state: 'DOWN',
    reason: 'INPUT_LOST',
    message: '4 records of images.v1/1 were deleted before they were read: 4 to 8',
    hint: 'npx wellspring tasks --accept-loss images.v1/1 --reason "..."',
    owner: 'c1',
    tries: 3,
    nextTryAt: timestampFromMs(NOON + 10_000),
    lost: [lost],
    inputs: [{ topic: 'images.v1', next: 4, low: 8, high: 8, misfits: ['images.v1 keeps …: cmd'] }],
  }),
  create(TaskStatusSchema, { task: 2, state: 'MOVING', message: 'nobody' }),
]

test('tasks: one a line with what is unread and for how long; then trouble with its way out', () => {
  const lines = tasksText(all).split('\n')
  assert.match(lines[0] ?? '', /^TASK +STATE +OWNER +SINCE +UNREAD IMAGES +COMMANDS +KEPT FOR$/)
  assert.match(lines[1] ?? '', /^ *0 +RUNNING +c0 +2026-03-04T12:00:00 +10 +0 +60 min$/)
  assert.match(lines[2] ?? '', /^ *1 +DOWN INPUT_LOST +c1 +4 +\? +\?$/)
  assert.match(lines[3] ?? '', /^ *2 +MOVING +\? +\? +\?$/)
  const rest = lines.slice(4).join('\n')
  assert.match(rest, /^task 1 {2}INPUT_LOST: 4 records of images\.v1\/1 were deleted/)
  assert.match(rest, /\n {2}next {2}npx wellspring tasks --accept-loss images\.v1\/1/)
  assert.match(rest, /\n {2}tried 3 times since; looked at again 2026-03-04T12:00:10\n/)
  assert.match(
    rest,
    /\ntask 0 {2}lost 4 records of images\.v1\/0, 4 to 8; accepted by ada .*: full\n/,
  )
  assert.match(rest, /\nwarning {2}images\.v1 keeps …: cmd$/)
})

test('what is not lost cannot be accepted as lost', () => {
  assert.equal(lossAt(all, 'images.v1/1', 'wellspring.'), all[1]?.lost[0])
  assert.equal(lossAt(all, 'wellspring.images.v1/1', 'wellspring.'), all[1]?.lost[0])
  const refusals = [
    ['images.v1', 2, /is not images\.v1\/N/],
    ['results.v1/1', 2, /is not images\.v1\/N/],
    ['images.v1/0', 3, /nothing of images\.v1\/0 is lost/],
    ['commands.v1/1', 3, /nothing of commands\.v1\/1 is lost/],
    ['images.v1/9', 3, /no task 9: 3 tasks/],
    ['images.v1/2', 5, /task 2 is MOVING: what it lost is not known/],
  ] as const
  for (const [named, exit, message] of refusals)
    assert.throws(
      () => lossAt(all, named, 'wellspring.'),
      (error) => error instanceof CliError && error.exit === exit && message.test(error.message),
      named,
    )
})

test('a plate that may lack input, and one that stands still, are never just open', () => {
  const word = (init: object): string => plateWord(create(EntityStatusSchema, init))
  assert.equal(word({}), 'open')
  assert.equal(word({ inputLoss: { records: 4 } }), 'open, may lack input')
  assert.equal(word({ taskDown: 'INPUT_LOST' }), 'open, task down: INPUT_LOST')
})
