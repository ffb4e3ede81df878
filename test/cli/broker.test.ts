// The verbs that read and write topics, as processes, on a real broker.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { fromBinary } from '@bufbuild/protobuf'
import { CommandSchema, ImageAcquiredSchema } from '#proto/wellspring/record/v1/input_pb.ts'
import { resolve } from 'node:path'
import { taskOf } from '@wellspring/kafka/partition.ts'
import type { TopicName } from '@wellspring/kafka/fetch.ts'
import type { LogRecord } from '@wellspring/kafka/records.ts'
import type { TopicRecord } from '../../cli/ledger.ts'
import { realSet } from '../ingest/data.ts'
import { kafkaWorld, type KafkaWorld } from '../log/world.ts'
import { wellspring, type Ran } from './process.ts'
import { closed, deadLetter, IMAGE, perfectLog, PIPELINE, PLATE, result } from './records.ts'

const tasks = 4
const imagexpress = realSet('imagexpress-9987-3434')

type Place = {
  readonly world: KafkaWorld
  readonly cli: (...args: string[]) => Promise<Ran>
}

/** Topics of its own, and a command line that knows them by the environment. */
async function place(): Promise<Place> {
  const world = await kafkaWorld(tasks)
  after(() => world.close())
  const env = {
    KAFKA_BROKERS: world.options.brokers.join(','),
    WELLSPRING_TOPIC_PREFIX: world.options.topicPrefix,
    WELLSPRING_PIPELINE: resolve(import.meta.dirname, 'pipeline.ts'),
  }
  return { world, cli: (...args) => wellspring(args, env) }
}

async function committed(world: KafkaWorld, topic: TopicName): Promise<LogRecord[]> {
  const records: LogRecord[] = []
  for await (const record of world.client.readAll(topic)) records.push(record)
  return records
}

async function write(world: KafkaWorld, records: readonly TopicRecord[]): Promise<void> {
  await world.client.produce(
    records.map(({ topic, key, type, value }) => ({
      topic: topic as TopicName,
      key,
      value,
      headers: { 'wellspring-type': type },
    })),
  )
}

test(
  'ingest: plan and images arrive under the plate key, in its partition',
  imagexpress.needs,
  async () => {
    const { world, cli } = await place()
    const ran = await cli('ingest', imagexpress.path, '--experiment', 'E')
    assert.equal(ran.code, 0, ran.stderr)
    assert.match(
      ran.stdout,
      /^E\/9987\/a1 {2}announced 36 of 48 planned images, 12 planned but not there/,
    )
    const images = await committed(world, 'images.v1')
    const commands = await committed(world, 'commands.v1')
    assert.deepEqual([commands.length, images.length], [1, 36])
    for (const { key, partition } of [...commands, ...images])
      assert.deepEqual([key?.toString(), partition], ['E/9987', taskOf('E/9987', tasks)])
    const [plan] = commands
    assert.equal(fromBinary(CommandSchema, plan?.value ?? Buffer.alloc(0)).action.case, 'plan')
    const names = images.map(({ value }) =>
      fromBinary(ImageAcquiredSchema, value ?? Buffer.alloc(0)),
    )
    assert.equal(new Set(names.map(({ artifact }) => artifact?.uri)).size, 36)
    const audit = await cli('verify', '-o', 'json')
    assert.equal(audit.code, 10)
    const { planned, missing } = JSON.parse(audit.stdout) as { planned: number; missing: number }
    assert.deepEqual([planned, missing], [48 * 2 + 4 + 2 + 1, 48 * 2 + 4 + 2 + 1])
  },
)

