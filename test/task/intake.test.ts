// Bytes to events: whatever a record holds is an event or is set aside, bounded, and the dead letter can be written.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create, fromBinary, toBinary, type MessageInitShape } from '@bufbuild/protobuf'
import { CommandSchema, ImageAcquiredSchema } from '#proto/wellspring/record/v1/input_pb.ts'
import { DeadLetterSchema, type DeadLetter } from '#proto/wellspring/record/v1/output_pb.ts'
import { loadPipeline } from '../../coordinator/core/pipeline/check.ts'
import { decide } from '../../coordinator/core/decide.ts'
import type { Event } from '../../coordinator/core/event.ts'
import { emptyTask } from '../../coordinator/core/state.ts'
import { openIntake } from '../../coordinator/task/intake.ts'
import type { LogRecord } from '@wellspring/kafka/records.ts'
import { writable } from '../../coordinator/log/writable.ts'
import { imageRecords, planOf, planRecord } from '../e2e/stage.ts'
import { pipeline as levels } from '../pipelines/echo-levels.ts'

const pipeline = loadPipeline(levels)
const plan = planOf('P', { wells: 1, sites: 1, channels: 1 })
const planBytes = Buffer.from(planRecord(plan).value ?? [])
const imageBytes = Buffer.from(imageRecords(plan)[0]?.value ?? [])

type Told = { readonly message: string; readonly fields: Readonly<Record<string, unknown>> }

function open(told: Told[] = [], clock = { monotonicMs: () => 0 }) {
  const logger = (_: string, message: string, fields = {}): void =>
    void told.push({ message, fields })
  return openIntake({ task: 0, tasks: 1, clock, logger })
}

function record(value: Buffer | null, more: Partial<LogRecord> = {}): LogRecord {
  const place = { topic: 'images.v1', partition: 0, offset: 17 } as const
  return { ...place, key: Buffer.from('E/P'), value, headers: {}, ...more }
}

const command = (value: Buffer | null): LogRecord => record(value, { topic: 'commands.v1' })

function why(event: Event): string {
  return event.kind === 'unreadable' ? `${event.reason}: ${event.message}` : event.kind
}

/** The dead letter that it ends in. */
function letterOf(event: Event): DeadLetter {
  const effects = decide(emptyTask('a', pipeline), event, 1_700_000_000_000, () => 0.5)
  const [effect, ...others] = effects
  assert.ok(effect?.kind === 'output' && others.length === 0)
  assert.ok(effect.value.length < 40_000, `${effect.value.length} bytes`)
  assert.ok(effect.value.length < writable.recordBytesMax)
  return fromBinary(DeadLetterSchema, effect.value)
}

test('the header wellspring-type may be missing; another message than the topic holds is refused', () => {
  const intake = open()
  assert.equal(why(intake.eventOf(record(imageBytes))), 'image')
  assert.equal(why(intake.eventOf(command(planBytes))), 'command')
  const named = (type: string): string =>
    why(intake.eventOf(record(imageBytes, { headers: { 'wellspring-type': type } })))
  assert.equal(named(ImageAcquiredSchema.typeName), 'image')
  assert.match(named(CommandSchema.typeName), /^WRONG_TYPE: images.v1 takes .*ImageAcquired, not /)
  assert.match(named(''), /^WRONG_TYPE/)
})

test('an image whose channel is not that of its identity is refused', () => {
  const image = fromBinary(ImageAcquiredSchema, imageBytes)
  assert.ok(image.channel)
  image.channel.name = 'other'
  const bytes = Buffer.from(toBinary(ImageAcquiredSchema, image))
  assert.match(
    why(open().eventOf(record(bytes))),
    /^INVALID: .* identity.channel is w1, channel.name other$/,
  )
})

// --- bytes that are no message, or too much of one ---

function varint(value: number): Buffer {
  const bytes: number[] = []
  let left = value
  for (; left >= 0x80; left = Math.floor(left / 0x80)) bytes.push((left % 0x80) | 0x80)
  return Buffer.of(...bytes, left)
}
const field = (number: number, bytes: Buffer): Buffer =>
  Buffer.concat([varint(number * 8 + 2), varint(bytes.length), bytes])
const times = (count: number, bytes: Buffer): Buffer =>
  Buffer.concat(Array.from({ length: count }, () => bytes))

function nested(depth: number): Buffer {
  let bytes: Buffer = Buffer.alloc(0)
  for (let level = 0; level < depth; level += 1) bytes = field(4, bytes)
  return bytes
}

const odd: readonly [name: string, record: LogRecord, reason: RegExp][] = [
  ['no value', record(null), /^TOMBSTONE/],
  ['an empty value', record(Buffer.alloc(0)), /^INVALID: .*identity/],
  ['any bytes', record(Buffer.from('any bytes')), /^INVALID/],
  ['an over-long varint', record(Buffer.alloc(100, 0xff)), /^UNDECODABLE: .*varint/],
  [
    'a length beyond the end',
    record(Buffer.concat([field(1, imageBytes).subarray(0, 40)])),
    /^UNDECODABLE/,
  ],
  ['groups in groups in groups', record(Buffer.alloc(500_000, 0x7b)), /^UNDECODABLE: .*recursion/],
  ['a group without an end', record(Buffer.of(0x7b, 0x08, 1)), /^UNDECODABLE/],
  ['text that is no UTF-8', record(field(5, Buffer.of(0xc0, 0x80, 0xff))), /^UNDECODABLE/],
  ['messages in messages', command(nested(5_000)), /^INVALID/],
  [
    '450,000 wells',
    command(field(4, times(450_000, field(4, Buffer.alloc(0))))),
    /^INVALID: .*more than 4096 messages/,
  ],
  [
    'one message 300,000 times',
    record(times(300_000, field(1, Buffer.alloc(0)))),
    /^INVALID: .*more than 4096/,
  ],
  ['half a million numbers', command(field(4, field(5, Buffer.alloc(500_000, 1)))), /^INVALID/],
]

