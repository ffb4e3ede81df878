// Batches compressed by others are opened, whole or not at all, and never to more than is allowed.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { createRequire } from 'node:module'
import { test } from 'node:test'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { OPENED_BYTES_MAX, decompressed, openBatch } from '@wellspring/kafka/codecs.ts'
import { batchBytes, recordsBytes } from './batches.ts'

// Written by others: what they make must be read here.
const require = createRequire(import.meta.url)
const snappyjs = require('snappyjs') as { compress(bytes: Buffer): Buffer }
const lz4js = require('lz4js') as { compress(bytes: Buffer): Uint8Array }

const GZIP = 1
const SNAPPY = 2
const LZ4 = 3
const ZSTD = 4
const XERIAL_HEAD = Buffer.from('82534e41505059000000000100000001', 'hex')

function xerial(bytes: Buffer): Buffer {
  const blocks: Buffer[] = [XERIAL_HEAD]
  for (let at = 0; at < bytes.length; at += 32_768) {
    const block = snappyjs.compress(bytes.subarray(at, at + 32_768))
    const length = Buffer.alloc(4)
    length.writeInt32BE(block.length)
    blocks.push(length, block)
  }
  return Buffer.concat(blocks)
}

type Pack = (bytes: Buffer) => Buffer

const packs: readonly [name: string, codec: number, pack: Pack][] = [
  ['gzip', GZIP, (bytes) => gzipSync(bytes)],
  ['snappy in one block', SNAPPY, (bytes) => snappyjs.compress(bytes)],
  ['snappy as Java frames it', SNAPPY, xerial],
  ['lz4', LZ4, (bytes) => Buffer.from(lz4js.compress(bytes))],
  ['zstd', ZSTD, (bytes) => zstdCompressSync(bytes)],
]

const plain: readonly Buffer[] = [
  Buffer.from('a'),
  Buffer.from('ab'.repeat(9)),
  Buffer.from('well B07 '.repeat(5_000)),
  Buffer.alloc(300_000),
  randomBytes(70),
  randomBytes(100_000),
  Buffer.concat(
    Array.from({ length: 50 }, (_, at) => Buffer.concat([randomBytes(at), Buffer.alloc(7 * at)])),
  ),
  Buffer.concat([randomBytes(65_535), Buffer.alloc(65_537, 'xyz')]),
]

function opened(codec: number, bytes: Buffer, bytesMax?: number): Buffer | string {
  const found = decompressed(codec, bytes, bytesMax)
  return found.kind === 'bytes' ? found.bytes : found.reason
}

/** What comes out, in words: a difference of megabytes would take for ever to show. */
function told(codec: number, bytes: Buffer, bytesMax?: number): string {
  const found = opened(codec, bytes, bytesMax)
  return typeof found === 'string' ? found : `${found.length} bytes`
}

for (const [name, codec, pack] of packs) {
  test(`${name}: what others compress is opened`, () => {
    for (const bytes of plain)
      assert.ok(bytes.equals(opened(codec, pack(bytes)) as Buffer), `${bytes.length} bytes`)
    const many = [...plain, ...plain].slice(1, 6)
    if (codec !== SNAPPY)
      assert.ok(
        Buffer.concat(many).equals(opened(codec, Buffer.concat(many.map(pack))) as Buffer),
        'one frame after another',
      )
  })

  test(`${name}: no more comes out than is allowed, however little goes in`, () => {
    const zeros = pack(Buffer.alloc(OPENED_BYTES_MAX))
    assert.equal(told(codec, zeros), `${OPENED_BYTES_MAX} bytes`)
    assert.equal(told(codec, zeros, OPENED_BYTES_MAX - 1), 'BATCH_TOO_LARGE')
    assert.equal(told(codec, zeros, 1), 'BATCH_TOO_LARGE')
  })

  test(`${name}: what is cut off or changed anywhere is opened or refused, at once`, () => {
    const content = Buffer.concat([randomBytes(40), Buffer.from('well B07 '.repeat(40))])
    const bytes = pack(content)
    for (let at = 0; at < bytes.length; at += 1) {
      const cut = opened(codec, bytes.subarray(0, at))
      // No part is taken for the whole: only a checksum may be missing, or everything.
      if (typeof cut !== 'string')
        assert.ok(cut.length === 0 || cut.equals(content), `cut at ${at}`)
      for (const bit of [0, 3, 7]) {
        const changed = Buffer.from(bytes)
        changed[at] = (changed[at] ?? 0) ^ (1 << bit)
        const startMs = performance.now()
        const found = opened(codec, changed, 100_000)
        assert.ok(typeof found === 'string' || found.length <= 100_000)
        assert.ok(performance.now() - startMs < 1_000)
      }
    }
  })
}

