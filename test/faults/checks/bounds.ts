// I12: what is open stays bounded. Of the log: transactions are small, one at a time per writer, and ended soon. Of the
// processes: memory and handles, where the run took samples. Retired plates: see retired().
import type { Evidence } from '../evidence.ts'
import { placeName, transactions } from './transactions.ts'

const limits = {
  /** A flush writes less to each partition (takeover.md: 500 messages, 256 kB), with room for one large record. */
  partitionBytesMax: 900_000,
  partitionRecordsMax: 2_000,
} as const

export function bounded(evidence: Evidence): string[] {
  return [...transactionSizes(evidence), ...samples(evidence), ...retired(evidence)]
}

function transactionSizes(evidence: Evidence): string[] {
  return transactions(evidence).flatMap((one) => {
    const records = one.batches.reduce((sum, batch) => sum + batch.records, 0)
    const bytes = one.batches.reduce((sum, batch) => sum + batch.sizeBytes, 0)
    const isSmall = records <= limits.partitionRecordsMax && bytes <= limits.partitionBytesMax
    const where = `${placeName(one)}@${one.firstOffset}`
    return isSmall ? [] : [`${where}: a transaction of ${records} records and ${bytes} bytes`]
  })
}

function samples({ circumstances: { samples: taken, bounds } }: Evidence): string[] {
  if (!bounds) return []
  return taken.flatMap(({ atMs, name, rssBytes, handles }) => [
    ...(rssBytes > bounds.rssBytesMax
      ? [`${name} has ${rssBytes} bytes at ${atMs}; at most ${bounds.rssBytesMax}`]
      : []),
    ...(handles > bounds.handlesMax
      ? [`${name} has ${handles} handles at ${atMs}; at most ${bounds.handlesMax}`]
      : []),
  ])
}

/**
 * Plates that were retired leave only their summary: `circumstances.retired` names them, and no other key of theirs
 * may have a value in the last state.
 */
function retired({ circumstances, committed }: Evidence): string[] {
  const plates = circumstances.retired ?? []
  if (plates.length === 0) return []
  const last = new Map(
    committed.flatMap(({ topic, key, value }) =>
      topic === 'state.v1' ? [[key ?? '', value]] : [],
    ),
  )
  return plates.flatMap((plate) =>
    [...last].flatMap(([key, value]) => {
      const isBelow = key.startsWith(`${plate}/`) || key === `${plate}#plan`
      return isBelow && value !== null
        ? [`${plate} is retired, and state.v1 still holds ${key}`]
        : []
    }),
  )
}
