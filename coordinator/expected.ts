// Who a request to one of the coordinator's HTTP ports is meant for, and who sent it: a browser that was lured to a name
// which leads here (DNS rebinding), or a page of somebody else, is refused.
import type { IncomingMessage } from 'node:http'
import { isIP } from 'node:net'

/** Why a request is refused; undefined: it is not. `hosts` are names, and what may stand in them (isExpectedHost). */
export function unexpected(request: IncomingMessage, hosts: Hosts): string | undefined {
  const { headers, rawHeaders, url = '' } = request
  const count = rawHeaders.filter((name, at) => at % 2 === 0 && /^host$/i.test(name)).length
  const host = headers.host ?? ''
  if (count !== 1 || host === '') return 'want one Host header'
  // A whole URL as the target would stand above the header.
  if (!url.startsWith('/') && url !== '*') return 'want a path, not a URL, as the target'
  if (!isExpectedHost(host, hosts))
    return `Host "${host}" is not expected here: WELLSPRING_HOSTS names the hosts of this coordinator`
  const { origin } = headers
  if (origin !== undefined && !isSame(origin, host))
    return `Origin "${origin}" is not this host: pages of other hosts may not ask`
  const site = headers['sec-fetch-site']
  if (site !== undefined && site !== 'same-origin' && site !== 'none')
    return `Sec-Fetch-Site "${String(site)}": pages of other hosts may not ask`
  return undefined
}

export type Hosts = {
  /** Where the port listens: a name or an address. */
  readonly listen: string
  /** Further names: of this machine, and from WELLSPRING_HOSTS. */
  readonly names: readonly string[]
}

const wildcards = new Set(['0.0.0.0', '::', ''])

/**
 * Loopback names and addresses, what the port listens on, and the names that were set. Where it listens on every
 * address, any address will do: only a name can be made to lead elsewhere.
 */
export function isExpectedHost(host: string, { listen, names }: Hosts): boolean {
  const name = hostName(host)
  if (name === undefined) return false
  if (isLoopback(name) || name === listen.toLowerCase()) return true
  if (names.some((one) => one.toLowerCase() === name)) return true
  return wildcards.has(listen) && isIP(name) !== 0
}

/** The name in host[:port], lower case, IPv6 without brackets; undefined if it is none. */
function hostName(host: string): string | undefined {
  const match = /^(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::[0-9]{1,5})?$/i.exec(host)
  return (match?.[1] ?? match?.[2])?.toLowerCase()
}

/** localhost and the addresses that never leave the machine. */
export function isLoopback(name: string): boolean {
  if (name === 'localhost' || name === '::1') return true
  return isIP(name) === 4 && name.startsWith('127.')
}

function isSame(origin: string, host: string): boolean {
  return origin === `http://${host}` || origin === `https://${host}`
}
