// What is read of a fetched partition is what kafkajs's own decoder reads, for every shape of record and batch; and
// whatever is there instead, each offset is a record, is passed, or is told to be unreadable.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { rangeOf, readAll, type Read } from '@wellspring/kafka/fetched.ts'
import { HEADERS_KEPT, type LogRecord } from '@wellspring/kafka/records.ts'
import {
  EVIDENCE_BYTES_MAX,
  RECORD_BYTES_MAX,
  batchesIn,
  type Cursor,
} from '@wellspring/kafka/record-decoder.ts'
import type { BatchInit, Encoded, RecordInit } from '@wellspring/kafka/record-encoder.ts'
import { batchBytes, cursorOver, recordsBytes, varint } from './batches.ts'
import { original, patched } from './original.ts'

const plain = original.modules

const encodeRecord = plain.load<(record: RecordInit) => Encoded>('protocol/recordBatch/record/v0')
const { RecordBatch: encodeBatch } = plain.load<{
  RecordBatch: (batch: BatchInit) => Promise<Encoded>
}>('protocol/recordBatch/v0')

const GZIP = 1
const CONTROL = 32
const TRANSACTIONAL = 16
const LOG_APPEND_TIME = 8

const records: RecordInit[] = [
  {},
  { key: null, value: null, offsetDelta: 1 },
  { key: '', value: '', offsetDelta: 2, timestampDelta: 63 },
  { key: 'E/P1/a1', value: Buffer.from([0, 255]), offsetDelta: 64, timestampDelta: 64 },
  { key: 'µ/漢/😀', value: 'text', offsetDelta: 8_191, headers: { traceparent: 'a', none: '' } },
  { key: Buffer.alloc(200, 1), value: randomBytes(70_000), offsetDelta: 8_192 },
  {
    value: 'v',
    offsetDelta: 1_048_576,
    headers: { 'wellspring-type': ['a', Buffer.from('b'), 'ç'] },
  },
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

function read(set: Buffer, position = 0, checked = false): Read {
  const data = {
    partition: 3,
    highWatermark: String(Number.MAX_SAFE_INTEGER),
    abortedTransactions: null,
    messages: batchesIn(cursorOver(set)),
  }
  const budget = { bytes: Infinity, records: Infinity }
  return readAll(rangeOf('images.v1', data, { position, checked }), budget)
}

type Message = {
  readonly offset: string
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: Readonly<Record<string, Buffer | Buffer[]>>
  readonly isControlRecord: boolean
}

/** As the original reads it, in our form. */
async function wanted(set: Buffer): Promise<LogRecord[]> {
  type Decode = (cursor: Cursor) => Promise<Message[]>
  const Decoder = plain.load<new (buffer: Buffer) => Cursor>('protocol/decoder')
  const decode = plain.load<Decode>('protocol/requests/fetch/v4/decodeMessages')
  const messages = await decode(new Decoder(cursorOver(set).buffer))
  return messages.map(({ offset, key, value, headers }) => {
    const kept = Object.entries(headers).flatMap(([name, held]) => {
      const last = Array.isArray(held) ? held.at(-1) : held
      return HEADERS_KEPT.some((one) => one === name) ? [[name, String(last)]] : []
    })
    const place = { topic: 'images.v1', partition: 3, offset: Number(offset) } as const
    return { ...place, key, value, headers: Object.fromEntries(kept) as object }
  })
}

async function assertSame(set: Buffer): Promise<number> {
  const found = read(set)
  assert.deepEqual(found.records, await wanted(set))
  assert.deepEqual(found.unreadable, [])
  return found.records.length
}

test('every shape of record is read as the original reads it', async () => {
  const path = 'protocol/requests/fetch/v4/decodeMessages'
  assert.notEqual(String(patched.modules.load(path)), String(plain.load(path)), 'not patched')
  assert.equal(await assertSame(await batchOf()), records.length)
})

test('so is every kind of batch', async () => {
  for (const set of [
    await batchOf({ transactional: true }),
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
  assert.deepEqual(read(Buffer.alloc(0)).records, [])
  assert.equal(await assertSame((await batchOf()).subarray(0, 500)), 0)
})

test('a batch that compaction has emptied still moves its reader', () => {
  const left = (deltas: readonly number[]): Read => {
    const kept = deltas.map((offsetDelta) => ({ offsetDelta, value: 'v' }))
    return read(batchBytes(kept, { firstOffset: 100, lastOffsetDelta: 4 }), 100)
  }
  for (const deltas of [[], [3], [4], [0, 2]]) {
    const { records: found, unreadable, next } = left(deltas)
    assert.deepEqual(
      found.map(({ offset }) => offset - 100),
      deltas,
    )
    assert.deepEqual(unreadable, [])
    assert.equal(next, 105)
  }
})

test('markers are passed, and a reader in the middle of a batch gets the rest of it', () => {
  const marker = { key: Buffer.from([0, 0, 0, 1]), value: Buffer.alloc(6) }
  const set = Buffer.concat([
    batchBytes([{ value: 'a' }, { value: 'b' }, { value: 'c' }], { firstOffset: 10 }),
    batchBytes([marker], { firstOffset: 13, flags: CONTROL | TRANSACTIONAL, producerId: 7 }),
  ])
  const { records: found, next } = read(set, 11)
  assert.deepEqual(
    found.map(({ value }) => String(value)),
    ['b', 'c'],
  )
  assert.equal(next, 14)
})

// --- what no client writes ---

const three = [{ value: 'a' }, { value: 'b' }, { value: 'c' }]
const body = recordsBytes(three)
const at = { firstOffset: 5, lastOffsetDelta: 2, count: 3 }
const whole = batchBytes(three, at)
const shortened = (bytes: Buffer, by: number): Buffer => bytes.subarray(0, bytes.length - by)
/** A first record, then one whose bytes are these. */
const second = (...bytes: Buffer[]): Buffer => {
  const record = Buffer.concat(bytes)
  return Buffer.concat([recordsBytes([{ value: 'a' }]), varint(record.length), record])
}

/** Offsets that are records, and ranges that are unreadable, with the reason. */
const odd: readonly [name: string, set: Buffer, records: number[], unreadable: string[]][] = [
  [
    'too few records',
    batchBytes([], { ...at, body: shortened(body, body.length / 3) }),
    [5, 6],
    ['7-7 UNDECODABLE_BATCH'],
  ],
  [
    'a record cut off',
    batchBytes([], { ...at, body: shortened(body, 1) }),
    [5, 6],
    ['7-7 UNDECODABLE_BATCH'],
  ],
  [
    'no records at all',
    batchBytes([], { ...at, body: Buffer.alloc(0) }),
    [],
    ['5-7 UNDECODABLE_BATCH'],
  ],
  ['more than it counts', batchBytes(three, { ...at, count: 1 }), [5], ['6-7 UNDECODABLE_BATCH']],
  ['a negative count', batchBytes(three, { ...at, count: -1 }), [], ['5-7 UNDECODABLE_BATCH']],
  ['a huge count', batchBytes(three, { ...at, count: 0x7fffffff }), [5, 6, 7], []],
  [
    'a negative length',
    batchBytes([], { ...at, body: Buffer.concat([varint(-5), body]) }),
    [],
    ['5-7 UNDECODABLE_BATCH'],
  ],
  [
    'a huge length',
    batchBytes([], { ...at, body: varint(2 ** 31) }),
    [],
    ['5-7 UNDECODABLE_BATCH'],
  ],
  [
    'a varint without end',
    batchBytes([], { ...at, body: Buffer.alloc(30, 0xff) }),
    [],
    ['5-7 UNDECODABLE_BATCH'],
  ],
  [
    'a key that does not fit',
    batchBytes([], { ...at, body: second(Buffer.of(0), varint(0), varint(1), varint(500)) }),
    [5],
    ['6-7 UNDECODABLE_BATCH'],
  ],
  [
    'a key of negative length',
    batchBytes([], {
      ...at,
      body: second(Buffer.of(0), varint(0), varint(1), varint(-2), varint(-1), varint(0)),
    }),
    [5],
    ['6-7 UNDECODABLE_BATCH'],
  ],
  [
    'more in a record than it says',
    batchBytes([], {
      ...at,
      body: second(
        Buffer.of(0),
        varint(0),
        varint(1),
        varint(-1),
        varint(-1),
        varint(0),
        varint(7),
      ),
    }),
    [5],
    ['6-7 UNDECODABLE_BATCH'],
  ],
  [
    'headers that do not fit',
    batchBytes([], {
      ...at,
      body: second(Buffer.of(0), varint(0), varint(1), varint(-1), varint(-1), varint(2 ** 31)),
    }),
    [5],
    ['6-7 UNDECODABLE_BATCH'],
  ],
  [
    'a header without a name',
    batchBytes([], {
      ...at,
      body: second(
        Buffer.of(0),
        varint(0),
        varint(1),
        varint(-1),
        varint(-1),
        varint(1),
        varint(-1),
        varint(-1),
      ),
    }),
    [5],
    ['6-7 UNDECODABLE_BATCH'],
  ],
  ['an offset twice', batchBytes([{}, { offsetDelta: 0 }, {}], at), [5], ['6-7 UNDECODABLE_BATCH']],
  [
    'an offset behind the last',
    batchBytes([{}, { offsetDelta: 9 }, {}], at),
    [5],
    ['6-7 UNDECODABLE_BATCH'],
  ],
  [
    'a negative offset',
    batchBytes([{ offsetDelta: -1 }, {}, {}], at),
    [],
    ['5-7 UNDECODABLE_BATCH'],
  ],
  ['a negative last offset', batchBytes([{ value: 'a' }], { ...at, lastOffsetDelta: -7 }), [5], []],
  ['no codec of that number', batchBytes([], { ...at, codec: 6, body }), [], ['5-7 UNKNOWN_CODEC']],
  ['no gzip', batchBytes([], { ...at, codec: GZIP, body }), [], ['5-7 UNDECODABLE_BATCH']],
  [
    'gzip cut off',
    batchBytes([], { ...at, codec: GZIP, body: shortened(gzipSync(body), 3) }),
    [],
    ['5-7 UNDECODABLE_BATCH'],
  ],
  [
    'gzip of half a record',
    batchBytes([], { ...at, codec: GZIP, body: gzipSync(shortened(body, 4)) }),
    [5, 6],
    ['7-7 UNDECODABLE_BATCH'],
  ],
  ['a wrong checksum', batchBytes(three, { ...at, crc: 1 }), [], ['5-5 DAMAGED']],
  [
    'a wrong checksum before another batch',
    Buffer.concat([batchBytes(three, { ...at, crc: 1 }), batchBytes([{}], { firstOffset: 8 })]),
    [8],
    ['5-7 DAMAGED'],
  ],
  ['a format of before', batchBytes(three, { ...at, magic: 1 }), [], ['5-5 OLD_FORMAT']],
  ['no header to go by', Buffer.alloc(100, 0xff), [], ['5-5 DAMAGED']],
  ['a header of length 0', Buffer.alloc(100), [], ['5-5 DAMAGED']],
  [
    'one that claims the next one',
    Buffer.concat([
      batchBytes([{}], { ...at, count: 1, lastOffsetDelta: 50 }),
      batchBytes([{}], { firstOffset: 6 }),
    ]),
    [5, 6],
    [],
  ],
  ['a whole one', whole, [5, 6, 7], []],
]

for (const [name, set, offsets, ranges] of odd)
  test(`a batch with ${name}: each of its offsets is told`, () => {
    const found = read(set, 5, true)
    assert.deepEqual(
      found.records.map(({ offset }) => offset),
      offsets,
    )
    assert.deepEqual(
      found.unreadable.map(({ offset, last, reason }) => `${offset}-${last} ${reason}`),
      ranges,
    )
    assert.ok(found.unreadable.every(({ bytes }) => bytes.length <= EVIDENCE_BYTES_MAX))
    assert.ok(found.next > 5)
  })

test('a record that is too large is told by its size, and those beside it are read', () => {
  const set = batchBytes([
    { value: 'a' },
    { value: Buffer.alloc(RECORD_BYTES_MAX) },
    { value: 'c' },
  ])
  const { records: found, unreadable } = read(set)
  assert.deepEqual(
    found.map(({ offset }) => offset),
    [0, 2],
  )
  assert.match(unreadable[0]?.message ?? '', /^the record has 10485\d\d bytes; at most 1048576 are/)
  assert.deepEqual([unreadable[0]?.offset, unreadable[0]?.reason], [1, 'RECORD_TOO_LARGE'])
  assert.equal(unreadable[0]?.bytes.length, EVIDENCE_BYTES_MAX)
})

test('of headers only those are kept that are asked for, however many and large the others are', () => {
  const name = Buffer.from([0xff, 0xfe])
  const many = Array.from({ length: 1_000 }, (_, index) => [`h${index}`, null] as const)
  const headers = (...given: readonly (readonly [string | Buffer, string | Buffer | null])[]) => {
    const { records: found, unreadable } = read(batchBytes([{ value: 'v', headers: given }]))
    assert.deepEqual(unreadable, [])
    return { ...found[0]?.headers }
  }
  assert.deepEqual(headers(['source-system', null]), {})
  assert.deepEqual(headers(['__proto__', 'a'], ['constructor', 'b'], ['__proto__', null]), {})
  assert.deepEqual(headers([name, Buffer.from([0xc0])], ['', '']), {})
  assert.deepEqual(headers(['large', Buffer.alloc(300_000)], ...many, ['traceparent', 'x']), {
    traceparent: 'x',
  })
  assert.deepEqual(headers(['wellspring-type', null]), {})
  assert.deepEqual(headers(['wellspring-type', 'a'], ['wellspring-type', 'b']), {
    'wellspring-type': 'b',
  })
  assert.deepEqual(headers(['wellspring-type', 'a'], ['wellspring-type', null]), {})
  const long = headers(['wellspring-type', Buffer.alloc(300_000, 'a')])['wellspring-type']
  assert.equal(long, 'a'.repeat(256))
  assert.deepEqual(headers(['traceparent', Buffer.from([0xc0, 0x41])]), { traceparent: '\ufffdA' })
})
