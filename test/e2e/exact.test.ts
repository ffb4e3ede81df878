// Exactly once on a real broker: coordinators are killed with -9 in the middle, and the topics are judged by the
// audit and by the Java client.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { javaConsume } from '../../dev/broker.ts'
import { imageRecords, openStage, planOf, planRecord } from './stage.ts'

test('two coordinators share the work; one is killed with -9, and every result is there once', async () => {
  const stage = await openStage({
    pipeline: 'echo-levels.ts',
    tasks: 4,
    echo: { WELLSPRING_ECHO_DELAY_MS: '20' },
  })
  try {
    const [first] = await Promise.all([stage.coordinator('c1'), stage.coordinator('c2')])
    const plans = ['P1', 'P2', 'P3', 'P4', 'P5', 'P6'].map((name) =>
      planOf(name, { wells: 6, sites: 2, channels: 3 }),
    )
    await stage.client.produce(plans.map(planRecord))
    for (const plan of plans) {
      for (const record of imageRecords(plan)) await stage.client.produce([record])
      if (plan.plate === 'P3') process.kill(first.pid, 'SIGKILL')
    }
    await stage.coordinator('c3')
    const report = await stage.untilDone(60_000)
    assert.deepEqual(
      {
        missing: report.missing,
        duplicate: report.duplicate,
        unplanned: report.unplanned,
        holes: report.holes,
      },
      { missing: 0, duplicate: 0, unplanned: 0, holes: 0 },
    )
    const images = 6 * 6 * 2 * 3
    const planned = images + 6 * 12 + 6 * 6 + 6
    assert.equal(report.done, planned)
    const closes = 6 * 12 + 6 * 6 + 6
    const seen = await javaConsume({
      brokers: stage.brokers,
      topic: `${stage.topicPrefix}results.v1`,
    })
    const keys = seen.map((record) => record.key)
    assert.equal(keys.length, planned + closes, 'the Java client counts the same')
    assert.equal(new Set(keys).size, keys.length, 'and every key once')
  } finally {
    await stage.close()
  }
})
