// Frozen vectors: a change here orphans state, results and traces that exist.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { Level } from '#proto/wellspring/contract/v1/options_pb.ts'
import { IdentitySchema } from '#proto/wellspring/lab/v1/identity_pb.ts'
import {
  idempotencyKey,
  hex,
  resultKey,
  sha256,
  spanId,
  traceId,
} from '../../coordinator/core/keys.ts'
import {
  encodeId,
  entityKey,
  levelOf,
  parentOf,
  parseEntity,
  partitionKey,
  plateOf,
} from '@wellspring/lab/entity.ts'
import { murmur2, taskOf } from '@wellspring/kafka/partition.ts'
import { wellAt, wellName, wellPosition } from '@wellspring/lab/wells.ts'

const image = 'BBBC039/P1/a1/B07/t0/s2/z0/DNA'

test('entity keys: every level is a prefix, and parsing gives the identity back', () => {
  const identity = create(IdentitySchema, {
    experiment: 'BBBC039',
    plate: 'P1',
    acquisition: 'a1',
    well: 'B07',
    timePoint: 0,
    site: 2,
    z: 0,
    channel: 'DNA',
  })
  assert.equal(entityKey(identity), image)
  assert.deepEqual(parseEntity(image), identity)
  const levels: [string, Level][] = []
  for (let key: string | undefined = image; key !== undefined; key = parentOf(key))
    levels.push([key, levelOf(key)])
  assert.deepEqual(levels, [
    [image, Level.IMAGE],
    ['BBBC039/P1/a1/B07/t0/s2', Level.SITE],
    ['BBBC039/P1/a1/B07/t0', Level.WELL],
    ['BBBC039/P1/a1', Level.PLATE],
  ])
  assert.equal(plateOf(image), 'BBBC039/P1/a1')
  assert.equal(partitionKey(image), 'BBBC039/P1')
  assert.equal(
    resultKey(image, 'image-quality', 'screening-1', 3),
    `${image}/image-quality@screening-1#3`,
  )
})

test('what is no entity key is refused by name', () => {
  for (const wrong of ['', 'a/b', 'a/b/c/d', 'a/b/c/A01/x0', 'a/b/c/A01/t', `${image}/more`])
    assert.throws(
      () => parseEntity(wrong),
      (error: Error) => error.message.includes(`"${wrong}" is no entity key`),
    )
})

test('idempotency key, trace id and span id are frozen', () => {
  const parts = { pipeline: 'screening-1', step: 'image-quality', entity: image, generation: 1 }
  const key = idempotencyKey({ ...parts, inputDigest: sha256(Buffer.from('input')) })
  assert.equal(hex(key), '21c9386aac8e1786de8f764ff82f9c11')
  assert.equal(traceId('wellspring', image, 1), 'd31c633cda24655b05530b3c75a5b657')
  assert.equal(spanId(traceId('wellspring', image, 1), 'root'), '173e58acc5aec651')
})

test('partitions are those of the Java client', () => {
  // From org.apache.kafka.common.utils.UtilsTest.testMurmur2.
  const vectors: [string, number][] = [
    ['21', -973932308],
    ['foobar', -790332482],
    ['a-little-bit-long-string', -985981536],
    ['a-little-bit-longer-string', -1486304829],
    ['lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8', -58897971],
    ['abc', 479470107],
  ]
  for (const [text, hash] of vectors) assert.equal(murmur2(Buffer.from(text)), hash, text)
  assert.equal(taskOf('E/P1', 8), 4)
})

test('well names: every form becomes one, and what is none is refused', () => {
  for (const [text, name] of [
    ['A1', 'A01'],
    ['a01', 'A01'],
    ['B7', 'B07'],
    ['r01c01', 'A01'],
    ['r16c24', 'P24'],
    ['AA02', 'AA02'],
    ['af48', 'AF48'],
  ] as const)
    assert.equal(wellName(text), name)
  for (const wrong of ['', 'A0', 'A49', 'AG01', '01', 'A001', 'A-1', 'r33c01', 'r01c49'])
    assert.equal(wellName(wrong), undefined, wrong)
  for (let row = 1; row <= 32; row += 1)
    for (let column = 1; column <= 48; column += 1) {
      const well = wellAt(row, column)
      assert.deepEqual(wellPosition(well), { row, column })
      assert.equal(wellName(well), well)
    }
})

test('ids: what is outside the alphabet is percent-encoded, so that two names never become one', () => {
  assert.equal(encodeId('Texas Red'), 'Texas%20Red')
  assert.equal(encodeId('a/b'), 'a%2Fb')
  assert.equal(encodeId('a%2Fb'), 'a%252Fb')
  assert.equal(encodeId('µ'), '%C2%B5')
  assert.throws(() => encodeId(''), /is no id/)
})
