// What kafkajs keeps to itself: its cluster and brokers, as much as fetch.ts and transactions.ts use.
import type { Kafka } from 'kafkajs'
import type { Request } from './describe.ts'
import type { PartitionData } from './fetched.ts'

export const earliest = -2
export const latest = -1
export const readUncommitted = 0
export const readCommitted = 1

export type FetchResponse = {
  readonly responses: readonly { readonly partitions: readonly PartitionData[] }[]
}

export type ListResponse = {
  readonly responses: readonly {
    readonly partitions: readonly { partition: number; offset: string }[]
  }[]
}

export type Broker = {
  fetch(request: object): Promise<FetchResponse>
  listOffsets(request: object): Promise<ListResponse>
  addPartitionsToTxn(request: object): Promise<unknown>
  endTxn(request: object): Promise<unknown>
  /** For requests that kafkajs does not have. */
  readonly connectionPool: { send<Answer>(request: Request<Answer>): Promise<Answer> }
}

export type Cluster = {
  isConnected(): boolean
  connect(): Promise<void>
  disconnect(): Promise<void>
  refreshMetadata(): Promise<void>
  addMultipleTargetTopics(topics: readonly string[]): Promise<void>
  findTopicPartitionMetadata(topic: string): readonly unknown[]
  findLeaderForPartitions(topic: string, partitions: readonly number[]): Record<string, number[]>
  findGroupCoordinator(which: { groupId: string; coordinatorType: number }): Promise<Broker>
  findBroker(which: { nodeId: string }): Promise<Broker>
}

/** A cluster of its own, with its own sockets. */
export function clusterOf(kafka: Kafka): Cluster {
  const symbol = Object.getOwnPropertySymbols(kafka).find(
    (one) => one.description === 'private:Kafka:createCluster',
  )
  if (symbol === undefined)
    throw new Error('This kafkajs has no createCluster: internals.ts fits 2.2.4 only')
  const create = (kafka as unknown as Record<symbol, (options: object) => Cluster>)[symbol]
  if (create === undefined)
    throw new Error('This kafkajs has no createCluster: internals.ts fits 2.2.4 only')
  return create({ allowAutoTopicCreation: false, metadataMaxAge: 300_000 })
}
