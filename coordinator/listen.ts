// HTTP servers of the coordinator: whom they answer, how much of a machine a stranger can hold, how they end.
import { once } from 'node:events'
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type ServerResponse,
} from 'node:http'
import type { AddressInfo } from 'node:net'
import { hostname } from 'node:os'
import { jsonText } from '../proto/plain-text.ts'
import { unexpected } from './expected.ts'

export const listenLimits = {
  socketsMax: 256,
  headerBytesMax: 16 * 1024,
  /** From the first byte of a request to its last header, and to its last byte. */
  headersMs: 5_000,
  requestMs: 10_000,
  /** A connection on which nothing moves, and one between two requests. */
  silenceMs: 30_000,
  keepAliveMs: 5_000,
  /** How often the times above are looked at. */
  lookEveryMs: 1_000,
  requestsPerSocketMax: 10_000,
} as const
export type ListenLimits = Readonly<Record<keyof typeof listenLimits, number>>

const reasonsToldMax = 20

export type ListenOptions = {
  /** host:port; port 0 takes any. */
  readonly listen: string
  /** Names by which others may ask, beside loopback and the address that it listens on. */
  readonly hosts?: readonly string[] | undefined
  readonly limits?: Partial<ListenLimits>
  /** Told why requests are refused, each reason once: an exporter that is refused says nothing itself. */
  readonly onRefused?: ((why: string) => void) | undefined
}

export type Listening = {
  /** http://host:port */
  readonly address: string
  close(): Promise<void>
}

/** Serves what is meant for this host and comes from no other's page. Rejects if it cannot listen. */
export async function listenHttp(
  handler: RequestListener,
  options: ListenOptions,
): Promise<Listening> {
  const { host, port } = parseListen(options.listen)
  const limits = { ...listenLimits, ...options.limits }
  const hosts = { listen: host, names: [...(options.hosts ?? []), hostname()] }
  const told = new Set<string>()
  const tell = (why: string): void => {
    if (told.size >= reasonsToldMax || told.has(why)) return
    told.add(why)
    options.onRefused?.(why)
  }
  const server = createServer(
    {
      maxHeaderSize: limits.headerBytesMax,
      headersTimeout: limits.headersMs,
      requestTimeout: limits.requestMs,
      keepAliveTimeout: limits.keepAliveMs,
      connectionsCheckingInterval: limits.lookEveryMs,
    },
    (request, response) => {
      const why = unexpected(request, hosts)
      if (why === undefined) return handler(request, response)
      tell(why)
      refuse(request, response, why)
    },
  )
  server.maxConnections = limits.socketsMax
  server.maxRequestsPerSocket = limits.requestsPerSocketMax
  server.setTimeout(limits.silenceMs)
  server.listen(port, host)
  await once(server, 'listening')
  const bound = server.address() as AddressInfo
  return {
    address: `http://${host.includes(':') ? `[${host}]` : host}:${bound.port}`,
    async close() {
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
    },
  }
}

function refuse(request: IncomingMessage, response: ServerResponse, why: string): void {
  const body = jsonText({ code: 'permission_denied', message: why })
  response.writeHead(403, { 'content-type': 'application/json', connection: 'close' })
  response.end(body)
  request.resume()
}

/** Host and port of a listen address. Throws on anything else. */
export function parseListen(listen: string): { host: string; port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):([0-9]{1,5})$/.exec(listen)
  const [, six, four] = match ?? []
  const port = Number(match?.[3] ?? NaN)
  if (!match || port > 65_535) throw new Error(`"${listen}" is no listen address: want host:port`)
  return { host: six ?? four ?? '', port }
}
