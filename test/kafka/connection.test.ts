// Why a request failed is told apart: nobody was reached, or somebody refused. A wrong reason sends people the wrong way.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createKafka, isRefused, isUnreachable, toLogError } from '@wellspring/kafka/connection.ts'
import { LogError } from '@wellspring/kafka/errors.ts'
import { startWatchdog } from '@wellspring/kafka/watchdog.ts'
import { brokerForTests } from '../../dev/broker.ts'

const { brokers } = await brokerForTests()

async function failureOf(places: readonly string[], work: 'connect' | 'create'): Promise<unknown> {
  const admin = createKafka({ brokers: places }).admin({ retry: { retries: 1 } })
  try {
    await admin.connect()
    // More copies than there can be brokers.
    const topics = [{ topic: `refused-${Date.now()}`, numPartitions: 1, replicationFactor: 99 }]
    if (work === 'create') await admin.createTopics({ topics })
    return assert.fail('it should have failed')
  } catch (error) {
    return toLogError(error, 'Cannot do it')
  } finally {
    await admin.disconnect()
  }
}

test('nobody there is unreachable; a broker that refuses is not', async () => {
  const away = await failureOf(['127.0.0.1:9'], 'connect')
  assert.deepEqual([isUnreachable(away), isRefused(away)], [true, false], String(away))
  const refused = await failureOf(brokers, 'create')
  assert.deepEqual([isUnreachable(refused), isRefused(refused)], [false, true], String(refused))
  const hidden = new LogError(
    'unknown',
    'A transaction has been open for a minute: state.v1/0 at 4',
  )
  assert.deepEqual([isUnreachable(hidden), isRefused(hidden)], [false, false])
})

test('a watchdog says which of the two it waits for, and why', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const refused = await failureOf(brokers, 'create')
  const said: string[] = []
  const watchdog = startWatchdog({
    silentMs: 900,
    probe: () => Promise.reject(refused as Error),
    logger: (_, message, fields) => void said.push(`${message} (${String(fields['error'])})`),
    silent: () => assert.fail('a broker that refuses is waited for'),
  })
  for (let tick = 0; tick < 30; tick += 1) {
    t.mock.timers.tick(100)
    for (let turn = 0; turn < 5; turn += 1) await Promise.resolve()
  }
  watchdog.close()
  assert.equal(said.length, 1)
  assert.match(said[0] ?? '', /^Kafka refuses to be asked: waiting for it \(Cannot do it: .+\)$/)
})
