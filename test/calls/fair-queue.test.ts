import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createFairQueue } from '../../coordinator/calls/fair-queue.ts'

function drained(queue: ReturnType<typeof createFairQueue<string>>): string {
  const items: string[] = []
  for (let item = queue.shift(); item !== undefined; item = queue.shift()) items.push(item)
  return items.join(' ')
}

test('groups take turns, each in its own order', () => {
  const queue = createFairQueue<string>()
  for (const item of ['a1', 'a2', 'a3', 'b1', 'c1', 'c2']) queue.push(item.charAt(0), item)
  assert.equal(queue.length, 6)
  assert.equal(drained(queue), 'a1 b1 c1 a2 c2 a3')
  assert.equal(queue.length, 0)
})

test('a group that comes late waits for one turn of the others only', () => {
  const queue = createFairQueue<string>()
  for (let n = 0; n < 5_000; n += 1) queue.push('a', `a${n}`)
  queue.shift()
  queue.push('b', 'b0')
  assert.deepEqual([queue.shift(), queue.shift()], ['a1', 'b0'])
})

test('what is put back comes first in its group', () => {
  const queue = createFairQueue<string>()
  for (const item of ['a1', 'a2', 'b1']) queue.push(item.charAt(0), item)
  const first = queue.shift()
  queue.unshift('a', first ?? '')
  assert.equal(drained(queue), 'b1 a1 a2')
  queue.unshift('a', 'a0')
  assert.equal(drained(queue), 'a0')
})

test('order and length hold over many pushes and shifts', () => {
  const queue = createFairQueue<string>()
  let next = 0
  for (let n = 0; n < 10_000; n += 1) {
    queue.push('a', String(n))
    if (n % 3 !== 0) assert.equal(queue.shift(), String(next++))
  }
  while (queue.length > 0) assert.equal(queue.shift(), String(next++))
  assert.equal(next, 10_000)
})
