// The addresses of a service's replicas: as given, or what a name stands for by now. A name is looked up here and not
// by the transport, because each replica behind it is judged by itself.
import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import type { Logger } from '@wellspring/kafka/logger.ts'

export const addressLimits = {
  /** Replicas behind all names of one service. */
  replicasMax: 256,
  /** Between two looks at a name. */
  lookEveryMs: 10_000,
} as const

/** Every IP address of a host. Rejects when there is none. */
export type Lookup = (host: string) => Promise<readonly string[]>

export type AddressOptions = {
  /** host:port, or dns:///host:port. */
  readonly targets: readonly string[]
  readonly logger: Logger
  /** Called with all addresses whenever they are others than before. */
  readonly onChange: (addresses: readonly string[]) => void
  readonly lookup?: Lookup
  readonly lookEveryMs?: number
}

export type Addresses = {
  /** Settles when every name was looked up once. */
  readonly known: Promise<void>
  close(): void
}

export function watchAddresses(options: AddressOptions): Addresses {
  const { targets, onChange, lookEveryMs = addressLimits.lookEveryMs } = options
  const hosts = targets.map(hostOf)
  const answers = new Map<string, readonly string[]>()
  let before = ''
  let timer: NodeJS.Timeout | undefined
  let isClosed = false

  async function look(): Promise<void> {
    for (const host of new Set(hosts.filter((one) => !one.isFixed).map(({ name }) => name)))
      await ask(host)
    if (isClosed) return
    const all = hosts.flatMap(({ name, port, target, isFixed }) =>
      isFixed ? [target] : (answers.get(name) ?? []).map((ip) => join(ip, port)),
    )
    const addresses = [...new Set(all)].slice(0, addressLimits.replicasMax)
    const text = addresses.join()
    if (text !== before) onChange(addresses)
    before = text
    if (hosts.every(({ isFixed }) => isFixed)) return
    timer = setTimeout(() => void look(), lookEveryMs).unref()
  }

  /** What was known stays when nobody answers: the name's server is down, not the replicas. */
  async function ask(host: string): Promise<void> {
    try {
      answers.set(host, await (options.lookup ?? addressesOf)(host))
    } catch (error) {
      if (answers.has(host) || isClosed) return
      const reason = error instanceof Error ? error.message : String(error)
      options.logger('warn', `${host} has no address: ${reason}`, { host })
    }
  }

  return {
    known: look(),
    close() {
      isClosed = true
      clearTimeout(timer)
    },
  }
}

type Host = {
  readonly target: string
  readonly name: string
  readonly port: string
  readonly isFixed: boolean
}

function hostOf(target: string): Host {
  const plain = target.replace(/^dns:\/*/, '')
  const mark = plain.lastIndexOf(':')
  const name = plain.slice(0, mark).replace(/^\[(.*)\]$/, '$1')
  return { target: plain, name, port: plain.slice(mark + 1), isFixed: isIP(name) !== 0 }
}

function join(ip: string, port: string): string {
  return isIP(ip) === 6 ? `[${ip}]:${port}` : `${ip}:${port}`
}

/** Of one family: a replica with an address in both is one replica. */
async function addressesOf(host: string): Promise<string[]> {
  const found = await lookup(host, { all: true })
  const four = found.filter(({ family }) => family === 4)
  return (four.length > 0 ? four : found).map(({ address }) => address).toSorted()
}
