// What one connection may ask of a wrapper: messages, calls at once, and to be kept open for nothing.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:http2'
import { test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { connectivityState, status } from '@grpc/grpc-js'
import { EchoImageRequestSchema } from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import { digest, echo, echoRequest, refusal, startEcho } from './support.ts'

test('a message beyond 4 MiB is refused, and the next call is served', async (t) => {
  const { client } = await startEcho(t, () => ({ digest }))
  const large = create(EchoImageRequestSchema, {
    ...echoRequest('1'),
    previous: 'x'.repeat(4 * 1024 * 1024),
  })
  assert.equal((await refusal(echo(client, large))).code, status.RESOURCE_EXHAUSTED)
  assert.equal((await echo(client, echoRequest('2'))).digest, digest)
})

test('a connection is told how many calls it may have at once', async (t) => {
  const { address } = await startEcho(t, () => ({ digest }))
  const session = connect(`http://${address}`)
  t.after(() => session.destroy())
  const [settings] = (await once(session, 'remoteSettings')) as [{ maxConcurrentStreams?: number }]
  assert.equal(settings.maxConcurrentStreams, 1_000)
})

test('a connection without calls is closed, and a call opens another', async (t) => {
  const idle = { WELLSPRING_CONNECTION_IDLE_MS: '50' }
  const { address, client } = await startEcho(t, () => ({ digest }), idle)
  assert.equal((await echo(client, echoRequest('1'))).digest, digest)
  const session = connect(`http://${address}`)
  await once(session, 'close')
  const channel = client.getChannel()
  while (channel.getConnectivityState(false) === connectivityState.READY)
    await new Promise<void>((resolve) =>
      channel.watchConnectivityState(connectivityState.READY, Infinity, () => resolve()),
    )
  assert.equal((await echo(client, echoRequest('2'))).digest, digest)
})
