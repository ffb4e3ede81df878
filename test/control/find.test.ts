import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sliced } from '../../coordinator/control/slices.ts'
import { bestOf, find, findPlates, nearest } from '../../coordinator/control/find.ts'
import { isEntityKey } from '@wellspring/lab/entity.ts'
import { exampleTask } from './plate.ts'

const well = 'E1/P1/a1/B07/t0'

test('an entity key is told from a file name', () => {
  for (const key of ['E/P/a', 'E/P/a/A01/t0', 'E/P/a/A01/t0/s1', 'E/P/a/A01/t0/s1/z0/w1'])
    assert.ok(isEntityKey(key), key)
  for (const text of ['', 'P1', 'E/P', '//', 'E/P/a/A01', 'E/P/a/A01/0', 'E/P/a/A01/t0/s1/z0/'])
    assert.ok(!isEntityKey(text), text)
})

test('a text is read as a file first, then as segments, as a well, as any part', async () => {
  const read = (about: string) => sliced(find([exampleTask()], about))
  assert.deepEqual(await read('B07_s1_DNA.tif'), { rank: 0, keys: [`${well}/s1/z0/DNA`] })
  assert.deepEqual(await read('P1/B07_s1_DNA.tif'), { rank: 0, keys: [`${well}/s1/z0/DNA`] })
  assert.deepEqual(await read('s1_DNA.tif'), { rank: Infinity, keys: [] }, 'no part of a file name')
  assert.deepEqual(await read('s2/z0/ER'), { rank: 1, keys: [`${well}/s2/z0/ER`] }, 'planned')
  assert.deepEqual(await read('/P1/'), { rank: 1, keys: ['E1/P1/a1'] })
  assert.deepEqual(await read('b7'), { rank: 2, keys: [well] })
  assert.deepEqual(await read('P1/a1/B0'), { rank: 3, keys: [well] })
})

test('a plate is found by its whole key, by segments, by any part', () => {
  const plates = ['E1/P1/a1', 'E1/P10/a1', 'E1/P1/a10']
  assert.deepEqual(findPlates(plates, 'E1/P1/a1'), ['E1/P1/a1'])
  assert.deepEqual(findPlates(plates, 'P10'), ['E1/P10/a1'])
  assert.deepEqual(findPlates(plates, '10/'), ['E1/P10/a1'])
  assert.deepEqual(findPlates(plates, 'P1'), ['E1/P1/a1', 'E1/P1/a10'])
  assert.deepEqual(findPlates(plates, 'P2'), [])
})

test('the best reading over several searches wins, joined and each once', () => {
  const none = { rank: Infinity, keys: [] }
  const all = [
    { rank: 3, keys: ['x'] },
    { rank: 1, keys: ['c', 'b'] },
    none,
    { rank: 1, keys: ['b'] },
  ]
  assert.deepEqual(bestOf(all), { rank: 1, keys: ['b', 'c'] })
  assert.deepEqual(bestOf([none]), none)
})

test('a wrong name is answered with the nearest ones, or none', () => {
  const names = ['BBBC039/P1/a1', 'BBBC039/P2/a1', 'NF1/plate-7/a1']
  assert.deepEqual(nearest('BBBC039/P3/a1', names), ['BBBC039/P1/a1', 'BBBC039/P2/a1'])
  assert.deepEqual(nearest('nf1/plate7/a1', names), ['NF1/plate-7/a1'])
  assert.deepEqual(nearest('quite-another', names), [])
})

test('a long walk gives way, and ends when nobody waits for it any more', async () => {
  const ending = new AbortController()
  function* endless(): Generator<undefined, never> {
    for (;;) yield
  }
  setTimeout(() => ending.abort(), 10)
  await assert.rejects(sliced(endless(), ending.signal), { name: 'AbortError' })
})
