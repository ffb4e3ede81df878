// What waits to be taken in: batches as they came, opened one at a time, with positions that never pass what was not.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { inbox } from '../../coordinator/task/inbox.ts'
import { limits } from '../../coordinator/task/limits.ts'
import { lastOf, type Input, type RecordBatch } from '@wellspring/kafka/records.ts'
import { batchBytes, recordsBytes, type BatchInit, type RecordInit } from '../kafka/batches.ts'

const start = { 'images.v1': 10, 'commands.v1': 0 }

function batch(firstOffset: number, values: readonly string[], init: BatchInit = {}): RecordBatch {
  return batchOf(
    firstOffset,
    values.map((value) => ({ value })),
    init,
  )
}

function batchOf(offset: number, records: readonly RecordInit[], init: BatchInit): RecordBatch {
  const last = offset + (init.lastOffsetDelta ?? records.length - 1)
  const bytes = batchBytes(records, { firstOffset: offset, ...init })
  return { topic: 'images.v1', partition: 0, offset, last, batch: bytes }
}

function zipped(offset: number, values: readonly string[]): RecordBatch {
  const body = gzipSync(recordsBytes(values.map((value) => ({ value }))))
  return batch(offset, values, { codec: 1, body })
}

function opened() {
  const box = inbox(limits)
  box.reset(start)
  return box
}

/** What is taken, and the position behind it. */
function taken(box: ReturnType<typeof inbox>): string[] {
  const all: string[] = []
  for (let input = box.peek(); input !== undefined; input = box.peek()) {
    if ('batch' in input) {
      all.push(`open ${input.offset}-${input.last}`)
      box.open()
      continue
    }
    assert.equal(box.take(), input)
    const what = 'reason' in input ? input.reason : String(input.value)
    all.push(`${input.offset}-${lastOf(input)} ${what}, next ${box.next['images.v1']}`)
  }
  return all
}

test('batches are opened one at a time; only a compressed one is seen before it is opened', () => {
  const box = opened()
  box.push([batch(10, ['a', 'b']), zipped(12, ['c', 'd']), batch(14, ['e'])])
  assert.equal(box.size(), 3)
  assert.deepEqual(taken(box), [
    '10-10 a, next 11',
    '11-11 b, next 12',
    'open 12-13',
    '12-12 c, next 13',
    '13-13 d, next 14',
    '14-14 e, next 15',
  ])
  assert.equal(box.size(), 0)
})

test('what a batch does not hold is passed with its last record, as what was compacted away is', () => {
  const box = opened()
  box.push([batchOf(10, [{ offsetDelta: 2, value: 'a' }], { lastOffsetDelta: 9 })])
  assert.deepEqual(taken(box), ['12-12 a, next 20'])
  box.push([batchOf(20, [], { lastOffsetDelta: 4 }), { topic: 'images.v1', next: 30 }])
  assert.equal(box.peek(), undefined)
  assert.deepEqual([box.next['images.v1'], box.size()], [30, 0])
})

test('what was taken in before is not taken again: batches fetched anew begin where it ended', () => {
  const box = opened()
  box.push([batch(10, ['a', 'b', 'c'])])
  box.take()
  box.push([batch(10, ['a', 'b', 'c']), zipped(10, ['x', 'y']), batch(13, ['d'])])
  assert.deepEqual(taken(box), ['11-11 b, next 12', '12-12 c, next 13', '13-13 d, next 14'])
})

test('a batch that cannot be opened is one thing that cannot be read, for all of its offsets', () => {
  const box = opened()
  box.push([batch(10, ['a', 'b', 'c'], { codec: 1, body: Buffer.from('no gzip') })])
  box.push([batch(13, ['d'])])
  assert.deepEqual(taken(box), [
    'open 10-12',
    '10-12 UNDECODABLE_BATCH, next 13',
    '13-13 d, next 14',
  ])
})

test('a compressed batch can be taken whole, without being opened', () => {
  const box = opened()
  const one = zipped(10, ['a', 'b', 'c'])
  box.push([one, batch(13, ['d'])])
  assert.equal(box.take(), one)
  assert.equal(box.next['images.v1'], 13)
  assert.deepEqual(taken(box), ['13-13 d, next 14'])
})

test('behind what waits are the offsets that its batches cover', () => {
  const box = opened()
  box.push([zipped(10, ['a', 'b', 'c'])])
  assert.deepEqual(box.behind(), { 'images.v1': 13, 'commands.v1': 0 })
  box.open()
  box.take()
  assert.deepEqual(box.behind(), { 'images.v1': 13, 'commands.v1': 0 })
})

test('inputs pause by what waits in bytes, opened or not, and by how many records it claims', () => {
  const large = (offset: number): Input => ({
    topic: 'images.v1',
    partition: 0,
    offset,
    key: null,
    value: Buffer.alloc(1024 * 1024),
    headers: {},
  })
  const box = opened()
  box.push([large(10), large(11), large(12)])
  assert.equal(box.pressure(), undefined)
  box.push([large(13)])
  assert.equal(box.pressure(), 'pause')
  for (let left = 3; left > 0; left -= 1) {
    box.take()
    assert.equal(box.pressure(), undefined)
  }
  box.take()
  assert.equal(box.pressure(), 'resume')

  box.push([zipped(14, ['x'.repeat(5 * 1024 * 1024)])])
  assert.equal(box.pressure(), undefined)
  box.open()
  assert.equal(box.pressure(), 'pause')
  assert.deepEqual(taken(box), ['14-14 RECORD_TOO_LARGE, next 15'])
  assert.equal(box.pressure(), 'resume')

  box.push([batch(15, Array.from({ length: limits.inputRecordsMax + 1 }, String))])
  assert.equal(box.pressure(), 'pause')
  // A count that its offsets cannot bear is not believed.
  box.reset(start)
  box.push([batch(10, ['a'], { count: 0x7fffffff })])
  assert.equal(box.pressure(), undefined)
})
