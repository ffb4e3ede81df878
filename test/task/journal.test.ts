// State written by one version is read by the next: changelogs recorded with every released journal version
// (record-journal.ts) restore for ever, and what was open in them is closed. A version from the future changes nothing.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { create, fromBinary, fromJson, toBinary, type JsonValue } from '@bufbuild/protobuf'
import { CheckpointSchema } from '#proto/wellspring/journal/v1/state_pb.ts'
import { PlatePlanSchema } from '#proto/wellspring/lab/v1/plan_pb.ts'
import { CommandSchema } from '#proto/wellspring/record/v1/input_pb.ts'
import { loadPipeline } from '../../coordinator/core/pipeline/check.ts'
import { BOUNDED_VERSION, emptyTask } from '../../coordinator/core/state.ts'
import { CHECKPOINT_KEY, JOURNAL_VERSION } from '../../coordinator/task/batch.ts'
import { memoryBroker, type MemoryBroker } from '../../coordinator/log/memory.ts'
import { INPUT_TOPICS, type InputTopic } from '@wellspring/kafka/topic-names.ts'
import type { Log } from '../../coordinator/log/port.ts'
import type { NewRecord } from '@wellspring/kafka/records.ts'
import { nothingRead, takeOver, type TakeOver } from '../../coordinator/task/restore.ts'
import { pipeline as levels } from '../pipelines/echo-levels.ts'
import { openWorld, type World } from '../sim/world.ts'
import { decodedState, decodedTask } from './journal.ts'

const pipeline = loadPipeline(levels)
const owner = { application: 'sim', instance: 'test', controlAddress: '' }

type Fixture = {
  readonly journalVersion: number
  readonly flushSeq: number
  readonly next: Readonly<Record<InputTopic, number>>
  readonly records: readonly (readonly [key: string, value: string | null])[]
  readonly state: readonly (readonly [key: string, entity: JsonValue])[]
}

const fixtures = ['1', '2', '3', '3-attempts'].map((name) => {
  const path = new URL(`journals/${name}.json`, import.meta.url)
  return { name, ...(JSON.parse(readFileSync(path, 'utf8')) as Fixture) }
})

const open = (broker: MemoryBroker): Log =>
  broker.open('test', {
    monotonicMs: () => 0,
    request: (_, __, work) => Promise.resolve().then(work),
  })

const ours = (broker: MemoryBroker): TakeOver => ({
  log: open(broker),
  task: 0,
  back: nothingRead(emptyTask('sim', pipeline)),
  owner,
  isWanted: () => true,
  nowMs: Date.now,
})

const recordOf = (key: string, value: Uint8Array | null): NewRecord => ({
  topic: 'state.v1',
  partition: 0,
  key,
  value,
  headers: {},
})

/** Puts the changelog, and as many inputs as it has passed, into a broker. */
async function load(broker: MemoryBroker, { records, next }: Fixture): Promise<void> {
  for (const topic of INPUT_TOPICS)
    for (let at = 0; at < next[topic]; at += 1) broker.produce(topic, 0, 'passed', null)
  const writer = await open(broker).fence(0)
  await writer.commit(
    records.map(([key, value]) =>
      recordOf(key, value === null ? null : Buffer.from(value, 'base64')),
    ),
  )
}

function closed(world: World): string[] {
  const state = decodedState(pipeline, world.broker.committed('state.v1'))
  return Object.entries(state).flatMap(([key, entity]) =>
    (entity as { close?: { completed?: boolean } }).close?.completed ? [key] : [],
  )
}

