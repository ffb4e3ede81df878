// Where the broker and the coordinator are: flag, then environment, then what npm start wrote down.
import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { isLoopback } from '../coordinator/expected.ts'
import { CliError, EXIT } from './exit.ts'

export type Local = {
  /** Where it was read. */
  readonly file?: string
  readonly brokers?: readonly string[]
  readonly topicPrefix?: string | undefined
  readonly application?: string | undefined
  readonly control?: string | undefined
}

/** Flags that say where things are. */
export type WhereFlags = {
  readonly address?: string | undefined
  readonly brokers?: string | undefined
}

const PACKAGE = join(import.meta.dirname, '..')

const localBytesMax = 256 * 1024

/**
 * The file WELLSPRING_LOCAL, else .wellspring/local.json here, else of the package; empty where there is none. It may
 * have come with a folder that somebody else made: it is believed when it is ours alone to write, and followed to this
 * machine only. Throws CliError.
 */
export function readLocal(): Local {
  const told = process.env['WELLSPRING_LOCAL']
  const usual = [process.cwd(), PACKAGE].map((folder) => join(folder, '.wellspring/local.json'))
  for (const file of told ? [told] : usual) {
    const text = readOwn(file)
    if (text !== undefined) return checked(parse(text, file), file)
  }
  return {}
}

const OTHERWISE =
  'say --address or --brokers, set WELLSPRING_CONTROL or KAFKA_BROKERS, or run npm start'

/** Text of a file of ours; undefined when there is none. Never waits for a pipe of that name. */
function readOwn(file: string): string | undefined {
  let handle: number
  try {
    handle = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch {
    return undefined
  }
  try {
    const status = fstatSync(handle)
    if (!status.isFile() || status.size > localBytesMax)
      throw untrusted(file, `is no file of at most ${localBytesMax} bytes`)
    if (process.getuid && status.uid !== process.getuid())
      throw untrusted(file, `belongs to another user (${status.uid})`)
    if ((status.mode & 0o022) !== 0) throw untrusted(file, 'can be written by other users')
    return readFileSync(handle, 'utf8')
  } finally {
    closeSync(handle)
  }
}

function untrusted(file: string, why: string): CliError {
  return new CliError(EXIT.notAllowed, `${file} ${why}, and is not followed: ${OTHERWISE}`)
}

function parse(text: string, file: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch (cause) {
    const message = `${file} is no JSON: run npm start again, or remove it`
    throw new CliError(EXIT.failed, message, { cause })
  }
}

function checked(value: unknown, file: string): Local {
  const local = { ...(typeof value === 'object' ? value : undefined) } as Record<string, unknown>
  const textOf = (name: string): string | undefined => {
    const text = local[name]
    if (text === undefined || typeof text === 'string') return text
    throw untrusted(file, `has a "${name}" that is no text`)
  }
  const brokers: unknown = local['brokers'] ?? []
  if (!Array.isArray(brokers) || !brokers.every((broker) => typeof broker === 'string'))
    throw untrusted(file, 'has "brokers" that are no list of texts')
  const [control, topicPrefix] = [textOf('control'), textOf('topicPrefix')]
  return { file, brokers, control, topicPrefix, application: textOf('application') }
}

/** Throws unless a place that a file names is on this machine. */
function here(place: string, { file = '' }: Local): string {
  if (isHere(place)) return place
  throw untrusted(file, `leads to ${place}, which is not this machine`)
}

/** Whether host:port, or an http URL, is a loopback name or address. */
function isHere(place: string): boolean {
  const url = URL.parse(/^https?:\/\//.test(place) ? place : `http://${place}`)
  return url !== null && isLoopback(url.hostname.replace(/^\[|\]$/g, ''))
}

/** Base URL of the coordinator's control API. */
export function controlAddress(flags: WhereFlags): string {
  const address = flags.address ?? process.env['WELLSPRING_CONTROL'] ?? localControl()
  if (!address)
    throw new CliError(
      EXIT.unreachable,
      'no coordinator is known: run npm start, or say --address http://host:port (or WELLSPRING_CONTROL)',
    )
  return /^https?:\/\//.test(address) ? address : `http://${address}`
}

function localControl(): string | undefined {
  const local = readLocal()
  return local.control && here(local.control, local)
}

export type KafkaPlace = {
  readonly brokers: readonly string[]
  readonly topicPrefix: string
  readonly application: string
}

/** Brokers, topic prefix and application id. */
export function kafkaPlace(flags: WhereFlags): KafkaPlace {
  const said = flags.brokers ?? process.env['KAFKA_BROKERS']
  const local = said ? orNothing(readLocal) : readLocal()
  const brokers = said
    ? said.split(',').map((broker) => broker.trim())
    : (local.brokers ?? []).map((broker) => here(broker, local))
  if (brokers.length === 0 || brokers.some((broker) => broker === ''))
    throw new CliError(
      EXIT.unreachable,
      'no Kafka broker is known: run npm start, or say --brokers host:port (or KAFKA_BROKERS)',
    )
  return {
    brokers,
    topicPrefix: process.env['WELLSPRING_TOPIC_PREFIX'] ?? local.topicPrefix ?? 'wellspring.',
    application: process.env['WELLSPRING_APPLICATION'] ?? local.application ?? 'wellspring',
  }
}

/** Who says where things are needs no file; the names in one that can be believed are still good. */
function orNothing(read: () => Local): Local {
  try {
    return read()
  } catch {
    return {}
  }
}
