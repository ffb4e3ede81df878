// The protocol of take-over and flush in every state that a few faults and rebalances can lead to.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { explore } from './explore.ts'
import { large, scenarios } from './scenarios.ts'

const LARGE_MS = 8_000

for (const scenario of scenarios)
  test(`every state keeps the invariants: ${scenario.name}`, async (t) => {
    const { states, paths, broken, isCut } = await explore(scenario)
    t.diagnostic(`${states} states on ${paths} paths`)
    assert.deepEqual(broken, undefined)
    assert.ok(!isCut && states > 100, `${states} states`)
  })

test(`no state found in ${LARGE_MS / 1_000} s breaks an invariant: ${large.name}`, async (t) => {
  const { states, paths, broken } = await explore(large, performance.now() + LARGE_MS)
  t.diagnostic(`${states} states on ${paths} paths`)
  assert.deepEqual(broken, undefined)
})
