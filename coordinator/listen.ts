// HTTP servers of the coordinator: where they listen, and how they end.
import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'

export type Listening = {
  /** http://host:port */
  readonly address: string
  close(): Promise<void>
}

/** Listens at host:port; port 0 takes any. Rejects if it cannot. */
export async function listenHttp(server: Server, listen: string): Promise<Listening> {
  const { host, port } = parseListen(listen)
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

/** Host and port of a listen address. Throws on anything else. */
export function parseListen(listen: string): { host: string; port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):([0-9]{1,5})$/.exec(listen)
  const [, six, four] = match ?? []
  const port = Number(match?.[3] ?? NaN)
  if (!match || port > 65_535) throw new Error(`"${listen}" is no listen address: want host:port`)
  return { host: six ?? four ?? '', port }
}
