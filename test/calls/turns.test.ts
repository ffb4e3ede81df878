import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { openTurns } from '../../coordinator/calls/turns.ts'

test('in order, never within the call, so many in a turn, the rest in the next', async () => {
  const turns = openTurns(2)
  const ran: number[] = []
  for (const number of [1, 2, 3, 4, 5]) turns(() => ran.push(number))
  assert.deepEqual(ran, [])
  await nextTurn()
  assert.deepEqual(ran, [1, 2])
  await nextTurn()
  assert.deepEqual(ran, [1, 2, 3, 4])
  await nextTurn()
  assert.deepEqual(ran, [1, 2, 3, 4, 5])
})

test('what is given meanwhile waits for its turn, also after a rest', async () => {
  const turns = openTurns(2)
  const ran: string[] = []
  const inner = (): void => void ran.push('inner')
  turns(() => turns(inner))
  await nextTurn()
  assert.equal(ran.length, 0)
  await nextTurn()
  assert.deepEqual(ran, ['inner'])
  turns(() => ran.push('later'))
  await nextTurn()
  assert.deepEqual(ran, ['inner', 'later'])
})
