// Fields of input records that their contracts do not know: dropped before state, counted, and told once in a while.
import type { DescMessage } from '@bufbuild/protobuf'
import type { Logger } from '@wellspring/kafka/logger.ts'
import type { Clock } from '../clock.ts'
import type { LogRecord } from '@wellspring/kafka/records.ts'
import type { Looked } from '../wire.ts'

/** Told at most so often, and at the first. */
const TELL_EVERY_MS = 60_000

export type UnknownFields = {
  dropped(record: LogRecord, schema: DescMessage, looked: Looked): void
}

type Options = {
  readonly task: number
  readonly clock: Pick<Clock, 'monotonicMs'>
  readonly logger: Logger
}

export function unknownFields({ task, clock, logger }: Options): UnknownFields {
  const count = { records: 0, fields: 0, bytes: 0 }
  let toldMs = -Infinity
  return {
    dropped({ topic, partition, offset }, schema, looked) {
      count.records += 1
      count.fields += looked.unknownFields
      count.bytes += looked.unknownBytes
      if (clock.monotonicMs() - toldMs < TELL_EVERY_MS) return
      toldMs = clock.monotonicMs()
      logger('warn', 'unknown fields were dropped: is the producer newer than this coordinator?', {
        task,
        last: `${topic}/${partition}/${offset}`,
        field: `${schema.typeName} ${looked.firstUnknown}`,
        ...count,
      })
    },
  }
}
