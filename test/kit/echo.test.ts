import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import {
  EchoImageOnceRequestSchema,
  EchoPlateRequestSchema,
  EchoService,
  EchoSiteRequestSchema,
  EchoWellRequestSchema,
} from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import {
  begin,
  clientOf,
  contextOf,
  echo,
  echoRequest,
  refusal,
  scratch,
  spawnEcho,
} from './support.ts'

const { echoImageOnce, echoSite, echoWell, echoPlate } = EchoService.method

test('all levels echo a digest of what was asked', async (t) => {
  const { address } = await spawnEcho(t, {})
  const client = clientOf(t, address)
  const members = [
    { name: 'a', digest: 'x' },
    { name: 'b', digest: 'y' },
  ]
  const context = (key: string): ReturnType<typeof contextOf> => contextOf(key)
  const site = create(EchoSiteRequestSchema, { context: context('1'), members })
  const well = create(EchoWellRequestSchema, { context: context('2'), members })
  const plate = create(EchoPlateRequestSchema, { context: context('3'), members, holes: ['A01'] })
  const bySite = await begin(client, echoSite, site).answer
  assert.equal(bySite.members, 2)
  assert.equal((await begin(client, echoWell, well).answer).digest, bySite.digest)
  assert.notEqual((await begin(client, echoPlate, plate).answer).digest, bySite.digest)
})

test('failures come by script, and every execution is logged', async (t) => {
  const log = join(scratch(t), 'log')
  const script = { 'B07/t0/s2': { reason: 'NOT_YET', times: 2 } }
  const { address } = await spawnEcho(t, {
    WELLSPRING_ECHO_LOG: log,
    WELLSPRING_ECHO_FAIL: JSON.stringify(script),
  })
  const client = clientOf(t, address)
  for (const attempt of [1, 2]) {
    const refused = await refusal(echo(client, echoRequest('1', { attempt })))
    assert.equal(refused.info?.reason, 'NOT_YET')
  }
  await echo(client, echoRequest('1', { attempt: 3 }))
  await echo(client, echoRequest('2', { entity: 'E1/P1/a1/B08/t0/s1/z0/DNA' }))
  const lines = readFileSync(log, 'utf8').trimEnd().split('\n')
  const rows = lines.map((line) => JSON.parse(line) as Record<string, unknown>)
  assert.deepEqual(
    rows.map(({ attempt, outcome }) => [attempt, outcome]),
    [
      [1, 'NOT_YET'],
      [2, 'NOT_YET'],
      [3, 'ok'],
      [1, 'ok'],
    ],
  )
  for (const key of ['key', 'entity', 'step', 'start', 'end']) assert.ok(rows[0]?.[key])
})

test('an effect done before kill -9 is not done again by the process that follows', async (t) => {
  const directory = scratch(t)
  const log = join(directory, 'log')
  const environment = { WELLSPRING_ECHO_LOG: log, WELLSPRING_STORE: join(directory, 'store') }
  const request = create(EchoImageOnceRequestSchema, { context: contextOf('1') })
  const first = await spawnEcho(t, environment)
  const answer = await begin(clientOf(t, first.address), echoImageOnce, request).answer
  first.child.kill('SIGKILL')
  await once(first.child, 'exit')
  const second = await spawnEcho(t, environment)
  const again = await begin(clientOf(t, second.address), echoImageOnce, request).answer
  assert.deepEqual(again, answer)
  assert.equal(readFileSync(log, 'utf8').trimEnd().split('\n').length, 1)
})

test('SIGTERM lets the running call end, then the process ends with 0', async (t) => {
  const log = join(scratch(t), 'log')
  const { child, address } = await spawnEcho(t, {
    WELLSPRING_ECHO_DELAY_MS: '300',
    WELLSPRING_ECHO_LOG: log,
  })
  const client = clientOf(t, address)
  const running = begin(client, EchoService.method.echoImage, echoRequest('1'))
  // The refused call arrives behind the running one on the same connection.
  await refusal(echo(client, echoRequest('not hex')))
  child.kill('SIGTERM')
  const exit = once(child, 'exit')
  assert.equal((await running.answer).digest.length, 64)
  assert.deepEqual(await exit, [0, null])
  assert.equal(existsSync(log), true)
})
