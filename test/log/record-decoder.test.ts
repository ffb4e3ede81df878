// What is read of a fetched partition is what kafkajs's own decoder reads, for every shape of record and batch.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import type { Message } from '../../coordinator/log/patched.ts'
import type { Modules } from '../../coordinator/log/patches.ts'
import type { Cursor } from '../../coordinator/log/record-decoder.ts'
import type { BatchInit, Encoded, RecordInit } from '../../coordinator/log/record-encoder.ts'
import { original, patched } from './original.ts'

const plain = original.modules
const { modules } = patched

const encodeRecord = plain.load<(record: RecordInit) => Encoded>('protocol/recordBatch/record/v0')
const { RecordBatch: encodeBatch } = plain.load<{
  RecordBatch: (batch: BatchInit) => Promise<Encoded>
}>('protocol/recordBatch/v0')

const GZIP = 1
const CONTROL = 32
const LOG_APPEND_TIME = 8

const records: RecordInit[] = [
  {},
  { key: null, value: null, offsetDelta: 1 },
  { key: '', value: '', offsetDelta: 2, timestampDelta: 63 },
  { key: 'E/P1/a1', value: Buffer.from([0, 255]), offsetDelta: 64, timestampDelta: 64 },
  { key: 'µ/漢/😀', value: 'text', offsetDelta: 8_191, headers: { type: 'a.b.C', none: '' } },
  { key: Buffer.alloc(200, 1), value: randomBytes(70_000), offsetDelta: 8_192 },
  { value: 'v', offsetDelta: 1_048_576, headers: { many: ['a', Buffer.from('b'), 'c'] } },
  { value: 'v', offsetDelta: 2_000_000, timestampDelta: 0x3fffffff },
  { value: 'v', offsetDelta: 2_000_001, timestampDelta: 86_400_000 * 40_000 },
  { value: 'v', offsetDelta: 2_000_002, timestampDelta: -5 },
]

async function batchOf(init: BatchInit = {}, flags = 0): Promise<Buffer> {
  const { buffer } = await encodeBatch({
    records: records.map(encodeRecord),
    lastOffsetDelta: 2_000_002,
    firstOffset: 5_000_000_000,
    firstTimestamp: 1_700_000_000_000,
    maxTimestamp: 1_700_000_000_064,
    producerId: '9007199254740993',
    producerEpoch: 7,
    firstSequence: 12,
    ...init,
  })
  buffer.writeInt16BE(buffer.readInt16BE(21) | flags, 21)
  return buffer
}

async function decode(by: Modules, set: Buffer): Promise<Message[]> {
  const Decoder = by.load<new (buffer: Buffer) => Cursor>('protocol/decoder')
  const size = Buffer.alloc(4)
  size.writeInt32BE(set.length)
  const cursor = new Decoder(Buffer.concat([size, set, Buffer.from('rest')]))
  type Decode = (cursor: Cursor) => Message[] | Promise<Message[]>
  const messages = await by.load<Decode>('protocol/requests/fetch/v4/decodeMessages')(cursor)
  assert.equal(cursor.offset, 4 + set.length, 'what follows is read next')
  return messages
}

async function assertSame(set: Buffer): Promise<number> {
  const wanted = await decode(plain, set)
  assert.deepEqual(await decode(modules, set), wanted)
  return wanted.length
}

test('every shape of record is read as the original reads it', async () => {
  const path = 'protocol/requests/fetch/v4/decodeMessages'
  assert.notEqual(String(modules.load(path)), String(plain.load(path)), 'not patched')
  assert.equal(await assertSame(await batchOf()), records.length)
})

test('so is every kind of batch', async () => {
  for (const set of [
    await batchOf({ transactional: true }),
    await batchOf({ transactional: true }, CONTROL),
    await batchOf({}, LOG_APPEND_TIME),
    await batchOf({ compression: GZIP }),
    await batchOf({ compression: GZIP, transactional: true }, LOG_APPEND_TIME),
  ])
    assert.equal(await assertSame(set), records.length)
})

test('batches follow one another, compressed or not, until one that the fetch cut off', async () => {
  const batches = [
    await batchOf(),
    await batchOf({ compression: GZIP, firstOffset: 6_000_000_000 }),
    await batchOf({ firstOffset: 7_000_000_000 }),
  ]
  const whole = Buffer.concat(batches)
  assert.equal(await assertSame(whole), 3 * records.length)
  for (const cut of [1, 1_000, (batches[2]?.length ?? 0) - 50])
    assert.equal(await assertSame(whole.subarray(0, -cut)), 2 * records.length)
})

test('nothing, and a part of a first batch, are no records', async () => {
  assert.deepEqual(await decode(modules, Buffer.alloc(0)), [])
  assert.equal(await assertSame((await batchOf()).subarray(0, 500)), 0)
})

test('a batch that compaction has emptied still moves its reader', async () => {
  const read = async (by: Modules, deltas: readonly number[]): Promise<string[]> => {
    const left = deltas.map((offsetDelta) => encodeRecord({ offsetDelta, value: 'v' }))
    const set = await batchOf({ firstOffset: 100, lastOffsetDelta: 4, records: left })
    return (await decode(by, set)).map((one) => `${one.offset} ${one.isControlRecord}`)
  }
  assert.deepEqual(await read(plain, []), [])
  assert.deepEqual(await read(modules, []), ['104 true'])
  assert.deepEqual(await read(modules, [3]), ['103 false', '104 true'])
  assert.deepEqual(await read(modules, [4]), ['104 false'])
})