test('verify: 10 while something is missing, 0 when --wait sees the rest come, 10 on a duplicate', async () => {
  const { world, cli } = await place()
  const [first, ...rest] = perfectLog()
  assert.ok(first)
  await write(world, [first, ...rest.slice(0, -1)])
  const early = await cli('verify')
  assert.equal(early.code, 10, early.stderr)
  assert.match(early.stdout, /1 missing, 0 duplicate, 0 unplanned\n {2}missing {2}E\/P1\/a1\/judge/)
  assert.match(early.stderr, /not exact: 1 missing/)
  const waiting = cli('verify', '--wait', '60s', '-o', 'json')
  await write(world, rest.slice(-1))
  const found = await waiting
  assert.equal(found.code, 0, found.stderr)
  const report = JSON.parse(found.stdout) as Record<string, unknown>
  assert.deepEqual(
    [report['pipeline'], report['planned'], report['done'], report['missing'], report['duplicate']],
    [PIPELINE.label, 5, 5, 0, 0],
  )
  await write(world, [result(IMAGE, 'check')])
  const doubled = await cli('verify')
  assert.equal(doubled.code, 10)
  assert.match(doubled.stdout, /duplicate {2}E\/P1\/a1\/B02\/t0\/s1\/z0\/DNA\/check@test-1#1/)
})

test('dead-letters and redrive: grouped, looked at, confirmed, written as commands', async () => {
  const { world, cli } = await place()
  const log = perfectLog().filter(({ key }) => !key.startsWith(`${IMAGE}/check`))
  await write(world, [...log, deadLetter(IMAGE, 'check')])
  const letters = await cli('dead-letters', '-o', 'jsonl')
  assert.equal(letters.code, 0, letters.stderr)
  assert.equal((JSON.parse(letters.stdout) as { entity: string }).entity, IMAGE)

  const looked = await cli('redrive', 'P1', '--dry-run')
  assert.equal(looked.code, 0, looked.stderr)
  assert.match(looked.stdout, /^would redrive 1 step run of 1 plate/)
  const unasked = await cli('redrive', 'P1')
  assert.equal(unasked.code, 2)
  assert.match(unasked.stderr, /nobody to ask: say -y/)
  assert.equal((await committed(world, 'commands.v1')).length, 1)

  const ran = await cli('redrive', '--where', 'step=check', '--reason', 'file copied again', '-y')
  assert.equal(ran.code, 0, ran.stderr)
  const written = (await committed(world, 'commands.v1')).map(({ key, value }) => ({
    key: key?.toString(),
    command: fromBinary(CommandSchema, value ?? Buffer.alloc(0)),
  }))
  const redriven = written.find(({ command }) => command.action.case === 'redrive')
  assert.equal(redriven?.key, 'E/P1')
  assert.equal(redriven.command.reason, 'file copied again')
  assert.deepEqual(
    redriven.command.action.case === 'redrive' && {
      entity: redriven.command.action.value.entity,
      step: redriven.command.action.value.step,
    },
    { entity: IMAGE, step: 'check' },
  )

  await write(world, [result(IMAGE, 'check', { generation: 2 })])
  const nothing = await cli('redrive', '--where', 'step=check', '-y')
  assert.equal(nothing.code, 3)
  assert.match((await cli('dead-letters')).stdout, /nothing is parked/)
})

test('results: the latest revision of each, below an entity, as table and JSON', async () => {
  const { world, cli } = await place()
  const again = result(IMAGE, 'check', { revision: 2 })
  await write(world, [...perfectLog(), again, closed(PLATE, { revision: 2, expected: 1, done: 1 })])
  const ran = await cli('results', 'P1/a1/B02')
  assert.equal(ran.code, 0, ran.stderr)
  assert.deepEqual(
    new Set(
      ran.stdout
        .trimEnd()
        .split('\n')
        .map((line) => line.replace(/^.*\/([a-z]+@\S+).*$/, '$1')),
    ),
    new Set(['check@test-1#2', 'clean@test-1#1', 'count@test-1#1', 'profile@test-1#1']),
  )
  const all = await cli('results', '--step', 'check', '--all-revisions', '-o', 'jsonl')
  assert.equal(all.stdout.trimEnd().split('\n').length, 2)
  const json = JSON.parse((await cli('results', '--closes', '-o', 'json')).stdout) as {
    items: object[]
  }
  assert.equal(json.items.length, 8)
})

test('topics that are not there are told with what to do', async () => {
  const { world } = await place()
  const ran = await wellspring(['verify'], {
    KAFKA_BROKERS: world.options.brokers.join(','),
    WELLSPRING_TOPIC_PREFIX: 'nobody.',
  })
  assert.equal(ran.code, 1, ran.stderr)
  assert.match(ran.stderr, /There is no topic .*start the coordinator/)
})
