// A slice of `npm run soak`: it must be steady, and have been looked at. That the judges see a leak is shown in
// checks.test.ts.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { soak } from './steady.ts'
import { canSeeProcesses } from './watch.ts'

const options = { seed: 5, minutes: 0.4, imagesPerSecond: 24, say: () => {} }

test('plates come, are finished and retired, and nothing that is held grows', async (t) => {
  const { complaints, report, series, samples, log } = await soak(options)
  assert.deepEqual(complaints, [])
  assert.ok(report.done > 500, `only ${report.done} results`)
  assert.deepEqual([report.missing, report.duplicate, report.unplanned], [0, 0, 0])
  assert.ok(
    log.some(({ openKeys }) => openKeys > 20),
    'nobody saw an open plate',
  )
  assert.equal(log.at(-1)?.openKeys, 0, 'only summaries are left')
  if (!canSeeProcesses) return t.diagnostic('memory and handles were not looked at: no /proc here')
  const seen = new Set(samples.map(({ name }) => name))
  assert.deepEqual([...seen].toSorted(), ['c1', 'c2'])
  const rises = series.filter(({ points }) => points.length > 0).map(({ what }) => what)
  for (const what of ['rssBytes', 'heapBytes', 'handles', 'lagRecords', 'openKeys', 'stateBytes'])
    assert.ok(rises.includes(what), `${what} was not looked at`)
})
