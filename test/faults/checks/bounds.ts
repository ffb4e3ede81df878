// I12: what is open stays bounded. Of the log: transactions are small, one at a time per writer, and ended soon. Of the
// processes: memory and handles, where the run took samples. Of a retired plate only its summary is left.
import { fromBinary } from '@bufbuild/protobuf'
import { PlateStateSchema } from '#proto/wellspring/journal/v1/state_pb.ts'
import type { Evidence } from '../evidence.ts'
import { plateOf } from './names.ts'
import { journals } from './records.ts'
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

/** A plate that says it is retired has forgotten all but its summary; those that must be are. */
function retired(evidence: Evidence): string[] {
  const last = new Map(
    [...journals(evidence).values()].flat().map(({ key, value }) => [key ?? '', value]),
  )
  const forgotten = new Set<string>()
  const complaints: string[] = []
  for (const [key, value] of last) {
    if (value === null || key.split('/').length !== 3 || key.endsWith('#plan')) continue
    const summary = fromBinary(PlateStateSchema, value).retired
    if (summary && summary.nextWell === undefined) forgotten.add(key)
    if (summary?.nextWell !== undefined) complaints.push(`${key} is retired only in part`)
  }
  for (const [key, value] of last) {
    const plate = plateOf(key.replace(/#plan$/, ''))
    if (value !== null && key !== plate && forgotten.has(plate))
      complaints.push(`${plate} is retired, and state.v1 still holds ${key}`)
  }
  for (const plate of evidence.circumstances.retired ?? [])
    if (!forgotten.has(plate)) complaints.push(`${plate} should be retired, and is not`)
  return complaints
}