for (const fixture of fixtures) {
  const { name, journalVersion, flushSeq, next, state } = fixture

  test(`journal version ${name} restores as it was written`, async () => {
    assert.ok(state.length > 50)
    const broker = memoryBroker(1)
    await load(broker, fixture)
    const restored = await takeOver(ours(broker))
    assert.deepEqual(decodedTask(restored.state), Object.fromEntries(state))
    assert.deepEqual([restored.flushSeq, restored.next], [flushSeq, next])
    assert.equal(restored.state.journalVersion, journalVersion)
  })

  test(`what was open in journal version ${name} goes on under its old keys, and closes`, async () => {
    const called: string[] = []
    const world = openWorld({
      seed: 1,
      tasks: 1,
      pipeline,
      script: ({ idempotencyKey }) =>
        void called.push(Buffer.from(idempotencyKey, 'hex').toString('base64')),
      retireAfterMs: 60_000,
    })
    await load(world.broker, fixture)
    world.start()
    world.after(1, () => world.rebalance())
    const known = state.find(([key]) => key === 'E/awaited/a1#plan')
    assert.ok(known)
    const plan = fromJson(PlatePlanSchema, known[1])
    plan.plate = 'unplanned'
    const command = create(CommandSchema, { action: { case: 'plan', value: plan } })
    world.after(1_000, () =>
      world.broker.produce('commands.v1', 0, 'E/unplanned', toBinary(CommandSchema, command)),
    )
    const plates = state.flatMap(([key]) =>
      key.split('/').length === 3 && !key.includes('#') ? [key] : [],
    )
    // One plate waits for its images for an hour.
    const isOver = (): boolean =>
      world.nowMs() > 3_590_000 && plates.every((key) => closed(world).includes(key))
    assert.ok(await world.run(4_000_000, isOver), `closed: ${closed(world).join()}`)
    assert.deepEqual(world.complaints, [])
    const running = state.flatMap(([key, site]) =>
      key.startsWith('E/running/') && key.split('/').length === 6
        ? (site as unknown as { images: { runs: { idempotencyKey: string }[] }[] }).images
        : [],
    )
    assert.equal(running.length, 4)
    for (const { runs } of running) assert.ok(called.includes(runs[0]?.idempotencyKey ?? ''))
    const bytes = world.broker
      .committed('state.v1')
      .slice(fixture.records.length)
      .map(({ value }) => value?.length ?? 0)
    assert.ok(Math.max(...bytes) < 64_000, `${Math.max(...bytes)} bytes are written anew`)
    const ends = (): string[] =>
      Object.keys(decodedState(pipeline, world.broker.committed('state.v1')))
    assert.ok(await world.run(5_000_000, () => ends().length === plates.length))
    assert.deepEqual(ends().toSorted(), plates.toSorted(), 'and in the end only summaries are left')
    const versions = world.broker
      .committed('state.v1')
      .flatMap(({ key, value }) =>
        key?.toString() === CHECKPOINT_KEY && value
          ? [fromBinary(CheckpointSchema, value).journalVersion]
          : [],
      )
    const passed = fixture.records.filter(([key]) => key === CHECKPOINT_KEY).length
    // A site of 60 images is written anew in parts.
    const first = name === '3-attempts' ? BOUNDED_VERSION : journalVersion
    assert.equal(versions[passed], first, 'the last version may go on beside this one')
    assert.deepEqual(
      versions,
      versions.toSorted((a, b) => a - b),
    )
    assert.ok((versions.at(-1) ?? 0) >= 3)
  })
}

test('a version from the future keeps its task down, and nothing is written', async () => {
  const [fixture] = fixtures
  assert.ok(fixture)
  const world = openWorld({ seed: 1, tasks: 1, pipeline, script: () => undefined })
  await load(world.broker, fixture)
  const writer = await open(world.broker).fence(0)
  const { flushSeq } = fixture
  const checkpoint = create(CheckpointSchema, { flushSeq, journalVersion: JOURNAL_VERSION + 1 })
  await writer.commit([
    recordOf('a/kind/of/key/that/nobody/knows', Buffer.from('new')),
    recordOf(CHECKPOINT_KEY, toBinary(CheckpointSchema, checkpoint)),
  ])
  const before = world.broker.committed('state.v1').length
  world.start()
  world.after(1, () => world.rebalance())
  await world.run(60_000, () => false)
  assert.deepEqual(world.complaints, [], 'the process goes on')
  const trouble = world.processes[0]?.host.engine(0)?.trouble().down()?.trouble
  assert.equal(trouble?.reason, 'NEWER_JOURNAL')
  assert.match(
    trouble.message,
    /newer version \(journal 5, this one knows 4\); nothing was changed/,
  )
  assert.equal(world.broker.committed('state.v1').length, before)
})

test('a record that this version cannot read, under a version that it knows, keeps it down too', async () => {
  const broker = memoryBroker(1)
  const writer = await open(broker).fence(0)
  await writer.commit([recordOf('a/kind/of/key', Buffer.from('new'))])
  await assert.rejects(
    takeOver(ours(broker)),
    /state.v1 cannot be read: "a\/kind\/of\/key" at offset 0: .* is no entity key/,
  )
  assert.equal(broker.committed('state.v1').length, 1)
})
