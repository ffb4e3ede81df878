// 2,000 worlds of known seeds and a few of a fresh one; a failing seed is replayed by npm run sim -- --seed N.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { simulate } from './sim.ts'

const WORLDS = 2_000
const FRESH_WORLDS = 100

async function failures(first: number, worlds: number): Promise<string[]> {
  const failed: string[] = []
  for (let seed = first; seed < first + worlds && failed.length < 5; seed += 1) {
    const complaints = await simulate(seed)
    if (complaints.length > 0) failed.push(`seed ${seed}: ${complaints.join('; ').slice(0, 2_000)}`)
  }
  return failed
}

test(`${WORLDS} worlds keep every invariant`, { timeout: 240_000 }, async () => {
  assert.deepEqual(await failures(0, WORLDS), [])
})

test('worlds of a fresh seed keep every invariant', async () => {
  const seed = Math.floor(Math.random() * 1_000_000_000)
  console.log(`fresh seed ${seed}`)
  assert.deepEqual(await failures(seed, FRESH_WORLDS), [])
})

test('the same seed gives the same world', async () => {
  assert.deepEqual(await simulate(4_711), await simulate(4_711))
})
