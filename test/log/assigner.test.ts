import assert from 'node:assert/strict'
import { test } from 'node:test'
import { assignTasks, type Candidate } from '../../coordinator/log/assigner.ts'

function member(memberId: string, owned: number[] = [], generation = 1): Candidate {
  return { memberId, address: memberId, owned, generation }
}

test('every task once, and evenly', () => {
  assert.deepEqual(
    assignTasks([member('a'), member('b'), member('c')], 8),
    new Map([
      ['a', [0, 1, 2]],
      ['b', [3, 4, 5]],
      ['c', [6, 7]],
    ]),
  )
  assert.deepEqual(
    assignTasks([member('a'), member('b')], 1),
    new Map([
      ['a', [0]],
      ['b', []],
    ]),
  )
})

test('the order in which members are listed does not matter', () => {
  const members = [member('a', [1, 5]), member('b', [0, 2, 3]), member('c'), member('d', [4])]
  const once = assignTasks(members, 8)
  for (const shuffled of [members.toReversed(), [...members.slice(2), ...members.slice(0, 2)]]) {
    const again = assignTasks(shuffled, 8)
    for (const { memberId } of members) assert.deepEqual(again.get(memberId), once.get(memberId))
  }
})

test('a third member moves the fewest tasks', () => {
  const assigned = assignTasks(
    [member('a', [0, 2, 4, 6]), member('b', [1, 3, 5, 7]), member('c')],
    8,
  )
  assert.deepEqual(assigned.get('a'), [0, 2, 4])
  assert.deepEqual(assigned.get('b'), [1, 3, 5])
  assert.deepEqual(assigned.get('c'), [6, 7])
})

test('a member that leaves gives its tasks to the others, who keep theirs', () => {
  assert.deepEqual(
    assignTasks([member('a', [0, 2, 4]), member('c', [6, 7])], 8),
    new Map([
      ['a', [0, 1, 2, 4]],
      ['c', [3, 5, 6, 7]],
    ]),
  )
})

test('of two that claim a task the one of the newer generation keeps it', () => {
  const assigned = assignTasks(
    [member('stopped', [0, 1, 2, 3], 3), member('took-over', [0, 1, 2, 3], 5)],
    4,
  )
  assert.deepEqual(assigned.get('took-over'), [0, 1])
  assert.deepEqual(assigned.get('stopped'), [2, 3])
})

test('random histories: complete, disjoint, even, and no task moves without need', () => {
  let seed = 7
  const random = (below: number): number => (seed = (seed * 48271) % 2147483647) % below
  let assigned = new Map<string, number[]>()
  for (let round = 1; round < 500; round++) {
    const names = ['a', 'b', 'c', 'd', 'e'].filter(() => random(3) > 0)
    if (names.length === 0) continue
    const next = assignTasks(
      names.map((name) => member(name, assigned.get(name) ?? [], round)),
      8,
    )
    assert.deepEqual(new Set([...next.values()].flat()).size, 8)
    const sizes = [...next.values()].map((tasks) => tasks.length)
    assert.equal(
      sizes.reduce((sum, one) => sum + one),
      8,
    )
    assert.ok(Math.max(...sizes) - Math.min(...sizes) <= 1)
    for (const name of names) {
      const mine = next.get(name) ?? []
      const had = assigned.get(name) ?? []
      const stayed = had.filter((task) => mine.includes(task)).length
      assert.ok(stayed >= Math.min(had.length, Math.floor(8 / names.length)))
    }
    assigned = next
  }
})