const varint = (value: number): Buffer => {
  const bytes: number[] = []
  let left = value
  for (; left >= 0x80; left = Math.floor(left / 0x80)) bytes.push((left % 0x80) | 0x80)
  return Buffer.of(...bytes, left)
}

test('a snappy block of six bytes that claims 1.5 GB costs nothing', () => {
  const before = process.memoryUsage.rss()
  assert.equal(
    told(SNAPPY, Buffer.concat([varint(1_500_000_000), Buffer.of(0)])),
    'BATCH_TOO_LARGE',
  )
  assert.equal(
    told(SNAPPY, Buffer.concat([varint(16_000_000), Buffer.of(0, 0)])),
    'UNDECODABLE_BATCH',
  )
  const framed = Buffer.concat([
    XERIAL_HEAD,
    Buffer.of(0, 0, 0, 6),
    varint(1_500_000_000),
    Buffer.of(0),
  ])
  assert.equal(told(SNAPPY, framed), 'BATCH_TOO_LARGE')
  assert.ok(process.memoryUsage.rss() - before < 50_000_000)
})

test('snappy elements that reach beyond the block, or before it, are refused', () => {
  for (const block of [
    [4, 0xfc, 0xff, 0xff, 0xff, 0xff], // a literal of 4 GB
    [4, 0, 1, 0x0e, 9, 0], // a copy from before the first byte
    [4, 0, 1, 0x0f, 0xff, 0xff, 0xff, 0xff], // from 4 GB before
    [4, 0, 1, 0x0e, 0, 0], // from nowhere
    [4, 0, 1, 0xfe, 1, 0], // longer than the block
    [9, 0, 1], // shorter
  ])
    assert.equal(told(SNAPPY, Buffer.from(block)), 'UNDECODABLE_BATCH', String(block))
})

test('an lz4 frame that claims a huge content, or has a block beyond its size, costs nothing', () => {
  const head = [0x04, 0x22, 0x4d, 0x18]
  const claims = Buffer.from([...head, 0x68, 0x40, ...Array<number>(8).fill(0xff), 0, 0, 0, 0, 0])
  assert.equal(told(LZ4, claims), '0 bytes')
  // One literal, then a match of 16 MB, in a frame whose blocks have 64 kB at most.
  const lengths = Buffer.alloc(65_536, 255)
  const block = Buffer.concat([Buffer.of(0x1f, 0, 1, 0), lengths, Buffer.of(0)])
  const size = Buffer.alloc(4)
  size.writeUInt32LE(Math.min(block.length, 65_000))
  const frame = Buffer.concat([Buffer.from([...head, 0x60, 0x40, 0]), size, block])
  assert.equal(told(LZ4, frame), 'UNDECODABLE_BATCH')
})

test('a batch becomes its records, or one refusal for all of its offsets', () => {
  const records = [{ value: 'a' }, { value: 'b' }]
  const of = (codec: number, body: Buffer) => {
    const batch = batchBytes(records, { codec, body, firstOffset: 40 })
    return openBatch({ topic: 'images.v1', partition: 1, offset: 40, last: 41, batch })
  }
  const read = of(ZSTD, zstdCompressSync(recordsBytes(records)))
  assert.ok(!('reason' in read))
  assert.deepEqual(
    [read.next(), read.next()].map((one) => one?.offset),
    [40, 41],
  )
  assert.equal(read.next(), undefined)
  const refused = of(7, Buffer.from('?'))
  assert.ok('reason' in refused)
  const { offset, last, reason, message } = refused
  assert.deepEqual(
    [offset, last, reason, message],
    [40, 41, 'UNKNOWN_CODEC', 'no codec has the number 7'],
  )
})
