// Records in: bytes to events. A record that cannot be taken in is an event too, never an exception.
import { fromBinary, type DescMessage, type MessageShape } from '@bufbuild/protobuf'
import { createValidator } from '@bufbuild/protovalidate'
import {
  CommandSchema,
  ImageAcquiredSchema,
  type Command,
  type ImageAcquired,
} from '#proto/wellspring/record/v1/input_pb.ts'
import type { Event, Position } from '../core/event.ts'
import { partitionKey } from '@wellspring/lab/entity.ts'
import { taskOf } from '@wellspring/kafka/partition.ts'
import type { Logger } from '@wellspring/kafka/logger.ts'
import { PROCESSING_FAILED, failureOf, type Guilt } from './crash-guard.ts'
import type { Clock } from '../clock.ts'
import type { Input, LogRecord } from '@wellspring/kafka/records.ts'
import { unreadable } from '@wellspring/kafka/record-decoder.ts'
import { unknownFields, type UnknownFields } from './unknown-fields.ts'
import { look } from '../wire.ts'

/** Messages within a record; the largest plan has 1,536 wells and 32 channels. */
const MESSAGES_MAX = 4_096

// The patterns of the contracts are the same in RE2 and in V8, which is faster on short texts.
const patterns = new Map<string, RegExp>()
const validator = createValidator({
  regexMatch(pattern, text) {
    const known = patterns.get(pattern) ?? new RegExp(pattern, 'u')
    patterns.set(pattern, known)
    return known.test(text)
  },
})

export type Intake = {
  /** The event that something of an input is. `guilt`: it is set aside for that, and not looked at. */
  eventOf(input: Input, guilt?: Guilt): Event
}

export type IntakeOptions = {
  readonly task: number
  /** Number of partitions of the inputs. */
  readonly tasks: number
  readonly clock: Pick<Clock, 'monotonicMs'>
  readonly logger: Logger
}

export function openIntake(options: IntakeOptions): Intake {
  const unknown = unknownFields(options)
  return {
    eventOf(input, guilt) {
      if (guilt) return setAside(input, guilt.reason, guilt.message)
      if ('batch' in input) return setAside(input, 'UNDECODABLE_BATCH', 'the batch was not opened')
      if ('reason' in input) return setAside(input, input.reason, input.message)
      try {
        return eventIn(input, options.tasks, unknown)
      } catch (error) {
        // Nothing has changed yet.
        return setAside(input, PROCESSING_FAILED, failureOf(error))
      }
    },
  }
}

function eventIn(record: LogRecord, tasks: number, unknown: UnknownFields): Event {
  const at = positionOf(record)
  const bytes = record.value ?? Buffer.alloc(0)
  const refuse = (reason: string, message: string): Event => setAside(record, reason, message)
  if (record.value === null)
    return refuse('TOMBSTONE', 'the record has no value: inputs are never deleted')
  const schema = record.topic === 'images.v1' ? ImageAcquiredSchema : CommandSchema
  const named = record.headers['wellspring-type']
  if (named !== undefined && named !== schema.typeName)
    return refuse('WRONG_TYPE', `${record.topic} takes ${schema.typeName}, not ${named}`)
  const looked = look(schema, record.value)
  if (looked.messages > MESSAGES_MAX)
    return refuse('INVALID', `${schema.typeName}: it has more than ${MESSAGES_MAX} messages in it`)
  const read = decoded<typeof schema>(schema, record.value)
  if (read.kind === 'bad') return refuse(read.reason, read.message)
  if (looked.unknownFields > 0) unknown.dropped(record, schema, looked)
  const plate = plateKeyOf(read.message)
  const expected = plate === undefined ? record.partition : taskOf(plate, tasks)
  if (expected !== record.partition)
    return refuse(
      'WRONG_PARTITION',
      `${plate ?? ''} belongs into partition ${expected} of ${tasks}: key the record ${plate ?? ''} and ` +
        'partition as the Java client does (murmur2; in librdkafka partitioner=murmur2_random)',
    )
  if (read.message.$typeName === 'wellspring.record.v1.ImageAcquired') {
    const { identity, channel } = read.message
    if (identity?.channel !== channel?.name)
      return refuse(
        'INVALID',
        `${schema.typeName}: identity.channel is ${identity?.channel ?? ''}, channel.name ${channel?.name ?? ''}`,
      )
    const traceparent = record.headers.traceparent ?? ''
    return { kind: 'image', image: read.message, traceparent, at, bytes }
  }
  return { kind: 'command', command: read.message, at, bytes }
}

function setAside(input: Input, reason: string, message: string): Event {
  if ('batch' in input) return setAside(unreadable(input, reason, message), reason, message)
  if (!('reason' in input)) {
    const bytes = input.value ?? Buffer.alloc(0)
    return { kind: 'unreadable', reason, message, at: positionOf(input), bytes }
  }
  const { topic, partition, offset, last, bytes } = input
  const text = last > offset ? `offsets ${offset} to ${last}: ${message}` : message
  const at = { topic, partition, offset, key: '', ...(last > offset ? { last } : {}) }
  return { kind: 'unreadable', reason, message: text, at, bytes }
}

/** Bytes of a key that are looked at; at 512 characters its text ends. */
const KEY_BYTES_MAX = 2_048

function positionOf({ topic, partition, offset, key }: LogRecord): Position {
  return { topic, partition, offset, key: key?.toString('utf8', 0, KEY_BYTES_MAX) ?? '' }
}

type Read<T> = { kind: 'ok'; message: T } | { kind: 'bad'; reason: string; message: string }

function decoded<D extends DescMessage>(schema: D, value: Uint8Array): Read<MessageShape<D>> {
  let message: MessageShape<D>
  try {
    message = fromBinary(schema, value, { readUnknownFields: false })
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
