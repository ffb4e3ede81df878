// Odd records, odd batches and bombs on a real broker, beside a plate that is right: one coordinator, which may have 1 GB,
// takes in or sets aside each of them and lives; the plate is done, and the command line passes all of it.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fromBinary } from '@bufbuild/protobuf'
import { DeadLetterSchema, type DeadLetter } from '#proto/wellspring/record/v1/output_pb.ts'
import type { TopicName } from '@wellspring/kafka/fetch.ts'
import type { Running } from '../../dev/child.ts'
import { wellspring, type Ran } from '../cli/process.ts'
import { codecs, plainBatch, type RawBatch, type RawRecord } from '../faults/batch.ts'
import { BOMBS, bombBatch } from '../faults/bombs.ts'
import { produceBatch } from '../faults/raw.ts'
import { imageRecords, openStage, planOf, planRecord, type Stage } from './stage.ts'

const GIGABYTE = 1_000_000_000
const DONE_MS = 60_000
const HEADERS = 1_000

const plan = planOf('P1', { wells: 4, sites: 1, channels: 2 })
const images = imageRecords(plan).map(({ value }) => Buffer.from(value ?? []))

let stage: Stage
let coordinator: Running
let ended: string | undefined
before(async () => {
  stage = await openStage({ pipeline: 'echo-levels.ts', tasks: 1 })
  coordinator = await stage.coordinator('c1', {}, GIGABYTE)
  void coordinator.exited.then((how) => (ended = how))
})
after(() => stage.close())

async function write(topic: TopicName, batch: RawBatch): Promise<number> {
  const place = { topic: stage.topicPrefix + topic, partition: 0 }
  const { code, offset } = await produceBatch(stage.brokers, place, batch)
  assert.equal(code, 0, `${topic}: the broker refuses it (${code})`)
  return offset
}

const record = (value: Buffer | null, more: Partial<RawRecord> = {}): RawRecord => ({
  key: Buffer.from('E/P1'),
  value,
  headers: [],
  ...more,
})
const header = (name: string | Buffer, value: string | Buffer | null) =>
  [Buffer.from(name), value === null ? null : Buffer.from(value)] as const

async function letters(): Promise<DeadLetter[]> {
  const found: DeadLetter[] = []
  for await (const { value } of stage.client.readAll('dead-letters.v1', () => {}))
    if (value) found.push(fromBinary(DeadLetterSchema, value))
  return found.filter(({ origin }) => origin !== undefined)
}

/** Waits for the dead letter of an offset. */
async function setAside(topic: TopicName, offset: number): Promise<DeadLetter> {
  const endMs = performance.now() + DONE_MS
  for (;;) {
    const all = await letters()
    const found = all.find(({ origin }) => origin?.topic === topic && origin.offset === offset)
    if (found) return found
    assert.equal(ended, undefined, 'the coordinator is gone')
    assert.ok(performance.now() < endMs, `${topic}/0/${offset} is not set aside`)
    await sleep(100)
  }
}

const cli = (...args: string[]): Promise<Ran> =>
  wellspring(args, {
    KAFKA_BROKERS: stage.brokers.join(','),
    WELLSPRING_TOPIC_PREFIX: stage.topicPrefix,
    WELLSPRING_PIPELINE: resolve(import.meta.dirname, '../pipelines/echo-levels.ts'),
  })

test('a plan and images without the header wellspring-type are taken in', async () => {
  const [first] = images
  assert.ok(first)
  await write('commands.v1', plainBatch([record(Buffer.from(planRecord(plan).value ?? []))]))
  await write('images.v1', plainBatch([record(first)]))
})

test('headers without a value, again, of odd names, huge, a thousand of them: the record is taken in', async () => {
  const odd: readonly RawRecord['headers'][] = [
    [header('source-system', null)],
    [header('wellspring-type', null), header('traceparent', null)],
    [header('__proto__', 'a'), header('constructor', 'b'), header('__proto__', null)],
    [header(Buffer.from([0xff, 0xfe]), Buffer.from([0xc0, 0x80])), header('', '')],
    [header('large', Buffer.alloc(300_000, 'x'))],
    Array.from({ length: HEADERS }, (_, at) => header(`h${at}`, at % 2 === 0 ? null : 'v')),
  ]
  const beside = images.slice(1, 1 + odd.length)
  for (const [at, headers] of odd.entries())
    await write('images.v1', plainBatch([record(beside[at] ?? null, { headers })]))
})

