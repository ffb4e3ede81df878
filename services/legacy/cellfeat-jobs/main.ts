import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createJobs } from './jobs.ts'
import type { Job } from './measure.ts'

// cellfeat: features of cells, as jobs.
//   POST /jobs {labels, images: [{channel, path, offset?}]}  → {id}
//   GET  /jobs/ID         → {state: queued|running|done|failed}, 410 when it is gone, 404 when nobody knows it
//   GET  /jobs/ID/result  → CSV
// Port from PORT, 0 for any. Jobs live in memory: a restart forgets them.
const bodyBytesMax = 262_144
const jobs = createJobs({
  queueLengthMax: Number(process.env['QUEUE_LENGTH_MAX'] ?? 64),
  lagMs: Number(process.env['LAG_MS'] ?? 200),
  keptMs: Number(process.env['KEPT_MS'] ?? 600_000),
})

type Reply = { readonly status: number; readonly body: object | string }

const server = createServer((request, response) => {
  void answer(request)
    .catch((cause: unknown) => ({ status: 500, body: { error: String(cause) } }))
    .then((reply) => send(request, response, reply))
})
server.listen(Number(process.env['PORT'] ?? 8081), '127.0.0.1', () => {
  const { port } = server.address() as AddressInfo
  process.stdout.write(
    `${JSON.stringify({ ready: 'cellfeat-jobs', address: `127.0.0.1:${port}` })}\n`,
  )
})
process.once('SIGTERM', () => process.exit())

async function answer(request: IncomingMessage): Promise<Reply> {
  const [, room, id, result, ...rest] = (request.url ?? '').split('/')
  if (room === 'health') return { status: 200, body: { status: 'up' } }
  if (room !== 'jobs' || rest.length > 0) return { status: 404, body: { error: 'no such page' } }
  if (request.method === 'POST' && id === undefined) return await submit(request)
  if (request.method !== 'GET' || id === undefined) return { status: 405, body: {} }
  const state = jobs.state(id)
  if (state === undefined) return { status: 404, body: { error: `no such job: ${id}` } }
  if (state.kind === 'gone') return { status: 410, body: { error: `job ${id} has expired` } }
  if (result === undefined) return { status: 200, body: status(id) }
  if (state.kind !== 'done') return { status: 409, body: { error: `job ${id} is ${state.kind}` } }
  return { status: 200, body: state.table.csv }
}

function status(id: string): object {
  const state = jobs.state(id)
  if (state?.kind === 'done') return { id, state: 'done', rows: state.table.rows }
  if (state?.kind === 'failed') return { id, state: 'failed', error: state.error }
  return { id, state: state?.kind }
}

async function submit(request: IncomingMessage): Promise<Reply> {
  const job = await readJob(request)
  if (job === undefined) {
    return {
      status: 400,
      body: { error: 'want {"labels": path, "images": [{"channel", "path"}]}' },
    }
  }
  const id = jobs.submit(job)
  if (id === undefined) return { status: 429, body: { error: 'queue is full' } }
  return { status: 202, body: { id } }
}

async function readJob(request: IncomingMessage): Promise<Job | undefined> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > bodyBytesMax) return undefined
    chunks.push(chunk)
  }
  try {
    const body = JSON.parse(Buffer.concat(chunks).toString('utf8')) as Partial<Job>
    const isText = (value: unknown) => typeof value === 'string' && value !== ''
    const images = body.images ?? []
    const isLevel = (value: unknown) => value === undefined || typeof value === 'number'
    const isImage = (i: Job['images'][number]) =>
      isText(i.channel) && isText(i.path) && isLevel(i.offset)
    const good = isText(body.labels) && images.every(isImage)
    return good && body.labels !== undefined ? { labels: body.labels, images } : undefined
  } catch {
    return undefined
  }
}

function send(request: IncomingMessage, response: ServerResponse, { status, body }: Reply): void {
  const traceparent = request.headers['traceparent'] ?? '-'
  const type = typeof body === 'string' ? 'text/csv' : 'application/json'
  response.writeHead(status, { 'content-type': type, 'x-trace-echo': traceparent })
  response.end(typeof body === 'string' ? body : JSON.stringify(body))
  const line = { method: request.method, url: request.url, status, traceparent }
  process.stderr.write(`${JSON.stringify(line)}\n`)
}
