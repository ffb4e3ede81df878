import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { status, type Client } from '@grpc/grpc-js'
import { digest, startEcho } from './support.ts'

const bytesOf = (service: string): Buffer =>
  Buffer.from([...(service === '' ? [] : [0x0a, service.length]), ...Buffer.from(service)])
const statusFrom = (bytes: Buffer): number | undefined => bytes[1]

function check(client: Client, service: string): Promise<number | undefined> {
  const { promise, resolve, reject } = Promise.withResolvers<number | undefined>()
  const path = '/grpc.health.v1.Health/Check'
  client.makeUnaryRequest(path, bytesOf, statusFrom, service, (error, answer) =>
    error === null ? resolve(answer) : reject(error),
  )
  return promise
}

test('health answers for the server and its service, and for no other', async (t) => {
  const { client } = await startEcho(t, () => ({ digest }))
  assert.equal(await check(client, ''), 1)
  assert.equal(await check(client, 'wellspring.steps.echo.v1.EchoService'), 1)
  await assert.rejects(check(client, 'other'), { code: status.NOT_FOUND })
})

test('a watcher hears of a drain, which does not wait for it', async (t) => {
  const served = await startEcho(t, () => ({ digest }), { WELLSPRING_DRAIN_MS: '60000' })
  const path = '/grpc.health.v1.Health/Watch'
  const watch = served.client.makeServerStreamRequest(path, bytesOf, statusFrom, '')
  assert.deepEqual(await once(watch, 'data'), [1])
  const next = once(watch, 'data')
  await served.drain()
  assert.deepEqual(await next, [2])
})
