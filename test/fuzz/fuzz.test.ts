// 200,000 batches, records and headers that are changed somewhere, a fixed set of them and one that is new each time: each
// ends in an event or is set aside, on both twins, and nothing throws, hangs or is passed in silence.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { casesOf, noCounts, readCases, sumOf } from './rounds.ts'
import { takeIn } from './twin.ts'

const WANTED = 200_000
const ROUND = 2_000
const FIXED_SEEDS = 14
const COORDINATOR_CASES = 1_500

const fresh = Math.floor(Math.random() * 2 ** 31)

test('whatever is written into an input is an event or is set aside, on both twins', (t) => {
  t.diagnostic(`fresh seed ${fresh} (npm run fuzz -- --seed ${fresh})`)
  const counts = noCounts()
  for (let seed = 1; seed <= FIXED_SEEDS; seed += 1) readCases(seed, ROUND, counts)
  for (let seed = fresh; sumOf(counts) < WANTED; seed += 1) readCases(seed, ROUND, counts)
  t.diagnostic(JSON.stringify(counts))
  // Not all of it is refused at the door.
  assert.ok(counts.events > WANTED / 30, `${counts.events} events`)
})

for (const seed of [1, fresh])
  test(`a coordinator takes it in, decides, and flushes: seed ${seed}`, async (t) => {
    const { offsets, aside } = await takeIn(casesOf(seed, COORDINATOR_CASES))
    t.diagnostic(`${offsets} offsets, ${aside} dead letters`)
    assert.ok(aside > offsets / 10 && aside < offsets)
  })
