// Input as nobody means it, from a seed: records, headers and batches that were right and are changed somewhere.
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { createRequire } from 'node:module'
import { toBinary } from '@bufbuild/protobuf'
import { CommandSchema } from '#proto/wellspring/record/v1/input_pb.ts'
import type { InputTopic } from '@wellspring/kafka/topic-names.ts'
import { crc32c } from '@wellspring/kafka/crc32c.ts'
import { imageRecords, planOf, planRecord } from '../e2e/stage.ts'
import { batchBytes, recordsBytes, type Field, type RecordInit } from '../kafka/batches.ts'

/** What lies in a partition, made for the offset that it comes to, and how many offsets it covers. */
export type Case = {
  readonly topic: InputTopic
  readonly covers: number
  /** How many it has. */
  readonly records: number
  readonly headers: number
  readonly batches: (firstOffset: number) => Buffer
}

export type Dice = () => number

const require = createRequire(import.meta.url)
const snappy = require('snappyjs') as { compress(bytes: Buffer): Buffer }
const lz4 = require('lz4js') as { compress(bytes: Buffer): Uint8Array }

const RECORDS_MAX = 5
const FRAME_BYTES = 12
const CRC_AT = 17
const CRC_FROM = 21
const HEAD_BYTES = 61

type Value = { readonly topic: InputTopic; readonly bytes: Buffer }

const plans = ['P', 'Q'].map((plate) => planOf(plate, { wells: 2, sites: 1, channels: 2 }))
const command = (action: Parameters<typeof commandOf>[0]): Value => ({
  topic: 'commands.v1',
  bytes: commandOf(action),
})

/** Right, as producers write them. */
const values: readonly Value[] = [
  ...plans.flatMap((plan) =>
    imageRecords(plan).map(({ value }) => ({
      topic: 'images.v1' as const,
      bytes: Buffer.from(value ?? []),
    })),
  ),
  ...plans.map((plan) => ({
    topic: 'commands.v1' as const,
    bytes: Buffer.from(planRecord(plan).value ?? []),
  })),
  command({
    case: 'redrive',
    value: { $typeName: 'wellspring.record.v1.Redrive', entity: 'E/P/a1', step: '' },
  }),
  command({
    case: 'close',
    value: { $typeName: 'wellspring.record.v1.ClosePlate', entity: 'E/Q/a1' },
  }),
]

function commandOf(
  action: NonNullable<Parameters<typeof toBinary<typeof CommandSchema>>[1]>['action'],
): Buffer {
  const message = { id: 'fuzz', author: '', reason: '', action }
  return Buffer.from(toBinary(CommandSchema, { $typeName: CommandSchema.typeName, ...message }))
}

const names: readonly Field[] = [
  'wellspring-type',
  'wellspring-type',
  'traceparent',
  'source-system',
  '__proto__',
  'constructor',
  '',
  Buffer.from([0xff, 0]),
]
const texts: readonly Field[] = [
  null,
  '',
  'wellspring.record.v1.ImageAcquired',
  'wellspring.record.v1.Command',
  '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
  Buffer.from([0xc0, 0x80]),
  '\ud83d\ude00'.repeat(200),
]
const keys: readonly Field[] = [
  null,
  '',
  'E/P',
  'E/Q',
  Buffer.from([0xff, 0xfe, 0x2f]),
  '\ud83d\ude00'.repeat(300),
  '\u0000',
]
const times = [0, 1, -1, 2 ** 40, -(2 ** 40)]

const codecs: readonly ((body: Buffer) => Buffer)[] = [
  (body) => body,
  (body) => gzipSync(body, { level: 1 }),
  (body) => snappy.compress(body),
  (body) => Buffer.from(lz4.compress(body)),
  (body) => zstdCompressSync(body),
]

/** What a number is often wrong by, or at its edge. */
const WORDS = [
  0, 1, -1, 127, 128, 255, 256, 0x7fff, -0x8000, 0x7fffffff, -0x80000000, 1_500_000_000,
]

export function openCases(dice: Dice): () => Case {
  const below = (count: number): number => Math.floor(dice() * count)
  const oneOf = <T>(items: readonly T[]): T => items[below(items.length)] as T
  const isOne = (chance: number): boolean => dice() < chance

  function changed(bytes: Buffer, from = 0): Buffer {
    let out = Buffer.from(bytes)
    for (let left = 1 + below(3); left > 0 && out.length > from; left -= 1) {
      const at = from + below(out.length - from)
      const length = 1 + below(Math.min(16, out.length - at))
      switch (below(7)) {
        case 0:
          out[at] = (out[at] ?? 0) ^ (1 << below(8))
          break
        case 1:
          out[at] = oneOf([0, 0x7f, 0x80, 0xff, below(256)])
          break
        case 2:
          out = Buffer.concat([out.subarray(0, at), out.subarray(at + length)])
          break
        case 3:
          out = Buffer.concat([out.subarray(0, at + length), out.subarray(at)])
          break
        case 4:
          if (at + 4 <= out.length) out.writeInt32BE(oneOf(WORDS), at)
          break
        case 5:
          out = out.subarray(0, at)
          break
        default:
          out.fill(0xff, at, at + length)
      }
    }
    return out
  }

  function record(topic: InputTopic): RecordInit {
    const fitting = values.filter((value) => value.topic === topic || isOne(0.05))
    const { bytes } = oneOf(fitting)
    const headers = Array.from(
      { length: isOne(0.3) ? below(4) : 0 },
      (): [Buffer | string, Field] => [oneOf(names) ?? '', oneOf(texts)],
    )
    return {
      key: isOne(0.3) ? oneOf(keys) : 'E/P',
      value: isOne(0.05) ? null : isOne(0.6) ? changed(bytes) : bytes,
      headers,
      timestampDelta: oneOf(times),
    }
  }

  /** The length in front and the checksum say what is so, or the batch is not even looked at. */
  function framed(batch: Buffer, firstOffset: number, isChecked: boolean): Buffer {
    if (batch.length < HEAD_BYTES) return batch
    batch.writeBigInt64BE(BigInt(firstOffset), 0)
    batch.writeInt32BE(batch.length - FRAME_BYTES, 8)
    if (isChecked) batch.writeUInt32BE(crc32c(batch.subarray(CRC_FROM)), CRC_AT)
    return batch
  }

  return () => {
    const topic: InputTopic = isOne(0.8) ? 'images.v1' : 'commands.v1'
    const records = Array.from({ length: below(RECORDS_MAX + 1) }, () => record(topic))
    const codec = isOne(0.6) ? 0 : below(8)
    const plain = recordsBytes(records)
    const packed = (codecs[codec] ?? ((body) => body))(isOne(0.2) ? changed(plain) : plain)
    const body = isOne(0.2) ? changed(packed) : packed
    const covers = Math.max(1, records.length)
    const init = {
      body,
      codec,
      count: records.length,
      lastOffsetDelta: covers - 1,
      timestampMs: oneOf([0, -1, 1_700_000_000_000, 2 ** 52]),
    }
    const flags = isOne(0.1) ? oneOf([8, 16, 32, 48, 64]) : 0
    const whole = batchBytes([], { ...init, flags })
    const batch = isOne(0.3) ? changed(whole, FRAME_BYTES) : whole
    const isChecked = !isOne(0.05)
    const headers = records.reduce((sum, one) => sum + (one.headers?.length ?? 0), 0)
    return {
      topic,
      covers,
      records: records.length,
      headers,
      // The same at every call.
      batches: (firstOffset) => framed(Buffer.from(batch), firstOffset, isChecked),
    }
  }
}
