// Records that are odd in what is around their message, and some in the message: each is to be taken in or set aside,
// and nothing else may come of it. Real bytes, as librdkafka or a script would send them.
import { create, toBinary } from '@bufbuild/protobuf'
import type { PlatePlan } from '#proto/wellspring/lab/v1/plan_pb.ts'
import { CommandSchema, ImageAcquiredSchema } from '#proto/wellspring/record/v1/input_pb.ts'
import { taskOf } from '@wellspring/kafka/partition.ts'
import { imageRecords, planOf } from '../../e2e/stage.ts'
import type { RawRecord } from '../batch.ts'
import { field, nested } from './bytes.ts'

export type OddRecord = {
  /** For people. */
  readonly what: string
  readonly topic: 'images.v1' | 'commands.v1' | 'spans.v1' | 'status.v1'
  readonly partition: number
  readonly record: RawRecord
  /** Default: now. */
  readonly timestampMs?: number
}

/** Header of records that may be taken in and may be set aside, for the judges. */
export const ODD_HEADER = 'faults-odd'

const LARGE_BYTES = 300_000
const MANY = 1_000
const GROUPS = 100_000
const LISTS = 2_000
const DAYS_45_MS = 45 * 86_400_000

type Headers = RawRecord['headers']
type Change = (good: RawRecord) => Partial<RawRecord> & { readonly timestampMs?: number }

const bytes = (text: string): Buffer => Buffer.from(text)
const noText = Buffer.from('fffe80c0', 'hex')
const TYPE = bytes('wellspring-type')

/** What is odd around a message that is good. */
const around: Readonly<Record<string, Change>> = {
  'a header without a value': ({ headers }) => also(headers, [bytes('source-system'), null]),
  'a type without a value': ({ headers }) => ({ headers: [[TYPE, null], ...others(headers)] }),
  'a type twice': ({ headers }) => also(headers, [TYPE, bytes('wellspring.record.v9.Other')]),
  'a trace twice, one without a value': ({ headers }) =>
    also(headers, [bytes('traceparent'), bytes('00-zz')], [bytes('traceparent'), null]),
  'names that are an object’s own': ({ headers }) =>
    also(
      headers,
      [bytes('__proto__'), bytes('x')],
      [bytes('constructor'), null],
      [bytes('toString'), bytes('y')],
      [bytes('__proto__'), null],
    ),
  'a name and a value that are no text': ({ headers }) => also(headers, [noText, noText]),
  'no name': ({ headers }) => also(headers, [Buffer.alloc(0), Buffer.alloc(0)]),
  'a large header': ({ headers }) => also(headers, [bytes('large'), Buffer.alloc(LARGE_BYTES, 97)]),
  'a thousand headers': ({ headers }) =>
    also(
      headers,
      ...Array.from({ length: MANY }, (_, at) => [bytes(`name-${at}`), bytes('v')] as const),
    ),
  'no type': ({ headers }) => ({ headers: others(headers) }),
  'a key that is no text': () => ({ key: noText }),
  'a large key': () => ({ key: Buffer.alloc(LARGE_BYTES, 98) }),
  'no key': () => ({ key: null }),
  'a time stamp of 45 days ago': () => ({ timestampMs: Date.now() - DAYS_45_MS }),
  'a negative time stamp': () => ({ timestampMs: -5 }),
}

/** What is odd in the message, and what of it cannot be read. */
const within: Readonly<Record<string, Change>> = {
  'unknown fields': ({ value }) => ({ value: join(value, field(900, Buffer.alloc(LARGE_BYTES))) }),
  'a varint without end': () => ({ value: Buffer.concat([Buffer.of(8), Buffer.alloc(40, 0xff)]) }),
  'text that is no UTF-8': ({ value }) => ({ value: join(value, field(5, noText)) }),
  // Field 4 begins a group, which is in a group, and so on.
  'groups in groups': () => ({ value: Buffer.alloc(GROUPS, 0x23) }),
  'lists in lists': () => ({ value: nested(LISTS) }),
  'no protobuf': () => ({ value: bytes('this is no protobuf') }),
}

/** A plate of its own, whose plan is good and to be sent first, and odd records of it on every topic that is read. */
export function oddRecords(n: number, tasks: number): { plan: PlatePlan; odd: OddRecord[] } {
  const all = { ...around, ...within }
  const plan = planOf(`Odd${n}`, { wells: 1, sites: 1, channels: Object.keys(all).length })
  const partition = taskOf(`${plan.experiment}/${plan.plate}`, tasks)
  const images = imageRecords(plan)
  const rawOf = (type: string, key: string, value: Uint8Array): RawRecord => ({
    key: bytes(key),
    value: Buffer.from(value),
    headers: [
      [TYPE, bytes(type)],
      [bytes(ODD_HEADER), bytes('yes')],
    ],
  })
  const key = `${plan.experiment}/${plan.plate}`
  const command = toBinary(
    CommandSchema,
    create(CommandSchema, { action: { case: 'plan', value: plan } }),
  )
  const good = {
    'images.v1': (at: number) =>
      rawOf(ImageAcquiredSchema.typeName, key, images[at]?.value ?? new Uint8Array()),
    'commands.v1': () => rawOf(CommandSchema.typeName, key, command),
  } as const
  const inputs = (['images.v1', 'commands.v1'] as const).flatMap((topic) =>
    Object.entries(all).map(([what, change], at) =>
      oddOf({ what, topic, partition }, good[topic](at), change),
    ),
  )
  const telling = (['spans.v1', 'status.v1'] as const).flatMap((topic) =>
    Object.entries(all)
      .filter(([what]) => topic === 'spans.v1' || what !== 'no key')
      .map(([what, change]) => oddOf({ what, topic, partition }, rawOf('', key, noText), change)),
  )
  return { plan, odd: [...inputs, ...telling] }
}

function oddOf(
  place: Pick<OddRecord, 'what' | 'topic' | 'partition'>,
  good: RawRecord,
  change: Change,
): OddRecord {
  const { timestampMs, ...changed } = change(good)
  const record = { ...good, ...changed }
  return { ...place, record, ...(timestampMs === undefined ? {} : { timestampMs }) }
}

function also(headers: Headers, ...more: Headers): Pick<RawRecord, 'headers'> {
  return { headers: [...headers, ...more] }
}

const others = (headers: Headers): Headers => headers.filter(([name]) => !name.equals(TYPE))

const join = (value: Buffer | null, more: Buffer): Buffer =>
  Buffer.concat([value ?? Buffer.alloc(0), more])
