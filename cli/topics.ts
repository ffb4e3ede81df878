// Topics as the command line uses them: whole topics read to their end as of now, records announced.
import { once } from 'node:events'
import { connect } from 'node:net'
import { openClient } from '@wellspring/kafka/client.ts'
import { isUnreachable } from '@wellspring/kafka/connection.ts'
import { LogError } from '@wellspring/kafka/errors.ts'
import type { Unreadable } from '@wellspring/kafka/records.ts'
import type { Announcer } from '../ingest/announce.ts'
import type { KafkaPlace } from './environment.ts'
import { CliError, EXIT } from './exit.ts'
import type { TopicRecord } from './ledger.ts'

/** Topics that the command line reads. */
export type ReadTopic = 'commands.v1' | 'results.v1' | 'dead-letters.v1' | 'status.v1'

export interface Topics extends Announcer {
  /**
   * Reads committed records of a topic up to its end as of now, in log order within a partition. A record is
   * handed over once, however often the topic is read. Tombstones are left out; what cannot be read is handed over as
   * that.
   */
  read(topic: ReadTopic, onRecord: (record: TopicRecord) => void): Promise<void>
  close(): Promise<void>
}

const connectMs = 3_000

/** Rejects, as every use does, with CliError: unreachable when no broker answers, failed when a topic is missing. */
export async function openTopics(place: KafkaPlace): Promise<Topics> {
  const { brokers, topicPrefix } = place
  await reach(brokers)
  const client = openClient({ brokers: [...brokers], clientId: 'wellspring-cli', topicPrefix })
  const ends = new Map<string, number>()

  return {
    async read(topic, onRecord) {
      try {
        const isNew = (partition: number, offset: number): boolean => {
          const slot = `${topic}/${partition}`
          if (offset < (ends.get(slot) ?? 0)) return false
          ends.set(slot, offset + 1)
          return true
        }
        const odd = (one: Unreadable): void => {
          if (isNew(one.partition, one.last)) onRecord(unreadable(topic, one))
        }
        for await (const { partition, offset, key, value, headers } of client.readAll(topic, odd)) {
          if (!isNew(partition, offset) || value === null) continue
          const type = headers['wellspring-type'] ?? ''
          onRecord({ topic, partition, offset, key: key?.toString('utf8') ?? '', type, value })
        }
      } catch (error) {
        throw asCliError(error, brokers)
      }
    },
    async announce(records) {
      try {
        await client.produce(records)
      } catch (error) {
        throw asCliError(error, brokers)
      }
    },
    close: () => client.close(),
  }
}

function unreadable(
  topic: ReadTopic,
  { partition, offset, last, message, bytes }: Unreadable,
): TopicRecord {
  const range = last > offset ? `offsets ${offset} to ${last}: ` : ''
  const value = bytes
  return { topic, partition, offset, key: '', type: '', value, unreadable: range + message }
}

/** Asks before the client does: it would try for half a minute. */
async function reach(brokers: readonly string[]): Promise<void> {
  const wrong = brokers.find((broker) => !hostPort(broker))
  if (wrong !== undefined) throw new CliError(EXIT.usage, `broker "${wrong}" is not host:port`)
  try {
    await Promise.any(brokers.map(knock))
  } catch (error) {
    const [first] = (error as AggregateError).errors as unknown[]
    throw new CliError(EXIT.unreachable, unreachable(brokers, first), { cause: error })
  }
}

async function knock(broker: string): Promise<void> {
  const socket = connect(hostPort(broker) ?? { port: 0 })
  try {
    await once(socket, 'connect', { signal: AbortSignal.timeout(connectMs) })
  } finally {
    socket.destroy()
  }
}

function hostPort(broker: string): { host: string; port: number } | undefined {
  const at = broker.lastIndexOf(':')
  const port = Number(broker.slice(at + 1))
  if (at < 1 || !(port > 0 && port < 65_536)) return undefined
  return { host: broker.slice(0, at).replace(/^\[|\]$/g, ''), port }
}

function unreachable(brokers: readonly string[], error: unknown): string {
  const why = error instanceof Error ? error.message : String(error)
  return `Kafka at ${brokers.join(',')} cannot be reached (${why}): is it running? try: npm start`
}

function asCliError(error: unknown, brokers: readonly string[]): unknown {
  if (!(error instanceof Error)) return error
  if (!(error instanceof LogError) && !error.name.startsWith('KafkaJS')) return error
  return isUnreachable(error)
    ? new CliError(EXIT.unreachable, unreachable(brokers, error), { cause: error })
    : new CliError(EXIT.failed, error.message, { cause: error })
}
