// Three brokers as `npm run faults -- --brokers 3` starts them: every topic in three copies, of which one may go.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createKafka } from '@wellspring/kafka/connection.ts'
import { createTopics } from '@wellspring/kafka/topics.ts'
import { startCluster } from './cluster.ts'

const limits = { eventuallyMs: 40_000, everyMs: 100 } as const

test('every topic has three copies; with a broker gone all is written; leaders can be moved', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'wellspring-cluster-'))
  t.after(() => rmSync(dir, { recursive: true, force: true, maxRetries: 3 }))
  const cluster = await startCluster(dir, 3)
  t.after(() => cluster.close())
  const { brokers } = cluster
  await createTopics({ brokers, topicPrefix: 'c.', tasks: 3 })
  const kafka = createKafka({ brokers })
  const admin = kafka.admin()
  await admin.connect()
  t.after(() => admin.disconnect())

  const write = async (value: string): Promise<void> => {
    const producer = kafka.producer({ transactionalId: 'c', maxInFlightRequests: 1 })
    try {
      await producer.connect()
      const transaction = await producer.transaction()
      await transaction.send({ topic: 'c.results.v1', messages: [{ value, partition: 0 }] })
      await transaction.commit()
    } finally {
      await producer.disconnect()
    }
  }
  await write('with all')
  const { topics } = await admin.fetchTopicMetadata()
  assert.ok(topics.some(({ name }) => name === '__transaction_state'))
  for (const { name, partitions } of topics)
    for (const { replicas } of partitions) assert.equal(replicas.length, 3, name)

  const leader = topics.find(({ name }) => name === 'c.results.v1')?.partitions[0]?.leader ?? 0
  const gone = Promise.withResolvers<void>()
  const back = cluster.kill(leader - 1, () => gone.promise)
  await eventually(() => write('without its leader'))
  gone.resolve()
  await back

  const preferred = new Map(
    topics.flatMap(({ name, partitions }) =>
      partitions.map(({ partitionId, replicas }) => [`${name}/${partitionId}`, replicas[0]]),
    ),
  )
  await cluster.moveLeaders()
  await eventually(async () => {
    const now = await admin.fetchTopicMetadata()
    for (const { name, partitions } of now.topics)
      for (const { partitionId, leader: leads } of partitions)
        assert.notEqual(leads, preferred.get(`${name}/${partitionId}`), name)
  })
})

/** Clients give up sooner than a cluster has found its new leaders. */
async function eventually(work: () => Promise<void>): Promise<void> {
  const endMs = performance.now() + limits.eventuallyMs
  for (;;) {
    try {
      return await work()
    } catch (error) {
      if (performance.now() > endMs) throw error
      await sleep(limits.everyMs)
    }
  }
}
