// What Kafka takes in one piece: how large a record may be, and how a flush is sent in batches that it takes.
import { LogError } from '@wellspring/kafka/errors.ts'
import type { NewRecord } from '@wellspring/kafka/records.ts'

export const writable = {
  /** A record with its key and headers. Brokers take 1 MiB; what the core makes is bounded below this (README, Sizes). */
  recordBytesMax: 256 * 1024,
  /** kafkajs makes one batch per partition and send; brokers take 1 MiB. */
  batchBytesMax: 900_000,
  batchRecordsMax: 2_000,
  /** Bytes of a record beside its key, value and headers. */
  overheadBytes: 64,
} as const

/** Throws LogError unwritable, with the entity, for the first record that is too large: before anything is sent. */
export function refuseUnwritable(
  records: readonly NewRecord[],
  bytesMax: number = writable.recordBytesMax,
): void {
  for (const record of records) {
    if (sizeAtMost(record) <= bytesMax) continue
    const bytes = sizeOf(record)
    if (bytes <= bytesMax) continue
    const { key, topic } = record
    const message = `record "${key}" of ${topic} has ${bytes} bytes; at most ${bytesMax} are written`
    throw new LogError('unwritable', message, { record })
  }
}

/**
 * The records in sends of one batch per partition each, all in one transaction; in order within a partition. batchBytesMax
 * 0: one record a send.
 */
export function sendsOf(records: readonly NewRecord[], batchBytesMax: number): NewRecord[][] {
  if (batchBytesMax === 0) return records.map((record) => [record])
  const mayBeOne =
    records.length <= writable.batchRecordsMax && totalAtMost(records) <= batchBytesMax
  if (mayBeOne) return [[...records]]
  const sends: NewRecord[][] = [[]]
  let sizes = new Map<string, { bytes: number; records: number }>()
  for (const record of records) {
    const place = `${record.topic}/${record.partition}`
    const bytes = sizeOf(record)
    const size = sizes.get(place)
    const isFull =
      size !== undefined &&
      (size.bytes + bytes > batchBytesMax || size.records >= writable.batchRecordsMax)
    if (isFull) {
      sends.push([])
      sizes = new Map()
    }
    const known = isFull ? undefined : size
    sizes.set(place, { bytes: (known?.bytes ?? 0) + bytes, records: (known?.records ?? 0) + 1 })
    sends.at(-1)?.push(record)
  }
  return sends
}

function sizeOf({ key, value, headers }: NewRecord): number {
  let bytes = writable.overheadBytes + Buffer.byteLength(key) + (value?.byteLength ?? 0)
  for (const [name, text] of Object.entries(headers))
    bytes += Buffer.byteLength(name) + Buffer.byteLength(text)
  return bytes
}

/** The size, or more: three bytes a character at most, none counted. */
function sizeAtMost({ key, value, headers }: NewRecord): number {
  let characters = key.length
  for (const name in headers) characters += name.length + (headers[name]?.length ?? 0)
  return writable.overheadBytes + 3 * characters + (value?.byteLength ?? 0)
}

function totalAtMost(records: readonly NewRecord[]): number {
  return records.reduce((sum, record) => sum + sizeAtMost(record), 0)
}

/** Smallest batch that is tried before records are sent one by one. */
const BATCH_BYTES_MIN = 64_000

/** What to try when a broker refused a batch as too large: smaller ones, in the end single records. */
export function smallerBatch(batchBytesMax: number): number {
  const half = Math.floor(batchBytesMax / 2)
  return half < BATCH_BYTES_MIN ? 0 : half
}
