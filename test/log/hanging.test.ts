// A transaction that its coordinator has forgotten. A broker that is started again leaves such ones behind: it closes
// a transaction that was open and skips the markers for topics it does not know yet.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { startBroker } from '../../dev/broker.ts'
import { createKafka } from '../../coordinator/log/connection.ts'
import { modules } from '../../coordinator/log/patches.ts'
import { keyOf, record } from './port.suite.ts'
import { kafkaWorld } from './world.ts'

const BROKER = 4

test('what a forgotten transaction left open is aborted by the next owner, not committed with its barrier', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'wellspring-hanging-'))
  const broker = await startBroker({ dir })
  try {
    const world = await kafkaWorld(2, broker.brokers)
    const first = await (await world.open('first')).fence(0)
    await first.commit([record(0, '#owner'), { ...record(0, 'good'), topic: 'results.v1' }])
    await first.close()
    await withoutVerification(broker.brokers)
    while (!(await leftHanging(broker.brokers, world.options))) await sleep(100)

    const log = await world.open('second')
    const writer = await log.fence(0)
    await writer.commit([record(0, '#owner2')])
    await writer.commit([{ ...record(0, 'better'), topic: 'results.v1' }])
    const state = (await world.committed('state.v1')).map(keyOf)
    const results = (await world.committed('results.v1')).map(keyOf)
    assert.deepEqual(state, ['#owner', '#owner2'])
    assert.deepEqual(results, ['good', 'better'])
    await writer.close()
    await Promise.all([log.close(), world.close()])
  } finally {
    await broker.kill()
    rmSync(dir, { recursive: true, force: true, maxRetries: 3 })
  }
})

/** A broker refuses what belongs to no transaction that its coordinator knows, unless told not to ask. */
async function withoutVerification(brokers: readonly string[]): Promise<void> {
  const admin = createKafka({ brokers }).admin()
  await admin.connect()
  const configEntries = [{ name: 'transaction.partition.verification.enable', value: 'false' }]
  const resources = [{ type: BROKER, name: '1', configEntries }]
  await admin.alterConfigs({ validateOnly: false, resources })
  await admin.disconnect()
}

/** Writes under the id of task 0 behind its coordinator's back; false while the broker still refuses. */
async function leftHanging(
  brokers: readonly string[],
  { topicPrefix, application }: { readonly topicPrefix: string; readonly application: string },
): Promise<boolean> {
  const { prototype } = modules.load<{ prototype: { addPartitionsToTxn: unknown } }>('broker')
  const { addPartitionsToTxn } = prototype
  const producer = createKafka({ brokers }).producer({
    transactionalId: `${application}-plate-0`,
    maxInFlightRequests: 1,
    retry: { retries: 0 },
  })
  await producer.connect()
  const transaction = await producer.transaction()
  prototype.addPartitionsToTxn = () => Promise.resolve({ errors: [] })
  try {
    const messages = [{ partition: 0, key: 'hanging', value: 'x' }]
    const topics = ['state.v1', 'results.v1'].map((topic) => topicPrefix + topic)
    await transaction.sendBatch({ topicMessages: topics.map((topic) => ({ topic, messages })) })
    return true
  } catch (error) {
    if ((error as { type?: unknown }).type === 'INVALID_TXN_STATE') return false
    throw error
  } finally {
    prototype.addPartitionsToTxn = addPartitionsToTxn
    await producer.disconnect()
  }
}
