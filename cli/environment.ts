// Where the broker and the coordinator are: flag, then environment, then what npm start wrote down.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { CliError, EXIT } from './exit.ts'

export type Local = {
  readonly brokers?: readonly string[]
  readonly topicPrefix?: string
  readonly application?: string
  readonly control?: string
}

/** Flags that say where things are. */
export type WhereFlags = {
  readonly address?: string | undefined
  readonly brokers?: string | undefined
}

const PACKAGE = join(import.meta.dirname, '..')

/** The file WELLSPRING_LOCAL, else .wellspring/local.json here, else of the package; empty where there is none. */
export function readLocal(): Local {
  const told = process.env['WELLSPRING_LOCAL']
  const usual = [process.cwd(), PACKAGE].map((folder) => join(folder, '.wellspring/local.json'))
  for (const file of told ? [told] : usual) {
    let text: string
    try {
      text = readFileSync(file, 'utf8')
    } catch {
      continue
    }
    try {
      return JSON.parse(text) as Local
    } catch (cause) {
      throw new CliError(EXIT.failed, `${file} is no JSON: run npm start again, or remove it`, {
        cause,
      })
    }
  }
  return {}
}

/** Base URL of the coordinator's control API. */
export function controlAddress(flags: WhereFlags): string {
  const address = flags.address ?? process.env['WELLSPRING_CONTROL'] ?? readLocal().control
  if (!address)
    throw new CliError(
      EXIT.unreachable,
      'no coordinator is known: run npm start, or say --address http://host:port (or WELLSPRING_CONTROL)',
    )
  return /^https?:\/\//.test(address) ? address : `http://${address}`
}

export type KafkaPlace = {
  readonly brokers: readonly string[]
  readonly topicPrefix: string
  readonly application: string
}

/** Brokers, topic prefix and application id. */
export function kafkaPlace(flags: WhereFlags): KafkaPlace {
  const local = readLocal()
  const said = flags.brokers ?? process.env['KAFKA_BROKERS']
  const brokers = said ? said.split(',').map((broker) => broker.trim()) : (local.brokers ?? [])
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