test('keys and time stamps may be anything', async () => {
  const [last] = images.slice(7)
  assert.ok(last)
  const keys = [null, Buffer.alloc(0), Buffer.from([0xff, 0xfe]), Buffer.alloc(100_000, 'k')]
  for (const key of keys) await write('images.v1', plainBatch([record(last, { key })]))
  assert.deepEqual(images.length, 8)
})

test('a record that is none, with a header without a value, is set aside', async () => {
  const value = Buffer.from('any bytes')
  const headers = [header('source-system', null)]
  const offset = await write('images.v1', plainBatch([record(value, { headers })]))
  const { failure, originValue } = await setAside('images.v1', offset)
  assert.equal(failure?.reason, 'INVALID')
  assert.deepEqual(Buffer.from(originValue), value)
})

for (const bomb of BOMBS)
  test(`a bomb of ${bomb} is set aside by a process that may have 1 GB`, async () => {
    const offset = await write('images.v1', await bombBatch(bomb, record(null)))
    const { failure } = await setAside('images.v1', offset)
    assert.equal(failure?.reason, 'BATCH_TOO_LARGE')
    assert.match(failure.message, new RegExp(`bytes of ${bomb} become more than 16777216`))
  })

test('what the broker lets in of broken batches is set aside, and named by its offsets', async () => {
  const three = plainBatch([record(Buffer.from('a')), record(null), record(Buffer.from('c'))])
  const offset = await write('images.v1', three)
  const reasons = [0, 1, 2].map(
    async (at) => (await setAside('images.v1', offset + at)).failure?.reason,
  )
  assert.deepEqual(await Promise.all(reasons), ['UNDECODABLE', 'TOMBSTONE', 'UNDECODABLE'])
  const broken: readonly RawBatch[] = [
    { ...three, codec: codecs.gzip, packed: Buffer.from('no gzip') },
    { ...three, count: 2 },
    { ...three, packed: three.packed.subarray(0, -4) },
    { ...three, codec: codecs.snappy, packed: Buffer.from([0x80, 0xde, 0xa0, 0xcb, 0x05, 0]) },
    { ...three, codec: 6 },
  ]
  for (const batch of broken) {
    const place = { topic: `${stage.topicPrefix}images.v1`, partition: 0 }
    const produced = await produceBatch(stage.brokers, place, batch)
    // Most brokers look into what they are sent, and refuse it.
    if (produced.code === 0) await setAside('images.v1', produced.offset)
  }
})

test('a plate beside all of it is done, and nobody was restarted', async () => {
  const report = await stage.untilDone(DONE_MS)
  const { missing, duplicate, unplanned, holes, parked } = report
  assert.deepEqual([missing, duplicate, unplanned, holes, parked], [0, 0, 0, 0, 0])
  assert.equal(ended, undefined)
})

test('verify counts it, and passes what it cannot read on every topic, by name', async () => {
  const odd = plainBatch([record(Buffer.from([0xff, 0xff]), { key: Buffer.from('odd') })])
  const typed = (type: string): RawBatch =>
    plainBatch([record(Buffer.from([0xff]), { headers: [header('wellspring-type', type)] })])
  await write('results.v1', odd)
  await write('results.v1', typed('wellspring.record.v1.StepResult'))
  await write('results.v1', await bombBatch('zstd', record(null)))
  await write('dead-letters.v1', odd)
  await write('commands.v1', await bombBatch('zstd', record(null)))
  await write('status.v1', odd)
  await write('spans.v1', odd)
  const ran = await cli('verify')
  assert.equal(ran.code, 0, ran.stdout + ran.stderr)
  assert.match(ran.stdout, /0 missing, 0 duplicate, 0 unplanned/)
  assert.match(ran.stdout, /5 records cannot be read, and were not judged/)
  assert.match(ran.stdout, / {2}unreadable {2}results.v1\/0 at \d+: .* more than 16777216/)
  const json = JSON.parse((await cli('verify', '-o', 'json')).stdout) as { unreadable: number }
  assert.equal(json.unreadable, 5)
  for (const verb of [['results'], ['dead-letters'], ['results', '-o', 'jsonl']]) {
    const shown = await cli(...verb)
    assert.equal(shown.code, 0, shown.stderr)
    assert.match(shown.stderr, /left out, cannot be read: \S+ at \d+ \(.*\) and \d more/)
  }
  assert.equal(ended, undefined)
})
