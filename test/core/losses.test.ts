// Input that a person has let go marks the plates that may lack some of it, some at a time, and no others.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { CloseSchema, RetiredSchema } from '#proto/wellspring/journal/v1/state_pb.ts'
import { CommandSchema } from '#proto/wellspring/record/v1/input_pb.ts'
import { ClosedBy } from '#proto/wellspring/record/v1/output_pb.ts'
import { decide } from '../../coordinator/core/decide.ts'
import type { Effect, Event } from '../../coordinator/core/event.ts'
import { loseInput } from '../../coordinator/core/losses.ts'
import { restored } from '../../coordinator/core/restore.ts'
import { emptyTask, type Task } from '../../coordinator/core/state.ts'
import { plateStatus } from '../../coordinator/core/view/view.ts'
import { noon, pipeline } from '../control/plate.ts'

const dice = (): number => 0.5
const lost = { topic: 'images.v1', task: 2, from: 10, to: 14, noticedMs: noon - 5_000 }
const command = create(CommandSchema, { id: 'c1', author: 'ada', reason: 'gone' })
const until = { 'images.v1': 20, 'commands.v1': 3 }

function taskOf(plates: readonly string[], recordsPerEvent = 2): Task {
  const task = emptyTask('test', pipeline, { retireAfterMs: Infinity, recordsPerEvent })
  for (const plate of plates) task.plates.open(plate)
  return task
}

const marked = (task: Task): string[] =>
  [...task.plates.keys()].filter((key) => task.plates.get(key)?.inputLoss).toSorted()

const timersOf = (effects: readonly Effect[]): string[] =>
  effects.flatMap((one) => (one.kind === 'timer' ? [one.entity] : []))

const timer = (entity: string): Event => ({ kind: 'timer', entity, completeness: false })

test('plates are marked some at a time, over take-overs too, and a dead letter tells the loss', () => {
  const all = ['E/A/a1', 'E/B/a1', 'E/C/a1', 'E/D/a1', 'E/E/a1']
  const task = taskOf(all)
  const effects = loseInput(task, { lost, command, until }, noon)
  assert.deepEqual([marked(task), timersOf(effects)], [['E/A/a1', 'E/B/a1'], ['E/C/a1']])
  assert.deepEqual(
    effects.flatMap((one) => (one.kind === 'output' ? [`${one.topic} ${one.key}`] : [])),
    ['dead-letters.v1 images.v1/2/10'],
  )
  assert.equal(task.losses[0]?.unmarkedFrom, 'E/C/a1', 'the checkpoint says where it goes on')
  assert.deepEqual(timersOf(restored(task, noon, dice)), ['E/E/a1'])
  assert.deepEqual(marked(task), all.slice(0, 4))
  decide(task, timer('E/E/a1'), noon, dice)
  assert.deepEqual([marked(task), task.losses[0]?.unmarkedFrom], [all, ''])
  const { inputLoss } = plateStatus(task, 'E/C/a1', noon)
  assert.deepEqual([inputLoss?.records, inputLoss?.acceptedBy], [4, 'ada'])
})

test('a plate that has all its images lacks none, one that is retired takes none; commands may be of any', () => {
  const task = taskOf(['E/closed/a1', 'E/open/a1', 'E/part/a1', 'E/retired/a1'], 100)
  const close = (plate: string, closedBy: ClosedBy): void => {
    const state = task.plates.open(plate)
    state.close = create(CloseSchema, { revision: 1, closedBy })
  }
  close('E/closed/a1', ClosedBy.ALL)
  close('E/part/a1', ClosedBy.DEADLINE)
  task.plates.open('E/retired/a1').retired = create(RetiredSchema, { atMs: noon })
  loseInput(task, { lost, command, until }, noon)
  assert.deepEqual(marked(task), ['E/open/a1', 'E/part/a1'])
  loseInput(task, { lost: { ...lost, topic: 'commands.v1' }, command, until }, noon + 1)
  assert.deepEqual(marked(task), ['E/closed/a1', 'E/open/a1', 'E/part/a1'])
  assert.equal(task.plates.get('E/open/a1')?.inputLoss?.records, 8, 'what was lost adds up')
})

test('of what is accepted twice, or never was lost, nothing is passed over', () => {
  const task = taskOf([])
  loseInput(task, { lost, command, until }, noon)
  const accept = (from: number, partition = 2): Event => ({
    kind: 'command',
    command: create(CommandSchema, {
      action: { case: 'acceptLoss', value: { topic: 'images.v1', partition, from, to: 14 } },
    }),
    at: { topic: 'commands.v1', partition: 2, offset: 3, key: '' },
    bytes: new Uint8Array(),
  })
  assert.deepEqual(decide(task, accept(10), noon, dice), [], 'done by then')
  for (const wrong of [accept(9), accept(10, 1)])
    assert.equal(decide(task, wrong, noon, dice)[0]?.kind, 'output', 'set aside')
  assert.equal(task.losses.length, 1)
})

test('the last sixteen losses are remembered', () => {
  const task = taskOf([])
  for (let count = 0; count < 20; count += 1)
    loseInput(task, { lost: { ...lost, from: count }, command, until }, noon)
  assert.deepEqual([task.losses.length, task.losses[0]?.from, task.losses[15]?.from], [16, 4, 19])
})
