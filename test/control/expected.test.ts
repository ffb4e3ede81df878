// The HTTP ports answer who asks for this host, from no other's page, and are held by nobody.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { request, type IncomingHttpHeaders } from 'node:http'
import { connect } from 'node:net'
import { hostname } from 'node:os'
import { test, type TestContext } from 'node:test'
import { text } from 'node:stream/consumers'
import { isExpectedHost } from '../../coordinator/expected.ts'
import { listenHttp, type ListenOptions, type Listening } from '../../coordinator/listen.ts'
import type { Model } from '../../coordinator/control/model.ts'
import { serveControl } from '../../coordinator/control/server.ts'
import { receiveSpans } from '../../coordinator/trace/otlp.ts'
import { exampleTask, noon, pipeline } from './plate.ts'

async function control(t: TestContext, hosts: readonly string[] = []): Promise<Listening> {
  const task = exampleTask()
  const model: Model = {
    instance: 'c0',
    application: 'test',
    topicPrefix: '',
    pipeline,
    tasks: 1,
    owned: () => new Map([[0, task]]),
    assigned: () => [],
    inputs: () => Promise.resolve([]),
    services: () => [],
    nowMs: () => noon,
  }
  const owners = (): ReadonlyMap<number, string> => new Map()
  const server = await serveControl({
    listen: '127.0.0.1:0',
    hosts,
    model,
    owners,
    logger: () => {},
  })
  t.after(() => server.close())
  return server
}

async function spans(t: TestContext): Promise<Listening> {
  const server = await receiveSpans({ listen: '127.0.0.1:0', onTraces: () => {} })
  t.after(() => server.close())
  return server
}

type Asked = {
  readonly status: number
  readonly body: string
  readonly headers: IncomingHttpHeaders
}

async function ask(
  { address }: Listening,
  headers: Record<string, string>,
  path: string,
): Promise<Asked> {
  const type = path === '/v1/traces' ? 'application/x-protobuf' : 'application/json'
  const { hostname, port } = new URL(address)
  const asking = request({
    hostname,
    port,
    path,
    method: 'POST',
    headers: { 'content-type': type, ...headers },
  })
  asking.end(path === '/v1/traces' ? '' : '{}')
  const [response] = await once(asking, 'response')
  return { status: response.statusCode, body: await text(response), headers: response.headers }
}

const listPlates = '/wellspring.control.v1.ControlService/ListPlates'

test('a name that was made to lead here is refused, and loopback is not', async (t) => {
  for (const [server, path] of [
    [await control(t), listPlates],
    [await spans(t), '/v1/traces'],
  ] as const) {
    const { port } = new URL(server.address)
    const good = [`127.0.0.1:${port}`, 'localhost', 'LOCALHOST:1', `[::1]:${port}`, '127.1.2.3']
    for (const host of good) assert.equal((await ask(server, { host }, path)).status, 200, host)
    const bad = [
      'evil.example',
      `evil.example:${port}`,
      'localhost.evil.example',
      '127.0.0.1.evil.example',
      'evil.example@localhost',
      'localhost@evil.example',
      'localhost.',
      '10.0.0.1',
      '[fe80::1]',
      '[::1',
      '0.0.0.0',
      '2130706433',
    ]
    for (const host of bad) {
      const asked = await ask(server, { host }, path)
      assert.equal(asked.status, 403, host)
      assert.match(asked.body, /is not expected here: WELLSPRING_HOSTS/)
      assert.doesNotMatch(asked.body, /E1\/P1/)
    }
  }
})

test('a page of another origin is refused, whatever it may send without being asked', async (t) => {
  for (const [server, path] of [
    [await control(t), listPlates],
    [await spans(t), '/v1/traces'],
  ] as const) {
    const { host, port } = new URL(server.address)
    const bad = [
      'null',
      'https://evil.example',
      'http://localhost:1',
      `http://localhost:${port}x`,
      '',
    ]
    for (const origin of bad)
      assert.match((await ask(server, { host, origin }, path)).body, /pages of other hosts/)
    for (const site of ['cross-site', 'same-site'])
      assert.equal((await ask(server, { host, 'sec-fetch-site': site }, path)).status, 403)
    const own = { host, origin: `http://${host}`, 'sec-fetch-site': 'same-origin' }
    const asked = await ask(server, own, path)
    assert.equal(asked.status, 200)
    assert.equal(asked.headers['access-control-allow-origin'], undefined)
  }
})

