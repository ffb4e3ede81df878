// The parser of segment files: batches by the book, markers, and files that end in the middle.
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { mergeCopies } from './copies.ts'
import { readSegment, readSegments } from './segments.ts'

const dir = mkdtempSync(join(tmpdir(), 'wellspring-segments-'))
after(() => rmSync(dir, { recursive: true, force: true }))

type Told = { base: number; records: number; attributes: number; body: Buffer }

/** A record batch, magic 2, of producer 4711, epoch 3. */
function batch({ base, records, attributes, body }: Told): Buffer {
  const head = Buffer.alloc(61)
  head.writeBigInt64BE(BigInt(base), 0)
  head.writeInt32BE(61 - 12 + body.length, 8)
  head.writeInt8(2, 16)
  head.writeInt16BE(attributes, 21)
  head.writeInt32BE(records - 1, 23)
  head.writeBigInt64BE(1_000n, 27) // first timestamp
  head.writeBigInt64BE(2_000n, 35) // largest
  head.writeBigInt64BE(4711n, 43)
  head.writeInt16BE(3, 51)
  head.writeInt32BE(17, 53)
  head.writeInt32BE(records, 57)
  return Buffer.concat([head, body])
}

const transactional = 0x10
const data = (base: number, records: number): Buffer =>
  batch({ base, records, attributes: transactional, body: Buffer.alloc(records * 20, 1) })

/** A marker: length, attributes, two deltas, key length 4, version 0, type, value. */
const marker = (base: number, type: number): Buffer =>
  batch({
    base,
    records: 1,
    attributes: transactional | 0x20,
    body: Buffer.from([0x20, 0, 0, 0, 8, 0, 0, 0, type, 12, 0, 0, 0, 0, 0, 0, 0]),
  })

function read(name: string, ...parts: Buffer[]) {
  const path = join(dir, name)
  writeFileSync(path, Buffer.concat(parts))
  return readSegment(path, { topic: 'state.v1', partition: 2 })
}

test('a batch says who wrote which offsets, and a marker how the transaction ended', () => {
  const all = read('whole', data(0, 3), marker(3, 1), data(4, 1), marker(5, 0), marker(6, 9))
  assert.deepEqual(all[0], {
    topic: 'state.v1',
    partition: 2,
    baseOffset: 0,
    lastOffset: 2,
    producerId: 4711,
    epoch: 3,
    baseSequence: 17,
    isTransactional: true,
    records: 3,
    sizeBytes: 121,
    timestampMs: 2_000,
  })
  assert.deepEqual(
    all.map(({ baseOffset, control }) => [baseOffset, control]),
    [
      [0, undefined],
      [3, 'commit'],
      [4, undefined],
      [5, 'abort'],
      [6, 'other'],
    ],
  )
})

test('a file that ends in the middle of a batch, or in zeros, gives what is whole', () => {
  const whole = [data(0, 2), marker(2, 1)]
  for (const tail of [data(3, 2).subarray(0, 30), data(3, 2).subarray(0, 80), Buffer.alloc(500)])
    assert.deepEqual(
      read('cut', ...whole, tail).map(({ baseOffset }) => baseOffset),
      [0, 2],
    )
  assert.deepEqual(read('empty'), [])
})

test('an older format is refused by name', () => {
  const old = data(0, 1)
  old.writeInt8(1, 16)
  assert.throws(() => read('old', old), /old has magic 1 at byte 0; only 2 is known/)
})

test('a data directory gives the topics of the prefix, segment by segment', () => {
  for (const [name, file, from] of [
    ['a.state.v1-0', '00000000000000000002.log', 2],
    ['a.state.v1-0', '00000000000000000000.log', 0],
    ['a.state.v1-0', '00000000000000000000.log.deleted', 9],
    ['a.results.v1-11', '00000000000000000000.log', 5],
    ['a.results.v1-12.0123-delete', '00000000000000000000.log', 5],
    ['b.state.v1-0', '00000000000000000000.log', 7],
  ] as const) {
    mkdirSync(join(dir, 'data', name), { recursive: true })
    writeFileSync(join(dir, 'data', name, file), data(from, 2))
  }
  assert.deepEqual(
    readSegments(join(dir, 'data'), 'a.').map(
      ({ topic, partition, baseOffset }) => `${topic}/${partition}@${baseOffset}`,
    ),
    ['results.v1/11@5', 'state.v1/0@0', 'state.v1/0@2'],
  )
})

test('of the copies of a partition the longest is taken, and where another says otherwise is told', () => {
  const whole = read('whole', data(0, 2), data(2, 3), marker(5, 1))
  const short = read('short', data(0, 2), data(2, 3))
  assert.deepEqual(mergeCopies([short, whole, short]), { batches: whole, differences: [] })
  const other = read('other', data(0, 2), data(2, 1), data(3, 2))
  assert.deepEqual(mergeCopies([whole, other]).differences, [
    'state.v1/2: its copies differ at 2',
    'state.v1/2: its copies differ at 3',
  ])
})
