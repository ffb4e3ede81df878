// The function that patches.ts puts in place of kafkajs's own grouping.

/** Messages by partition, in their order. */
export function groupByPartition<M>(request: {
  readonly topic: string
  readonly partitionMetadata: readonly unknown[]
  readonly messages: readonly M[]
  readonly partitioner: (message: object) => number
}): Record<number, M[]> {
  const { topic, partitionMetadata, messages, partitioner } = request
  const groups: Record<number, M[]> = {}
  if (partitionMetadata.length === 0) return groups
  for (const message of messages) {
    const partition = partitioner({ topic, partitionMetadata, message })
    const group = (groups[partition] ??= [])
    group.push(message)
  }
  return groups
}
