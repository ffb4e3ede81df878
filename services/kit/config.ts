// The environment of a wrapper, read once: every mistake in one report.
import { delimiter, resolve } from 'node:path'
import { artifactBytesMax, HIDDEN } from '../../proto/artifact-file.ts'

export type Config = {
  /** host:port; port 0 takes any free one. */
  readonly listen: string
  /** Directories that artifacts may be read from; the store is always one. */
  readonly roots: readonly string[]
  /** Directories below the roots that are not read, unless a root lies below them; ".*": hidden ones. */
  readonly rootsExcept: readonly string[]
  /** Where artifacts and answers are kept. */
  readonly store: string | undefined
  /** Largest file that is published. */
  readonly artifactBytesMax: number
  /** Narrows the contract's max_in_flight_per_replica, never widens it. */
  readonly maxInFlight: number
  /** A connection without calls for so long is closed. */
  readonly connectionIdleMs: number
  /** How long an execution goes on after its last caller left. */
  readonly orphanGraceMs: number
  /** How long running calls may take to end after SIGTERM. */
  readonly drainMs: number
}

export function readConfig(environment: NodeJS.ProcessEnv): Config {
  const mistakes: string[] = []
  const number = (name: string, standard: number, min: number): number => {
    const text = environment[name]
    if (text === undefined || text === '') return standard
    if (/^[0-9]{1,15}$/.test(text) && Number(text) >= min) return Number(text)
    mistakes.push(`${name}="${text}": want a whole number from ${min}`)
    return standard
  }
  const listen = environment['WELLSPRING_LISTEN'] ?? '127.0.0.1:0'
  if (!/^.+:[0-9]{1,5}$/.test(listen))
    mistakes.push(`WELLSPRING_LISTEN="${listen}": want host:port, for instance 127.0.0.1:0`)
  const store = environment['WELLSPRING_STORE']
  const config: Config = {
    listen,
    roots: pathsOf(environment['WELLSPRING_ROOTS']),
    rootsExcept: pathsOf(environment['WELLSPRING_ROOTS_EXCEPT'], HIDDEN),
    store: store ? resolve(store) : undefined,
    artifactBytesMax: number('WELLSPRING_ARTIFACT_BYTES_MAX', artifactBytesMax, 1),
    maxInFlight: number('WELLSPRING_MAX_IN_FLIGHT', Number.POSITIVE_INFINITY, 1),
    connectionIdleMs: number('WELLSPRING_CONNECTION_IDLE_MS', 3_600_000, 1),
    orphanGraceMs: number('WELLSPRING_ORPHAN_GRACE_MS', 30_000, 0),
    drainMs: number('WELLSPRING_DRAIN_MS', 10_000, 0),
  }
  if (mistakes.length > 0) throw new Error(`Cannot start:\n  ${mistakes.join('\n  ')}`)
  return config
}

function pathsOf(text = '', word?: string): string[] {
  const paths = text.split(delimiter).filter((path) => path !== '')
  return paths.map((path) => (path === word ? path : resolve(path)))
}
