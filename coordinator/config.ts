// Settings from the environment, or every mistake in one message.
import { hostname } from 'node:os'
import { resolve } from 'node:path'
import { artifactBytesMax } from '../proto/artifact-file.ts'
import { limits } from './task/limits.ts'

export type Config = {
  readonly brokers: readonly string[]
  readonly application: string
  readonly topicPrefix: string
  readonly tasks: number
  readonly instance: string
  readonly sessionTimeoutMs: number
  /** Full service name → addresses of its replicas. */
  readonly services: ReadonlyMap<string, readonly string[]>
  /** Module that exports `pipeline`. */
  readonly pipeline: string
  readonly control: string
  readonly otlp: string
  /** Names by which others reach the control and OTLP ports, beside loopback and the addresses above. */
  readonly hosts: readonly string[]
  /** Backend that spans are forwarded to; undefined: none. */
  readonly otlpBackend: string | undefined
  /** Directories that outputs must be in. */
  readonly roots: readonly string[]
  /** All files of one response together. */
  readonly artifactBytesMax: number
  /** Calls under way in this process. */
  readonly callsInFlightMax: number
  /** Follow the state of tasks that others own. */
  readonly withStandby: boolean
  /** Log the state's hash with every n-th flush: for judges, and costs a pass over the state each time. 0: never. */
  readonly stateDigestEvery: number
  /** How long a finished plate is kept before it is retired. */
  readonly retireAfterMs: number
  /** Owners in a row that may die over one input record before it is set aside. */
  readonly deathsPerRecordMax: number
}

const DEFAULT_PIPELINE = new URL('./pipelines/screening.ts', import.meta.url).pathname

/** Throws one Error that names every setting that is wrong. */
export function readConfig(env: Readonly<Record<string, string | undefined>>): Config {
  const wrong: string[] = []
  const number = (name: string, fallback: number, min: number): number => {
    const value = Number(env[name] ?? fallback)
    if (!Number.isInteger(value) || value < min)
      wrong.push(`${name}="${env[name]}" is no number from ${min}`)
    return value
  }
  const list = (text: string | undefined, mark: string): string[] =>
    (text ?? '')
      .split(mark)
      .map((one) => one.trim())
      .filter((one) => one !== '')
  const brokers = list(env['KAFKA_BROKERS'], ',')
  if (brokers.length === 0) wrong.push('KAFKA_BROKERS is not set: want host:port,host:port')
  const config: Config = {
    brokers,
    application: env['WELLSPRING_APPLICATION'] ?? 'wellspring',
    topicPrefix: env['WELLSPRING_TOPIC_PREFIX'] ?? 'wellspring.',
    tasks: number('WELLSPRING_TASKS', 8, 1),
    instance: env['WELLSPRING_INSTANCE'] ?? `${hostname()}-${process.pid}`,
    sessionTimeoutMs: number('WELLSPRING_SESSION_TIMEOUT_MS', 10_000, 500),
    services: servicesOf(list(env['WELLSPRING_SERVICES'], ','), wrong),
    pipeline: resolve(env['WELLSPRING_PIPELINE'] ?? DEFAULT_PIPELINE),
    control: env['WELLSPRING_CONTROL'] ?? '127.0.0.1:0',
    otlp: env['WELLSPRING_OTLP'] ?? '127.0.0.1:0',
    hosts: list(env['WELLSPRING_HOSTS'], ','),
    otlpBackend: env['OTEL_EXPORTER_OTLP_ENDPOINT'],
    roots: [...list(env['WELLSPRING_ROOTS'], ':'), ...list(env['WELLSPRING_STORE'], ':')],
    artifactBytesMax: number('WELLSPRING_ARTIFACT_BYTES_MAX', artifactBytesMax, 1),
    callsInFlightMax: number('WELLSPRING_CALLS_IN_FLIGHT_MAX', 10_000, 1),
    withStandby: number('WELLSPRING_STANDBY', 0, 0) > 0,
    stateDigestEvery: number('WELLSPRING_STATE_DIGEST', 0, 0),
    retireAfterMs: number('WELLSPRING_RETIRE_AFTER_MS', limits.retireAfterMs, 0),
    deathsPerRecordMax: number('WELLSPRING_DEATHS_PER_RECORD_MAX', limits.deathsPerRecordMax, 2),
  }
  if (wrong.length > 0) throw new Error(`The coordinator cannot start:\n  ${wrong.join('\n  ')}`)
  return config
}

/** "<full service name>=host:port,…"; a name given several times has several replicas. */
function servicesOf(entries: readonly string[], wrong: string[]): Map<string, string[]> {
  const services = new Map<string, string[]>()
  for (const entry of entries) {
    const [name = '', address = ''] = entry.split('=')
    if (!/^[a-zA-Z_][\w.]*$/.test(name) || !/^.+:[0-9]+$/.test(address)) {
      wrong.push(`WELLSPRING_SERVICES: "${entry}" is not <full service name>=host:port`)
      continue
    }
    services.set(name, [...(services.get(name) ?? []), address])
  }
  return services
}
