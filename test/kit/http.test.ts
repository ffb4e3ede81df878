import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import { test, type TestContext } from 'node:test'
import { gzipSync } from 'node:zlib'
import { fetchJson, fetchText } from '../../services/kit/http.ts'

const { signal } = new AbortController()
const traceparent = `00-${'1'.repeat(32)}-${'2'.repeat(16)}-01`

async function program(t: TestContext, answer: RequestListener): Promise<string> {
  const server = createServer(answer)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  const address = server.address()
  assert.ok(address !== null && typeof address === 'object')
  return `http://127.0.0.1:${address.port}/x`
}

test('a request carries JSON and the trace context, and its answer comes whatever the status', async (t) => {
  const url = await program(t, (request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const { method, headers } = request
      const asked: unknown = JSON.parse(Buffer.concat(chunks).toString())
      response.writeHead(429, { 'retry-after': '2' })
      response.end(JSON.stringify({ method, parent: headers['traceparent'], asked }))
    })
  })
  assert.deepEqual(await fetchJson(url, { signal, traceparent, body: { a: 1 } }), {
    kind: 'answer',
    status: 429,
    body: { method: 'POST', parent: traceparent, asked: { a: 1 } },
    retryAfterMs: 2_000,
  })
})

test('an error page, an endless body and silence are results', async (t) => {
  const url = await program(t, (request, response) => {
    const ask = request.headers['x-ask']
    if (ask === 'page') response.writeHead(502).end('<html>Bad gateway</html>')
    else if (ask === 'endless') {
      const write = (): void => {
        while (!response.destroyed && response.write('x'.repeat(1_000)));
        response.once('drain', write)
      }
      write()
    }
  })
  const ask = (what: string, timeoutMs?: number): ReturnType<typeof fetchJson> =>
    fetchJson(url, {
      signal,
      traceparent,
      headers: { 'x-ask': what },
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
    })
  const page = { kind: 'not-json', status: 502, text: '<html>Bad gateway</html>' }
  assert.deepEqual(await ask('page'), page)
  assert.deepEqual(await ask('endless'), { kind: 'too-large', status: 200 })
  assert.deepEqual(await ask('silence', 50), { kind: 'timed-out' })
})

test('a program that is down is unreachable, with the reason', async () => {
  const result = await fetchJson('http://127.0.0.1:1/x', { signal, traceparent })
  assert.equal(result.kind, 'unreachable')
  assert.ok(result.kind === 'unreachable' && result.why.length > 3)
})

test('an aborted signal is the one thing that rejects, with its reason', async (t) => {
  const reason = new Error('the deadline has come')
  const controller = new AbortController()
  const url = await program(t, () => controller.abort(reason))
  const pending = fetchJson(url, { signal: controller.signal, traceparent, timeoutMs: 60_000 })
  await assert.rejects(pending, reason)
})

test('a redirection is an answer: the program sends us nowhere else', async (t) => {
  const asked: string[] = []
  const other = await program(t, (request, response) => {
    asked.push(request.url ?? '')
    response.end('"secret"')
  })
  for (const status of [301, 302, 307, 308]) {
    const url = await program(t, (_, response) => {
      response.writeHead(status, { location: other }).end()
    })
    const answer = await fetchJson(url, { signal, traceparent, body: { path: 'x' } })
    assert.deepEqual(answer, { kind: 'answer', status, body: undefined })
  }
  assert.deepEqual(asked, [])
})

test('an answer that grows when it is unpacked is bounded by what it becomes', async (t) => {
  const bomb = gzipSync(Buffer.alloc(64 * 1024 * 1024, ' '))
  const url = await program(t, (_, response) => {
    response.writeHead(200, { 'content-encoding': 'gzip' }).end(bomb)
  })
  assert.deepEqual(await fetchJson(url, { signal, traceparent }), {
    kind: 'too-large',
    status: 200,
  })
  const text = await fetchText(url, { signal, traceparent, answerBytesMax: 128 * 1024 * 1024 })
  assert.ok(text.kind === 'text' && text.text.length === 64 * 1024 * 1024)
})