for (const [name, input, reason] of odd)
  test(`${name}: set aside with its bytes, in little time`, () => {
    const intake = open()
    const startMs = performance.now()
    const event = intake.eventOf(input)
    const ms = performance.now() - startMs
    assert.match(why(event), reason)
    const letter = letterOf(event)
    const bytes = input.value ?? Buffer.alloc(0)
    assert.deepEqual(Buffer.from(letter.originValue), bytes.subarray(0, 32_768))
    assert.deepEqual(
      [letter.origin?.topic, letter.origin?.offset, letter.origin?.key, letter.origin?.lastOffset],
      [input.topic, 17, 'E/P', undefined],
    )
    assert.ok(ms < 2_000, `${ms} ms`)
  })

test('keys are told as text, whatever they are', () => {
  const intake = open()
  const keyOf = (key: Buffer | null): string =>
    letterOf(intake.eventOf(record(null, { key }))).origin?.key ?? ''
  assert.equal(keyOf(null), '')
  assert.equal(keyOf(Buffer.from('E/P')), 'E/P')
  assert.equal(keyOf(Buffer.from([0xff, 0x41])), '\ufffdA')
  const long = keyOf(Buffer.from('😀'.repeat(100_000)))
  assert.ok(long.isWellFormed() && Buffer.byteLength(long) <= 512)
  assert.match(long, /^(?:😀)+…$/u)
})

test('a range of offsets is one dead letter, which names it', () => {
  const bytes = Buffer.alloc(100_000, 7).subarray(0, 32_768)
  const range = { topic: 'commands.v1', partition: 0, offset: 5, last: 9, bytes } as const
  const event = open().eventOf({ ...range, reason: 'UNKNOWN_CODEC', message: 'no codec' })
  assert.equal(why(event), 'UNKNOWN_CODEC: offsets 5 to 9: no codec')
  const { origin, originValue } = letterOf(event)
  assert.deepEqual([origin?.offset, origin?.lastOffset], [5, 9])
  assert.equal(originValue.length, 32_768)
})

// --- unknown fields ---

const stranger = field(999, Buffer.alloc(600_000, 7))

function withUnknown(): Buffer {
  const image = fromBinary(ImageAcquiredSchema, imageBytes)
  assert.ok(image.artifact)
  image.artifact.$unknown = [{ no: 999, wireType: 2, data: stranger.subarray(2) }]
  return Buffer.from(toBinary(ImageAcquiredSchema, image))
}

test('fields that a contract does not know are dropped at every level, counted and told', () => {
  const told: Told[] = []
  const intake = open(told)
  const bytes = Buffer.concat([
    withUnknown(),
    field(100, Buffer.from('abc')),
    Buffer.of(0xa8, 6, 1),
  ])
  const event = intake.eventOf(record(bytes))
  assert.ok(event.kind === 'image')
  assert.deepEqual(event.image, fromBinary(ImageAcquiredSchema, imageBytes))
  assert.ok(toBinary(ImageAcquiredSchema, event.image).length < 1_000)
  assert.equal(
    why(intake.eventOf(command(Buffer.concat([planBytes, field(77, stranger)])))),
    'command',
  )
  assert.deepEqual(told, [
    {
      message: 'unknown fields were dropped: is the producer newer than this coordinator?',
      fields: {
        task: 0,
        last: 'images.v1/0/17',
        field: 'wellspring.record.v1.ImageAcquired 2.999',
        records: 1,
        fields: 3,
        bytes: stranger.length + 6 + 3,
      },
    },
  ])
})

test('they are told once a minute, with all that came meanwhile', () => {
  const told: Told[] = []
  let nowMs = 0
  const intake = open(told, { monotonicMs: () => nowMs })
  for (nowMs = 0; nowMs < 61_000; nowMs += 1_000) intake.eventOf(record(withUnknown()))
  assert.deepEqual(
    told.map(({ fields }) => fields['records']),
    [1, 61],
  )
})

test('what is known is not taken for unknown: whole plans and images have no such fields', () => {
  const told: Told[] = []
  const intake = open(told)
  const whole: MessageInitShape<typeof CommandSchema> = {
    id: 'i',
    author: 'a',
    reason: 'r',
    action: { case: 'plan', value: planOf('P', { wells: 96, sites: 9, channels: 5 }) },
  }
  const bytes = Buffer.from(toBinary(CommandSchema, create(CommandSchema, whole)))
  assert.equal(why(intake.eventOf(command(bytes))), 'command')
  assert.equal(why(intake.eventOf(record(imageBytes))), 'image')
  assert.deepEqual(told, [])
})
