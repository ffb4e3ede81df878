// The bytes of a record are those of kafkajs's own encoder, for every shape of record.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { crc32c } from '@wellspring/kafka/crc32c.ts'
import type { BatchInit, Encoded, RecordInit } from '@wellspring/kafka/record-encoder.ts'
import { original as unpatched, patched as ourKafkajs } from './original.ts'

type Encode = (record: RecordInit) => Encoded
const path = 'protocol/recordBatch/record/v0'
const plain = unpatched.modules
const { modules } = ourKafkajs
const original = plain.load<Encode>(path)
const patched = modules.load<Encode>(path)

const shapes: RecordInit[] = [
  {},
  { key: null, value: null },
  { key: '', value: '' },
  { key: 'E/P1/a1', value: Buffer.from([0, 255]), offsetDelta: 0 },
  {
    key: 'µ/漢/😀',
    value: 'text',
    headers: { 'wellspring-type': 'a.b.C', traceparent: '00-1-2-01' },
  },
  { key: Buffer.alloc(200, 1), value: randomBytes(70_000), offsetDelta: 63, timestampDelta: 64 },
  { value: 'v', headers: { twice: ['a', Buffer.from('b')], none: [] } },
  { value: 'v', offsetDelta: 8_191, timestampDelta: 8_192 },
  { value: 'v', offsetDelta: 1_048_576, timestampDelta: 0x3fffffff },
  { value: 'v', timestampDelta: 0x40000000 },
  { value: 'v', timestampDelta: -5 },
]

test('every shape of record has the bytes of the original', () => {
  assert.notEqual(String(patched), String(original), 'not patched')
  for (const [index, shape] of shapes.entries())
    assert.deepEqual(patched(shape).buffer, original(shape).buffer, `shape ${index}`)
})

test('records of every length around a boundary of the length field have the bytes of the original', () => {
  for (const length of [
    0, 1, 50, 60, 61, 62, 63, 64, 65, 127, 128, 8_180, 8_185, 8_190, 8_191, 8_192, 16_384,
  ]) {
    const record = {
      key: 'k',
      value: Buffer.alloc(length, 7),
      headers: { h: 'x'.repeat(length % 130) },
    }
    assert.deepEqual(patched(record).buffer, original(record).buffer, `length ${length}`)
  }
})

type Batches = { RecordBatch: (batch: BatchInit) => Encoded | Promise<Encoded> }
const batchPath = 'protocol/recordBatch/v0'

test('every shape of batch has the bytes of the original', async () => {
  const [theirs, ours] = [plain, modules].map((from) => from.load<Batches>(batchPath).RecordBatch)
  assert.notEqual(String(ours), String(theirs), 'not patched')
  const times = { firstTimestamp: 1_700_000_000_000, maxTimestamp: 1_700_000_000_007 }
  const batches: BatchInit[] = [
    times,
    { ...times, records: shapes.map((shape) => patched(shape)) },
    {
      ...times,
      records: shapes.map((shape) => original(shape)),
      transactional: true,
      producerId: 4_711,
      producerEpoch: 32_767,
      firstSequence: 2_147_483_647,
      lastOffsetDelta: shapes.length - 1,
      partitionLeaderEpoch: 9,
      firstOffset: Number.MAX_SAFE_INTEGER,
    },
    { ...times, records: shapes.map((shape) => original(shape)), compression: 1 },
  ]
  for (const [index, batch] of batches.entries()) {
    const [want, have] = [await theirs?.(batch), await ours?.(batch)]
    assert.deepEqual(have?.buffer, want?.buffer, `batch ${index}`)
    assert.equal(have?.size(), want?.size())
  }
})

test('the checksum is that of RFC 3720, for every length', () => {
  // Appendix B.4.
  assert.equal(crc32c(Buffer.alloc(32, 0)), 0x8a9136aa)
  assert.equal(crc32c(Buffer.alloc(32, 0xff)), 0x62a8ab43)
  assert.equal(crc32c(Buffer.from(Array.from({ length: 32 }, (_, at) => at))), 0x46dd794e)
  const theirs = plain.load<(bytes: Buffer) => number>('protocol/recordBatch/crc32C')
  for (let length = 0; length < 100; length += 1) {
    const bytes = randomBytes(length)
    assert.equal(crc32c(bytes), theirs(bytes), `${length} bytes`)
  }
})

test('a request that grows keeps what was written', () => {
  type Encoder = { writeString(text: string): Encoder; readonly buffer: Buffer }
  const make = (from: typeof plain): Buffer => {
    let encoder = new (from.load<new (size: number) => Encoder>('protocol/encoder'))(1)
    for (let length = 0; length < 300; length += 1)
      encoder = encoder.writeString('x'.repeat(length))
    return encoder.buffer
  }
  assert.deepEqual(make(modules), make(plain))
})

test('a request that grows is not filled with zeros first', (t) => {
  type Encoder = { writeString(text: string): Encoder }
  const zeroed = (from: typeof plain): number => {
    const encoder = new (from.load<new (size: number) => Encoder>('protocol/encoder'))(1)
    const alloc = t.mock.method(Buffer, 'alloc')
    encoder.writeString('x'.repeat(300))
    const times = alloc.mock.callCount()
    alloc.mock.restore()
    return times
  }
  assert.ok(zeroed(plain) > 0)
  assert.equal(zeroed(modules), 0)
})
