// A broker of its own with a proxy in front of it.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startBroker } from '../../dev/broker.ts'
import { openProxy, type Proxy } from './proxy.ts'

export type ProxiedBroker = {
  readonly proxy: Proxy
  /** Through the proxy. */
  readonly brokers: readonly string[]
  /** Past it: for judges, and for what is not to be disturbed. */
  readonly direct: readonly string[]
  close(): Promise<void>
}

export async function proxiedBroker(): Promise<ProxiedBroker> {
  const dir = mkdtempSync(join(tmpdir(), 'wellspring-proxied-'))
  const proxy = await openProxy()
  const broker = await startBroker({ dir, proxyPort: proxy.port })
  if (broker.proxiedPort === undefined) throw new Error('the broker has no listener for a proxy')
  proxy.connectTo({ host: '127.0.0.1', port: broker.proxiedPort })
  return {
    proxy,
    brokers: [`127.0.0.1:${proxy.port}`],
    direct: broker.brokers,
    async close() {
      await proxy.close()
      await broker.kill()
      rmSync(dir, { recursive: true, force: true, maxRetries: 3 })
    },
  }
}
