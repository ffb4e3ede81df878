// What Kafka knows of transactions and kafkajs does not ask. A broker that dies after it answered "committed" and
// before it wrote the markers may start again, skip them ("topic … likely deleted") and call the transaction complete:
// its records stay open, hidden from every reader, until the next transaction of that id decides for them, either way.
import type { Kafka } from 'kafkajs'
import { toLogError } from './connection.ts'
import { describeProducers, describeTransaction } from './describe.ts'
import { clusterOf, type Broker, type Cluster } from './internals.ts'
import { modules } from './patches.ts'
import type { OutputTopic } from './topic-names.ts'
import type { WriterId } from './records.ts'
import { retried, type Patience } from './retried.ts'

/** While a broker that has just started loads what its coordinator knows. */
const patience: Patience = { firstMs: 50, maxMs: 50, totalMs: 3_000 }

export type Place = { readonly topic: OutputTopic; readonly partition: number }

/** How the last transaction of an id ended, or will; `none` also when a newer claim has made Kafka forget it. */
export type Outcome = {
  readonly ended: 'committed' | 'aborted' | 'none'
  readonly producerId?: number
}

export interface Transactions {
  /** Asked before the id is claimed: the claim makes Kafka forget it. */
  lastOf(transactionalId: string): Promise<Outcome>
  /** Of these places, those where records of one of the producers are neither committed nor aborted. */
  openOf(producerIds: ReadonlySet<number>, places: readonly Place[]): Promise<Place[]>
  /** Ends what is open in these places, as a transaction of its own of a writer that has none. */
  end(
    transactionalId: string,
    writer: WriterId,
    how: { readonly places: readonly Place[]; readonly commit: boolean },
  ): Promise<void>
  close(): Promise<void>
}

/**
 * On a cluster of its own, as where a coordinator is found is kept as long as its cluster (patches.ts, coordinatorOnce).
 * All of it rejects with LogError of kind unknown when the brokers cannot say.
 */
export function openTransactions(kafka: Kafka, topicPrefix: string): Transactions {
  const cluster = clusterOf(kafka)
  const asked = <T>(doing: string, work: () => Promise<T>): Promise<T> =>
    retried(
      async () => {
        if (!cluster.isConnected()) await cluster.connect()
        return work()
      },
      patience,
      (error) => (error as { retriable?: unknown }).retriable === true,
    ).catch((error: unknown) => {
      throw toLogError(error, doing)
    })
  return {
    lastOf: (id) =>
      asked(`Cannot ask for the last transaction of ${id}`, async () => {
        const broker = await coordinatorOf(cluster, id)
        const { code, state, producerId } = await broker.connectionPool.send(
          describeTransaction(id),
        )
        if (code === notFound) return { ended: 'none' }
        refuse(code)
        return { ended: endings[state] ?? 'none', producerId }
      }),
    openOf: (producerIds, places) =>
      asked('Cannot ask for open transactions', async () => {
        const open: Place[] = []
        let answers = 0
        for (const { topic, partitions, broker } of await leadersOf(cluster, topicPrefix, places)) {
          const answer = await broker.connectionPool.send(
            describeProducers(topicPrefix + topic, partitions),
          )
          for (const { partition, code, producers } of answer) {
            refuse(code)
            answers += 1
            const isOpen = producers.some((one) => one.isOpen && producerIds.has(one.producerId))
            if (isOpen) open.push({ topic, partition })
          }
        }
        if (answers < places.length) throw new Error('not every partition has a leader')
        return open
      }),
    end: (transactionalId, { producerId, epoch }, { places, commit }) =>
      asked(`Cannot end what a transaction of ${transactionalId} left open`, async () => {
        const broker = await coordinatorOf(cluster, transactionalId)
        const writer = { transactionalId, producerId: String(producerId), producerEpoch: epoch }
        const topics = byTopic(places).map(([topic, partitions]) => ({
          topic: topicPrefix + topic,
          partitions,
        }))
        await broker.addPartitionsToTxn({ ...writer, topics })
        await broker.endTxn({ ...writer, transactionResult: commit })
      }),
    close: () => cluster.disconnect(),
  }
}

const notFound = 105

const endings: Readonly<Record<string, 'committed' | 'aborted'>> = {
  PrepareCommit: 'committed',
  CompleteCommit: 'committed',
  PrepareAbort: 'aborted',
  CompleteAbort: 'aborted',
  // The claim that follows aborts it.
  Ongoing: 'aborted',
  PrepareEpochFence: 'aborted',
}

function refuse(code: number): void {
  if (code === 0) return
  type Errors = { readonly createErrorFromCode: (code: number) => Error }
  throw modules.load<Errors>('protocol/error').createErrorFromCode(code)
}

function coordinatorOf(cluster: Cluster, transactionalId: string): Promise<Broker> {
  return cluster.findGroupCoordinator({ groupId: transactionalId, coordinatorType: 1 })
}

type Led = {
  readonly topic: OutputTopic
  readonly partitions: readonly number[]
  readonly broker: Broker
}

async function leadersOf(
  cluster: Cluster,
  topicPrefix: string,
  places: readonly Place[],
): Promise<Led[]> {
  const led: Led[] = []
  const topics = byTopic(places)
  await cluster.addMultipleTargetTopics(topics.map(([topic]) => topicPrefix + topic))
  for (const [topic, wanted] of topics) {
    const leaders = cluster.findLeaderForPartitions(topicPrefix + topic, wanted)
    for (const [nodeId, partitions] of Object.entries(leaders))
      led.push({ topic, partitions, broker: await cluster.findBroker({ nodeId }) })
  }
  return led
}

function byTopic(places: readonly Place[]): [OutputTopic, number[]][] {
  return [...Map.groupBy(places, ({ topic }) => topic)].map(([topic, of]) => [
    topic,
    of.map(({ partition }) => partition),
  ])
}
