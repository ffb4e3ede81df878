// Records in: bytes to events. A record that cannot be taken in is an event too, never an exception.
import { fromBinary } from '@bufbuild/protobuf'
import type { DescMessage, MessageShape } from '@bufbuild/protobuf'
import { createValidator } from '@bufbuild/protovalidate'
import type { Command, ImageAcquired } from '#proto/wellspring/record/v1/input_pb.ts'
import { CommandSchema, ImageAcquiredSchema } from '#proto/wellspring/record/v1/input_pb.ts'
import type { Event, Position } from '../core/event.ts'
import { partitionKey, taskOf } from '../core/ids.ts'
import type { LogRecord } from './port.ts'

// The patterns of the contracts are the same in RE2 and in V8, which is faster on short texts.
const patterns = new Map<string, RegExp>()
const validator = createValidator({
  regexMatch(pattern, text) {
    const known = patterns.get(pattern) ?? new RegExp(pattern, 'u')
    patterns.set(pattern, known)
    return known.test(text)
  },
})

/** The event that a record of an input topic is. `tasks` is the number of partitions of the inputs. */
export function eventOf(record: LogRecord, tasks: number): Event {
  const at = positionOf(record)
  const bytes = record.value ?? Buffer.alloc(0)
  const refuse = (reason: string, message: string): Event => ({
    kind: 'unreadable',
    reason,
    message,
    at,
    bytes,
  })
  if (record.value === null)
    return refuse('TOMBSTONE', 'the record has no value: inputs are never deleted')
  const schema = record.topic === 'images.v1' ? ImageAcquiredSchema : CommandSchema
  const named = record.headers['wellspring-type']
  if (named !== undefined && named !== schema.typeName)
    return refuse('WRONG_TYPE', `${record.topic} takes ${schema.typeName}, not ${named}`)
  const read = decoded<typeof schema>(schema, record.value)
  if (read.kind === 'bad') return refuse(read.reason, read.message)
  const plate = plateKeyOf(read.message)
  const expected = plate === undefined ? record.partition : taskOf(plate, tasks)
  if (expected !== record.partition)
    return refuse(
      'WRONG_PARTITION',
      `${plate ?? ''} belongs into partition ${expected} of ${tasks}: key the record ${plate ?? ''} and ` +
        'partition as the Java client does (murmur2; in librdkafka partitioner=murmur2_random)',
    )
  if (read.message.$typeName === 'wellspring.record.v1.ImageAcquired') {
    const traceparent = record.headers['traceparent'] ?? ''
    return { kind: 'image', image: read.message, traceparent, at, bytes }
  }
  return { kind: 'command', command: read.message, at, bytes }
}

/** Instead of the event that a record is, once it has killed its process three times. */
export function condemned(record: LogRecord): Event {
  return {
    kind: 'unreadable',
    reason: 'KILLED_ITS_PROCESS',
    message: 'three coordinators in a row ended with this record in hand: look at their last words',
    at: positionOf(record),
    bytes: record.value ?? Buffer.alloc(0),
  }
}

function positionOf({ topic, partition, offset, key }: LogRecord): Position {
  return { topic, partition, offset, key: key?.toString('utf8') ?? '' }
}

type Read<T> = { kind: 'ok'; message: T } | { kind: 'bad'; reason: string; message: string }

function decoded<D extends DescMessage>(schema: D, value: Uint8Array): Read<MessageShape<D>> {
  let message: MessageShape<D>
  try {
    message = fromBinary(schema, value)
  } catch (error) {
    return {
      kind: 'bad',
      reason: 'UNDECODABLE',
      message: `no ${schema.typeName}: ${String(error)}`,
    }
  }
  const checked = validator.validate(schema, message)
  if (checked.kind === 'valid') return { kind: 'ok', message }
  return { kind: 'bad', reason: 'INVALID', message: `${schema.typeName}: ${String(checked.error)}` }
}

function plateKeyOf(message: ImageAcquired | Command): string | undefined {
  if (message.$typeName === 'wellspring.record.v1.ImageAcquired') {
    const { experiment = '', plate = '' } = message.identity ?? {}
    return `${experiment}/${plate}`
  }
  switch (message.action.case) {
    case 'plan':
      return `${message.action.value.experiment}/${message.action.value.plate}`
    case 'redrive':
    case 'close':
      return partitionKey(message.action.value.entity)
    // Of a partition, not of a plate.
    case 'acceptLoss':
    case undefined:
      return undefined
  }
}
