// The functions that patches.ts puts in place of kafkajs's own.

/** A record as kafkajs decodes it, as much as is needed here. */
export type Message = {
  readonly offset: string
  readonly key: Buffer | null
  readonly isControlRecord?: boolean
  readonly batchContext?: { readonly producerId: string; readonly inTransaction: boolean }
}

export type AbortedTransaction = { readonly producerId: string; readonly firstOffset: string }

// A control record's key: version, then type 0 = abort, 1 = commit (KIP-98).
const abortMarker = Buffer.from([0, 0, 0, 0])

/**
 * Messages that do not belong to an aborted transaction; control records stay. The broker lists aborted
 * transactions in the order they ended, so they are sorted; and several may begin before the first message.
 */
export function filterAborted<M extends Message>(fetched: {
  readonly messages: readonly M[]
  readonly abortedTransactions?: readonly AbortedTransaction[] | null
}): M[] {
  const { messages, abortedTransactions } = fetched
  if (!abortedTransactions || abortedTransactions.length === 0) return [...messages]
  const ahead = [...abortedTransactions]
    .map(({ producerId, firstOffset }) => ({ producerId, firstOffset: BigInt(firstOffset) }))
    .sort((a, b) => (a.firstOffset < b.firstOffset ? -1 : 1))
  const aborted = new Set<string>()
  let next = 0
  return messages.filter((message) => {
    const offset = BigInt(message.offset)
    for (
      let begun = ahead[next];
      begun !== undefined && begun.firstOffset <= offset;
      begun = ahead[next]
    ) {
      aborted.add(begun.producerId)
      next += 1
    }
    const context = message.batchContext
    if (context === undefined) return true
    if (message.isControlRecord === true) {
      if (message.key?.equals(abortMarker) === true) aborted.delete(context.producerId)
      return true
    }
    return !(context.inTransaction && aborted.has(context.producerId))
  })
}

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
