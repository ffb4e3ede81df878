// I12: what is open stays bounded. Of the log: transactions are small, and checkpoints keep up with the inputs. Of the
// processes: memory and handles, where the run took samples. Of a retired plate only its summary is left.
import { fromBinary } from '@bufbuild/protobuf'
import { PlateStateSchema } from '#proto/wellspring/journal/v1/state_pb.ts'
import type { Evidence } from '../evidence.ts'
import { growing, type Point } from './growth.ts'
import { plateOf } from './names.ts'
import { journals } from './records.ts'
import { placeName, transactions } from './transactions.ts'

const limits = {
  /** Of a batch: Kafka takes no larger one. */
  batchBytesMax: 900_000,
  batchRecordsMax: 2_000,
  /** Of a flush, to each partition: as a rule one batch; a large entity that changes whole takes more. */
  partitionBytesMax: 16_000_000,
} as const

export function bounded(evidence: Evidence): string[] {
  return [
    ...transactionSizes(evidence),
    ...samples(evidence),
    ...growing(evidence),
    ...retired(evidence),
  ]
}

function transactionSizes(evidence: Evidence): string[] {
  return transactions(evidence).flatMap((one) => {
    const records = one.batches.reduce((sum, batch) => sum + batch.records, 0)
    const bytes = one.batches.reduce((sum, batch) => sum + batch.sizeBytes, 0)
    const isTaken = one.batches.every(
      (batch) => batch.records <= limits.batchRecordsMax && batch.sizeBytes <= limits.batchBytesMax,
    )
    const isSmall = isTaken && bytes <= limits.partitionBytesMax
    const where = `${placeName(one)}@${one.firstOffset}`
    return isSmall ? [] : [`${where}: a transaction of ${records} records and ${bytes} bytes`]
  })
}

/** The highest of every process and of the log: a limit that is passed is passed at many looks. */
function samples({ circumstances: { samples: taken, log, bounds } }: Evidence): string[] {
  if (!bounds) return []
  const complaints: string[] = []
  const judge = (what: string, { atMs, value }: Point, max: number): void => {
    if (value > max) complaints.push(`${what} at ${atMs}: ${value}; at most ${max}`)
  }
  for (const [name, its] of Map.groupBy(taken, (one) => one.name)) {
    const memory = its.map(({ atMs, rssBytes: value }) => ({ atMs, value }))
    judge(`bytes of ${name}`, highest(memory), bounds.rssBytesMax)
    const handles = its.map(({ atMs, handles: value }) => ({ atMs, value }))
    judge(`handles of ${name}`, highest(handles), bounds.handlesMax)
  }
  if (log.length > 0) {
    const lag = log.map(({ atMs, lagRecords: value }) => ({ atMs, value }))
    judge('input records behind the checkpoints', highest(lag), bounds.lagRecordsMax)
  }
  return complaints
}

const highest = (points: readonly Point[]): Point =>
  points.reduce((most, one) => (one.value > most.value ? one : most), { atMs: 0, value: 0 })

/** A plate that says it is retired has forgotten all but its summary; those that must be are. */
function retired(evidence: Evidence): string[] {
  const last = new Map(
    [...journals(evidence).values()].flat().map(({ key, value }) => [key ?? '', value]),
  )
  const forgotten = new Set<string>()
  const complaints: string[] = []
  for (const [key, value] of last) {
    if (value === null || key.split('/').length !== 3 || key.includes('#')) continue
    const summary = fromBinary(PlateStateSchema, value).retired
    if (summary && summary.nextWell === undefined) forgotten.add(key)
    if (summary?.nextWell !== undefined) complaints.push(`${key} is retired only in part`)
  }
  for (const [key, value] of last) {
    const plate = plateOf(key.replace(/#.*$/, ''))
    if (value !== null && key !== plate && forgotten.has(plate))
      complaints.push(`${plate} is retired, and state.v1 still holds ${key}`)
  }
  for (const plate of evidence.circumstances.retired ?? [])
    if (!forgotten.has(plate)) complaints.push(`${plate} should be retired, and is not`)
  return complaints
}
