// A record that is lent to its reader, for the memory twin: whoever keeps its bytes is seen to by the next look at them.
import type { LogRecord } from '@wellspring/kafka/records.ts'

/** As from Kafka: what is not copied is written over. */
export function lend(record: LogRecord, onRecord: (record: LogRecord) => boolean): boolean {
  const key = record.key && Buffer.from(record.key)
  const value = record.value && Buffer.from(record.value)
  try {
    return onRecord({ ...record, key, value })
  } finally {
    key?.fill(0)
    value?.fill(0)
  }
}
