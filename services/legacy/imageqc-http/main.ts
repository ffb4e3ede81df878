import { access } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createWorkers, type Outcome } from './workers.ts'

// imageqc: POST /assess {path, channel_kind, ceiling?, offset?} answers quality numbers. Port from PORT, 0 for any.
// As grown in the lab: some numbers are strings, some errors are 200, and it gets slow before it gets busy.
const version = 'imageqc-3'
const bodyBytesMax = 65_536
const workersMax = Number(process.env['WORKERS'] ?? 2)
const workers = createWorkers({
  workersMax,
  queueLengthMax: Number(process.env['QUEUE_LENGTH_MAX'] ?? 8),
  jobTimeMaxMs: 10_000,
  jobMemoryMaxMib: 1_536,
})

type Reply = { readonly status: number; readonly body: Record<string, unknown> }

const server = createServer((request, response) => {
  void answer(request)
    .catch((cause: unknown) => ({ status: 500, body: { error: String(cause) } }))
    .then((reply) => send(request, response, reply))
})
server.listen(Number(process.env['PORT'] ?? 8080), '127.0.0.1', () => {
  const { port } = server.address() as AddressInfo
  process.stdout.write(
    `${JSON.stringify({ ready: 'imageqc-http', address: `127.0.0.1:${port}` })}\n`,
  )
})
process.once('SIGTERM', () => {
  server.close(() => workers.close())
  server.closeIdleConnections()
  setTimeout(() => process.exit(), 5_000).unref()
})

async function answer(request: IncomingMessage): Promise<Reply> {
  if (request.url === '/health') return { status: 200, body: { status: 'up', version } }
  if (request.method !== 'POST' || request.url !== '/assess') return { status: 404, body: {} }
  const { path, channel_kind: channelKind, ceiling = 0, offset = 0 } = await readBody(request)
  if (typeof path !== 'string' || typeof ceiling !== 'number' || typeof offset !== 'number') {
    return {
      status: 400,
      body: {
        error: 'want {"path": text, "channel_kind": text, "ceiling": number, "offset": number}',
      },
    }
  }
  // Two old clients could not handle other statuses than 200.
  if (
    typeof channelKind !== 'string' ||
    !['nuclei', 'fluorescence', 'brightfield'].includes(channelKind)
  ) {
    return { status: 200, body: { error: `unknown channel kind: ${String(channelKind)}` } }
  }
  try {
    await access(path)
  } catch {
    return { status: 200, body: { error: `file not found: ${path}` } }
  }
  return replyOf(await workers.run({ path, ceiling, offset }), { channelKind, offset })
}

function replyOf(
  outcome: Outcome,
  { channelKind, offset }: { readonly channelKind: string; readonly offset: number },
): Reply {
  switch (outcome.kind) {
    case 'busy':
      return { status: 503, body: { error: 'busy' } }
    case 'unreadable':
    case 'timed-out':
    case 'crashed':
      return { status: 422, body: { error: outcome.text } }
    case 'measured': {
      const { metrics } = outcome
      const empty = channelKind !== 'brightfield' && metrics.varianceToMean < 1
      const numbers = {
        width: outcome.widthPx,
        height: outcome.heightPx,
        bits: String(outcome.bitsPerPixel),
        mean: String(metrics.mean),
        median: metrics.median,
        std: String(metrics.std),
        mad: metrics.mad,
        min: metrics.min,
        max: metrics.max,
        var_over_mean: String(metrics.varianceToMean),
        at_ceiling: metrics.atCeiling,
        percent_maximal: metrics.percentMaximal,
        laplacian_ratio: String(metrics.laplacianRatio),
        power_slope: String(metrics.powerLogLogSlope),
        offset: String(offset),
        offset_suspected: outcome.offsetSuspected,
        below_offset: outcome.belowOffset,
      }
      return { status: 200, body: { ...numbers, flag: empty ? 'EMPTY' : 'OK', version } }
    }
  }
}

async function readBody(request: IncomingMessage): Promise<Record<string, unknown>> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > bodyBytesMax) return {}
    chunks.push(chunk)
  }
  try {
    const body: unknown = JSON.parse(Buffer.concat(chunks).toString('utf8'))
    return typeof body === 'object' && body !== null ? { ...body } : {}
  } catch {
    return {}
  }
}

function send(request: IncomingMessage, response: ServerResponse, { status, body }: Reply): void {
  const traceparent = request.headers['traceparent'] ?? '-'
  response.writeHead(status, { 'content-type': 'application/json', 'x-trace-echo': traceparent })
  response.end(JSON.stringify(body))
  const line = {
    method: request.method,
    url: request.url,
    status,
    traceparent,
    error: body['error'],
  }
  process.stderr.write(`${JSON.stringify(line)}\n`)
}
