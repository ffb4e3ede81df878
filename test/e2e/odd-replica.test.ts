// A second replica whose build gave a field of its answer another number, beside a right one: the coordinator starts,
// no number is wrong or absent, the replica is seen for what it is, and taken in when it is replaced.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fromBinary } from '@bufbuild/protobuf'
import { anyUnpack } from '@bufbuild/protobuf/wkt'
import { StepResultSchema } from '#proto/wellspring/record/v1/output_pb.ts'
import { EchoImageResponseSchema, EchoService } from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import { hex, sha256 } from '../../coordinator/core/keys.ts'
import { wellspring } from '../cli/process.ts'
import { digestOf, textOf } from '../faults/echoes.ts'
import { imageRecords, openStage, planOf, planRecord, type Stage } from './stage.ts'

const layout = { wells: 6, sites: 2, channels: 3 }

test('a replica with a renumbered field beside a right one: no wrong or absent number, and it is seen', async () => {
  const stage = await openStage({ pipeline: 'echo-levels.ts', tasks: 2 })
  try {
    const odd = await stage.program('odd-echo', 'test/e2e/odd-echo.ts', {
      WELLSPRING_LISTEN: '127.0.0.1:0',
    })
    const services = `${EchoService.typeName}=${odd.address},${stage.services}`
    const { ready } = await stage.coordinator('c1', { WELLSPRING_SERVICES: services })
    const env = { WELLSPRING_CONTROL: String(ready['control']) }
    await acquire(stage, 'P1')
    assert.doesNotMatch(readFileSync(join(stage.dir, 'odd-echo.log'), 'utf8'), /CALLED/)
    for (const verb of ['plates', 'services']) {
      const shown = await wellspring([verb], env)
      assert.match(
        shown.stdout + shown.stderr,
        new RegExp(
          `not called: wellspring\\.steps\\.echo\\.v1\\.EchoService at ${odd.address} serves a contract that does not ` +
            'fit \\(version 2\\.0\\): EchoImageResponse\\.digest has number 7 there, 1 here',
        ),
      )
    }
    await odd.stop()
    await stage.program('echo-2', 'services/echo/main.ts', {
      WELLSPRING_LISTEN: odd.address,
      WELLSPRING_STORE: join(stage.dir, 'store'),
    })
    while (/not called/.test((await wellspring(['services'], env)).stdout)) await sleep(100)
    await acquire(stage, 'P2')
    const replicas = new Set((await digests(stage)).map(({ replica }) => replica))
    assert.equal(replicas.size, 2)
  } finally {
    await stage.close()
  }
})

/** Images a plate, and holds every number against what it must be. */
async function acquire(stage: Stage, plate: string): Promise<void> {
  const plan = planOf(plate, layout)
  await stage.client.produce([planRecord(plan), ...imageRecords(plan)])
  const { missing, duplicate, unplanned, holes, parked } = await stage.untilDone(60_000)
  assert.deepEqual([missing, duplicate, unplanned, holes, parked], [0, 0, 0, 0, 0])
  const own = (await digests(stage)).filter(({ entity }) => entity.startsWith(`E/${plate}/`))
  assert.equal(own.length, layout.wells * layout.sites * layout.channels)
  for (const { entity, digest } of own) {
    const image = { sha256: hex(sha256(Buffer.from(entity))) }
    assert.equal(digest, digestOf(textOf({ image })), entity)
  }
}

type Digest = { readonly entity: string; readonly digest: string; readonly replica: string }

async function digests(stage: Stage): Promise<Digest[]> {
  const found: Digest[] = []
  for await (const { value, headers } of stage.client.readAll('results.v1')) {
    if (!value || headers['wellspring-type'] !== StepResultSchema.typeName) continue
    const { entity, step, output, replica } = fromBinary(StepResultSchema, value)
    if (step !== 'echo-image' || !output) continue
    const digest = anyUnpack(output, EchoImageResponseSchema)?.digest ?? ''
    found.push({ entity, digest, replica })
  }
  return found
}
