// Hostile posts to a coordinator's OTLP port, and an honest one beside them: what was answered, and when.
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { create, toBinary } from '@bufbuild/protobuf'
import { ExportTraceServiceRequestSchema } from '#proto/opentelemetry/proto/collector/trace/v1/trace_service_pb.ts'
import type { Crew } from '../crew.ts'
import type { Ground } from './ground.ts'
import { nested } from './bytes.ts'

const limits = {
  answerMs: 20_000,
  readyMs: 15_000,
  lookMs: 250,
  /** Sockets that begin a request and never end it. */
  slowSockets: 1_000,
  slowMs: 8_000,
  /** The same body so many times at once. */
  atOnce: 4,
  spans: 100_000,
  traces: 2_000,
  resourceChars: 1_000_000,
  depth: 100_000,
} as const

type HostilePost = {
  readonly what: string
  readonly body: Buffer
  readonly headers?: Readonly<Record<string, string>>
}

const protobuf = { 'content-type': 'application/x-protobuf' } as const
const gzipped = { ...protobuf, 'content-encoding': 'gzip' } as const

let made: readonly HostilePost[] | undefined

export function hostilePosts(): readonly HostilePost[] {
  made ??= [
    { what: 'a gzip bomb', body: gzipSync(Buffer.alloc(400_000_000)), headers: gzipped },
    { what: 'very many spans', body: gzipSync(manySpans()), headers: gzipped },
    { what: 'a large resource of many traces', body: gzipSync(manyTraces()), headers: gzipped },
    { what: 'lists in lists', body: gzipSync(nested(limits.depth)), headers: gzipped },
    { what: 'ids of a kilobyte', body: spans([{ traceId: Buffer.alloc(1_024, 7) }]) },
    { what: 'ids of no byte', body: spans([{ traceId: Buffer.alloc(0) }]) },
    { what: 'no protobuf', body: Buffer.from('this is no protobuf') },
    { what: 'no gzip', body: Buffer.from('this is no gzip'), headers: gzipped },
    { what: 'more than is taken', body: Buffer.alloc(8_000_000) },
  ]
  return made
}

/** false: the coordinator did not run, or has no such port. */
export async function floodOtlp(name: string, { crew, notes }: Ground): Promise<boolean> {
  const address = await addressOf(name, crew)
  if (address === undefined) return false
  const post = async ({ what, body, headers }: HostilePost, isHostile: boolean): Promise<void> => {
    const atMs = Date.now()
    const status = await statusOf(address, body, headers ?? protobuf)
    const isThere = crew.otlp(name) === address
    notes.posts.push({ atMs, name, what, isHostile, status, tookMs: Date.now() - atMs, isThere })
  }
  const honest = { what: 'an honest span', body: spans([honestSpan]) }
  for (const hostile of hostilePosts()) {
    const flood = Array.from({ length: limits.atOnce }, () => post(hostile, true))
    await Promise.all([...flood, post(honest, false)])
  }
  await holdOpen(address, () => post(honest, false))
  return true
}

/** It may have to start first. */
async function addressOf(name: string, crew: Crew): Promise<string | undefined> {
  for (const endsMs = Date.now() + limits.readyMs; ; await sleep(limits.lookMs)) {
    const address = crew.otlp(name)
    if (address !== undefined || Date.now() > endsMs) return address
  }
}

/** undefined: the connection was closed, or nothing came for a long time. */
async function statusOf(
  address: string,
  body: Buffer,
  headers: Readonly<Record<string, string>>,
): Promise<number | undefined> {
  try {
    const signal = AbortSignal.timeout(limits.answerMs)
    const url = `http://${address}/v1/traces`
    const response = await fetch(url, {
      method: 'POST',
      headers,
      body: new Uint8Array(body),
      signal,
    })
    await response.body?.cancel()
    return response.status
  } catch {
    return undefined
  }
}

/** Whoever holds them must be let go of, so that there is room for others. */
async function holdOpen(address: string, after: () => Promise<void>): Promise<void> {
  const [host = '', port = ''] = address.split(':')
  const sockets = Array.from({ length: limits.slowSockets }, () => {
    const socket = connect({ host, port: Number(port) })
    socket.on('error', () => {}) // it may be closed on us
    socket.write('POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n')
    return socket
  })
  await sleep(limits.slowMs)
  await after()
  for (const socket of sockets) socket.destroy()
}

type Span = { readonly traceId: Buffer; readonly spanId?: Buffer; readonly name?: string }

const honestSpan: Span = {
  traceId: Buffer.alloc(16, 1),
  spanId: Buffer.alloc(8, 2),
  name: 'honest',
}

function spans(
  all: readonly Span[],
  attributes: readonly { key: string; value: object }[] = [],
): Buffer {
  const resource = { attributes: [...attributes] }
  const list = all.map((span) => ({ spanId: Buffer.alloc(8, 3), name: 'hostile', ...span }))
  const request = create(ExportTraceServiceRequestSchema, {
    resourceSpans: [{ resource, scopeSpans: [{ spans: list }] }],
  })
  return Buffer.from(toBinary(ExportTraceServiceRequestSchema, request))
}

/** All within the 4 MB that a body may have. */
function manySpans(): Buffer {
  return spans(
    Array.from({ length: limits.spans }, (_, at) => {
      const traceId = Buffer.alloc(4)
      traceId.writeUInt32BE(at)
      return { traceId, spanId: Buffer.alloc(1), name: '' }
    }),
  )
}

/** Whoever copies the resource for each trace has 2 GB. */
function manyTraces(): Buffer {
  const value = { value: { case: 'stringValue', value: 'x'.repeat(limits.resourceChars) } }
  const all = Array.from({ length: limits.traces }, (_, at) => {
    const traceId = Buffer.alloc(16)
    traceId.writeUInt32BE(at + 1, 12)
    return { traceId }
  })
  return spans(all, [{ key: 'large', value }])
}