test('names that were set are expected, and any address where a port listens on all', async (t) => {
  const server = await control(t, ['Wellspring.lab.example'])
  assert.equal((await ask(server, { host: 'wellspring.lab.example:80' }, listPlates)).status, 200)
  assert.equal((await ask(server, { host: 'x.lab.example' }, listPlates)).status, 403)
  const all = { listen: '0.0.0.0', names: [] }
  for (const host of ['10.1.2.3:80', '[fe80::1]:80', '0.0.0.0:80', 'localhost'])
    assert.ok(isExpectedHost(host, all), host)
  for (const host of ['evil.example', '10.1.2.3.evil.example', '10.1.2'])
    assert.ok(!isExpectedHost(host, all), host)
  const one = { listen: '10.1.2.3', names: [] }
  assert.ok(isExpectedHost('10.1.2.3:80', one) && !isExpectedHost('10.1.2.4:80', one))
})

/** What comes back for some bytes, until the connection ends. */
async function raw({ address }: Listening, bytes: string): Promise<string> {
  const socket = connect(Number(new URL(address).port), '127.0.0.1')
  socket.on('error', () => {})
  socket.write(bytes)
  return await text(socket).catch(() => '')
}

test('two hosts, no host, and a URL for a target are refused', async (t) => {
  const server = await spans(t)
  const rest = 'content-length: 0\r\nconnection: close\r\n\r\n'
  const post = 'POST /v1/traces HTTP/1.1\r\n'
  const cases = [
    `${post}host: localhost\r\nhost: evil.example\r\n${rest}`,
    `${post}${rest}`,
    `POST /v1/traces HTTP/1.0\r\n${rest}`,
    `POST http://evil.example/v1/traces HTTP/1.1\r\nhost: localhost\r\n${rest}`,
  ]
  for (const bytes of cases) assert.match(await raw(server, bytes), /^HTTP\/1.1 40[03] /, bytes)
})

test('who sets up an exporter can read why nothing arrives: each reason is logged once', async (t) => {
  const told: string[] = []
  const options = {
    listen: '127.0.0.1:0',
    onTraces: () => {},
    onRefused: (why: string) => void told.push(why),
  }
  const server = await receiveSpans(options)
  t.after(() => server.close())
  for (const host of ['collector:4318', 'collector:4318', hostname()])
    await ask(server, { host }, '/v1/traces')
  assert.deepEqual(told.length, 1)
  assert.match(told[0] ?? '', /Host "collector:4318" is not expected here: WELLSPRING_HOSTS/)
  for (let n = 0; n < 40; n += 1) await ask(server, { host: `name-${n}` }, '/v1/traces')
  assert.equal(told.length, 20)
})

async function limited(t: TestContext, limits: ListenOptions['limits']): Promise<Listening> {
  const server = await listenHttp((_, response) => response.end('ok'), {
    listen: '127.0.0.1:0',
    limits: { lookEveryMs: 10, ...limits },
  })
  t.after(() => server.close())
  return server
}

test('a connection that says nothing, half a request, or too much is closed', async (t) => {
  const slow = await limited(t, { headersMs: 50, requestMs: 100, silenceMs: 200, keepAliveMs: 50 })
  const whole = 'GET / HTTP/1.1\r\nhost: localhost\r\n'
  assert.match(await raw(slow, ''), /^HTTP\/1.1 408|^$/)
  assert.match(await raw(slow, whole), /^HTTP\/1.1 408|^$/)
  assert.match(await raw(slow, `${whole}content-length: 9\r\n\r\nhalf`), /^HTTP\/1.1 (200|408)/)
  assert.match(await raw(slow, `${whole}\r\n`), /^HTTP\/1.1 200/, 'an idle one is closed')
  const strict = await limited(t, { headerBytesMax: 1_000 })
  assert.match(await raw(strict, `${whole}x: ${'y'.repeat(2_000)}\r\n\r\n`), /^HTTP\/1.1 431/)
})

test('connections beyond the limit are closed, and room is there again once others go', async (t) => {
  const server = await limited(t, { socketsMax: 5 })
  const { port } = new URL(server.address)
  const held = Array.from({ length: 5 }, () => connect(Number(port), '127.0.0.1'))
  for (const socket of held) await once(socket, 'connect')
  const whole = 'GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n'
  assert.equal(await raw(server, whole), '')
  for (const socket of held) {
    socket.destroy()
    await once(socket, 'close')
  }
  while (!(await raw(server, whole)).startsWith('HTTP/1.1 200'));
})
