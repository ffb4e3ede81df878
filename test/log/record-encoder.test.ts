// The bytes of a record are those of kafkajs's own encoder, for every shape of record.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { kafkajsRoot, loadKafkajs, modules } from '../../coordinator/log/patches.ts'
import type { Encoded, RecordInit } from '../../coordinator/log/record-encoder.ts'

const copy = mkdtempSync(join(tmpdir(), 'kafkajs-'))
cpSync(kafkajsRoot, copy, { recursive: true })
after(() => rmSync(copy, { recursive: true, force: true }))
type Encode = (record: RecordInit) => Encoded
const path = 'protocol/recordBatch/record/v0'
const original = loadKafkajs(copy, []).modules.load<Encode>(path)
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
  assert.notEqual(patched, original)
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
