// Values that share buffers stay what they were, and what is gone does not keep its buffer.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { packedBytes } from '../../coordinator/core/packed.ts'
import { diceOf } from '../sim/world.ts'

test('values are what was put in, whatever is overwritten, deleted and moved meanwhile', () => {
  const dice = diceOf(7)
  const packed = packedBytes()
  const model = new Map<string, Buffer>()
  for (let n = 0; n < 20_000; n += 1) {
    const key = `key${Math.floor(dice() * 700)}`
    // Around the size beyond which a value has a buffer of its own, too.
    const bytes = Buffer.alloc(Math.floor(dice() * (dice() < 0.02 ? 40_000 : 3_000)), n)
    const what = dice()
    if (what < 0.1) {
      packed.delete(key)
      model.delete(key)
    } else if (what < 0.3) {
      packed.set(key, Uint8Array.from(bytes))
      model.set(key, bytes)
    } else {
      packed.copy(key, bytes)
      model.set(key, Buffer.from(bytes))
      bytes.fill(0xff)
    }
  }
  assert.equal(packed.size(), model.size)
  assert.deepEqual([...packed.keys()], [...model.keys()])
  for (const [key, bytes] of packed.entries())
    assert.ok(Buffer.from(bytes).equals(model.get(key) ?? Buffer.of(1)), key)
})

test('a state that was written over and over keeps about the memory of its last version', () => {
  const packed = packedBytes()
  const rounds = 20
  const keys = 1_000
  for (let round = 0; round < rounds; round += 1)
    for (let n = 0; n < keys; n += 1)
      // Every seventh is written once only, and would hold on to its neighbours of the first round.
      if (round === 0 || n % 7 !== 0) packed.copy(`key${n}`, Buffer.alloc(2_000, round))
  const buffers = new Set([...packed.entries()].map(([, bytes]) => bytes.buffer))
  const kept = [...buffers].reduce((sum, { byteLength }) => sum + byteLength, 0)
  assert.ok(kept <= 2 * keys * 2_000 + 256 * 1024, `${kept} bytes for ${keys * 2_000}`)
})
