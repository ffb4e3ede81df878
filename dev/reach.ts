// Is a given Kafka there at all? Asked before anything else, so that the answer is one sentence.
import { once } from 'node:events'
import { connect } from 'node:net'

const limits = { connectMs: 3_000 } as const

/** Resolves when one of the brokers accepts a connection; rejects with what to do when none does. */
export async function checkBrokers(brokers: readonly string[]): Promise<void> {
  const answers = await Promise.allSettled(brokers.map(checkBroker))
  if (answers.some(({ status }) => status === 'fulfilled')) return
  const why = answers.map((answer) => (answer.status === 'rejected' ? String(answer.reason) : ''))
  throw new Error(
    `no Kafka answers at ${brokers.join(', ')} (KAFKA_BROKERS): ${why.join('; ')}.\n` +
      'Start that cluster, correct the address (host:port,host:port), or unset KAFKA_BROKERS to use a local Kafka.',
  )
}

async function checkBroker(broker: string): Promise<void> {
  const match = /^(.+):(\d+)$/.exec(broker)
  if (!match) throw new Error(`"${broker}" is not host:port`)
  const socket = connect({ host: match[1] ?? '', port: Number(match[2]) })
  try {
    await once(socket, 'connect', { signal: AbortSignal.timeout(limits.connectMs) })
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    throw new Error(code === 'ABORT_ERR' ? `${broker} timed out` : `${broker} ${code}`, {
      cause: error,
    })
  } finally {
    socket.destroy()
  }
}
