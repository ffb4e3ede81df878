// How every part of this room talks to Kafka: one configured client, and the error codes it answers with.
import type { Kafka } from 'kafkajs'
import type { Logger } from './logger.ts'
import { kafkaLogCreator } from './kafkajs-log.ts'
import { kafkajs } from './patches.ts'
import { asLogError, LogError } from './errors.ts'
import { openSocket } from './responses.ts'

const limits = {
  connectMs: 3_000,
  requestMs: 15_000,
  retryFirstMs: 50,
  retryMaxMs: 1_000,
  retriesMax: 8,
} as const

const invalidProducerEpoch = 47
const producerFenced = 90
const messageTooLarge = 10
const recordListTooLarge = 18

export type ConnectionOptions = {
  /** `host:port` of some brokers. */
  readonly brokers: readonly string[]
  readonly clientId?: string
  readonly logger?: Logger
}

/** A client; sockets are opened by what is made from it. */
export function createKafka(options: ConnectionOptions): Kafka {
  return new kafkajs.Kafka({
    brokers: [...options.brokers],
    clientId: options.clientId ?? 'wellspring',
    connectionTimeout: limits.connectMs,
    requestTimeout: limits.requestMs,
    retry: {
      initialRetryTime: limits.retryFirstMs,
      maxRetryTime: limits.retryMaxMs,
      retries: limits.retriesMax,
    },
    socketFactory: ({ host, port, onConnect }) => openSocket(host, port, onConnect),
    logLevel: options.logger === undefined ? kafkajs.logLevel.NOTHING : kafkajs.logLevel.WARN,
    ...(options.logger === undefined ? {} : { logCreator: kafkaLogCreator(options.logger) }),
  })
}

/** What a failed request means: fenced when a newer writer owns the id, otherwise unknown. */
export function toLogError(error: unknown, doing: string): LogError {
  if (error instanceof LogError) return error
  const code = codeOf(error)
  const kind = code === invalidProducerEpoch || code === producerFenced ? 'fenced' : 'unknown'
  return new LogError(kind, `${doing}: ${saidBy(error)}`, { cause: error })
}

/** Resolves after `ms` at the latest, whatever becomes of the work. */
export async function bounded(work: Promise<unknown>, ms: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(resolve, ms)
  work.then(
    () => resolve(),
    () => resolve(),
  )
  await promise
  clearTimeout(timer)
}

/** MESSAGE_TOO_LARGE, RECORD_LIST_TOO_LARGE: the topic's max.message.bytes is less than what was sent. */
export function isTooLarge(error: unknown): boolean {
  const code = codeOf(error)
  return code === messageTooLarge || code === recordListTooLarge
}

function saidBy(error: unknown): string {
  const several = (error as { errors?: readonly unknown[] } | undefined)?.errors ?? []
  const said = [error, ...several].map((one) => asLogError(one).message)
  return [...new Set(said)].join(': ')
}

const UNREACHED: ReadonlySet<string> = new Set([
  'KafkaJSConnectionError',
  'KafkaJSConnectionClosedError',
  'KafkaJSRequestTimeoutError',
  'KafkaJSBrokerNotFound',
  'KafkaJSNoBrokerAvailableError',
  'KafkaJSTimeout',
  'KafkaJSLockTimeout',
])

/** Whether no broker was spoken to; what a broker answered is another matter, and called by its own name. */
export function isUnreachable(error: unknown): boolean {
  return chainOf(error).some(
    ({ name, code }) =>
      UNREACHED.has(name) || (typeof code === 'string' && /^(E[A-Z]+|EAI_[A-Z]+)$/.test(code)),
  )
}

/** Whether a broker was spoken to and refused. */
export function isRefused(error: unknown): boolean {
  return chainOf(error).some(
    ({ name, code }) => typeof code === 'number' || name === 'KafkaJSSASLAuthenticationError',
  )
}

/** An error and what it wraps; of several, which kafkajs's own message does not tell, the first. */
function chainOf(error: unknown): Wrapping[] {
  const chain: Wrapping[] = []
  for (let one = error; one instanceof Error && chain.length < 8;) {
    const wrapping: Wrapping = one
    chain.push(wrapping)
    one = wrapping.cause ?? wrapping.errors?.[0]
  }
  return chain
}

type Wrapping = Error & { readonly code?: unknown; readonly errors?: readonly unknown[] }

/** Kafka's error code, also of a wrapped error. */
function codeOf(error: unknown): number | undefined {
  const codes = chainOf(error).map(({ code }) => code)
  return codes.find((code) => typeof code === 'number')
}
