// A real run under a kill -9, read by the Java client and from the broker's segment files: every judge is silent. The
// run has what judges look at: results, a retry, bad data, a hole, an input that cannot be read, and two owners.
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { durationFromMs } from '@bufbuild/protobuf/wkt'
import type { PlatePlan } from '#proto/wellspring/lab/v1/plan_pb.ts'
import { ImageAcquiredSchema } from '#proto/wellspring/record/v1/input_pb.ts'
import { imageRecords, openStage, planOf, planRecord } from '../e2e/stage.ts'
import { judgeAll } from './checks/all.ts'
import { latencies } from './checks/neighbours.ts'
import { flushes } from './checks/outputs.ts'
import { closes, deadLetters, results } from './checks/records.ts'
import { collect } from './collect.ts'
import { echoLevels } from './pipelines.ts'

const layout = { wells: 3, sites: 2, channels: 2 } as const

function plansOf(names: readonly string[]): PlatePlan[] {
  return names.map((name) => ({
    ...planOf(name, layout),
    completeness: {
      $typeName: 'wellspring.lab.v1.CompletenessPolicy',
      quorum: 0.5,
      quorumAfter: durationFromMs(500),
      deadline: durationFromMs(1_000),
    },
  }))
}

test('a run with a kill -9, bad data and holes leaves evidence that every judge accepts', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'wellspring-judged-'))
  const log = join(dir, 'calls.log')
  writeFileSync(log, '')
  const fail = {
    'P2/a1/A01/t0/s1/z0/w1': { reason: 'BAD_DATA' },
    'P1/a1/A02/t0/s1/z0/w1': { reason: 'NOT_YET', times: 2 },
  }
  const stage = await openStage({
    pipeline: 'echo-levels.ts',
    tasks: 2,
    echo: {
      WELLSPRING_ECHO_DELAY_MS: '10',
      WELLSPRING_ECHO_LOG: log,
      WELLSPRING_ECHO_FAIL: JSON.stringify(fail),
    },
  })
  const env = { WELLSPRING_STATE_DIGEST: '2', WELLSPRING_SESSION_TIMEOUT_MS: '1000' }
  try {
    const first = await stage.coordinator('c1', env)
    const plans = plansOf(['P1', 'P2', 'P3', 'P4'])
    await stage.client.produce(plans.map(planRecord))
    for (const plan of plans) {
      // The last image of P3 never comes.
      const images = imageRecords(plan)
      await stage.client.produce(plan.plate === 'P3' ? images.slice(0, -1) : images)
      if (plan.plate === 'P2') process.kill(first.pid, 'SIGKILL')
    }
    const unreadable = {
      topic: 'images.v1',
      key: 'E/P1',
      value: Buffer.from('no image'),
      headers: { 'wellspring-type': ImageAcquiredSchema.typeName },
    } as const
    await stage.client.produce([unreadable])
    const second = await stage.coordinator('c2', env)
    while ((await stage.audit()).refusedInputs === 0) await sleep(200)
    await stage.untilDone(20_000)
    // At rest: the last flush is over.
    await second.stop()
    const evidence = await collect({
      brokers: stage.brokers,
      topicPrefix: stage.topicPrefix,
      pipeline: echoLevels,
      callLogs: [log],
      circumstances: { digestEvery: 2 },
    })
    const complaints = [...judgeAll(evidence)].flatMap(([name, list]) =>
      list.map((text) => `${name}: ${text}`),
    )
    assert.deepEqual(complaints, [])
    // Nothing of that is said of an empty log.
    assert.equal(evidence.plans.length, 4)
    assert.equal(results(evidence).length, 4 * (12 + 6 + 3 + 1) - 2)
    assert.equal(closes(evidence).length, 4 * (6 + 3 + 1))
    assert.equal(deadLetters(evidence).length, 2)
    assert.ok(flushes(evidence).length > 4)
    assert.equal(latencies(evidence).length, 4 * 12 - 1)
  } finally {
    await stage.close()
    rmSync(dir, { recursive: true, force: true })
  }
})
