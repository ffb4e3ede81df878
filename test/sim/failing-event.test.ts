// What the coordinator itself fails on, and survives: a record is set aside, an outcome stops its plate, at once, and all
// else goes on. What opens a batch and kills its process is set aside after three owners.
import assert from 'node:assert/strict'
import { syncBuiltinESMExports } from 'node:module'
import { test } from 'node:test'
import zlib from 'node:zlib'
import { fromBinary } from '@bufbuild/protobuf'
import {
  DeadLetterSchema,
  PlateEventSchema,
  type DeadLetter,
} from '#proto/wellspring/record/v1/output_pb.ts'
import { Level } from '#proto/wellspring/contract/v1/options_pb.ts'
import { loadPipeline } from '../../coordinator/core/pipeline/check.ts'
import type { Pipeline } from '../../coordinator/core/pipeline/pipeline.ts'
import { imageRecords, planOf, planRecord } from '../e2e/stage.ts'
import { batchBytes, recordsBytes } from '../kafka/batches.ts'
import { pipeline as levels } from '../pipelines/echo-levels.ts'
import { broken } from './checks.ts'
import { openWorld, type World } from './world.ts'

const { gunzipSync, gzipSync } = zlib
const plain = loadPipeline(levels)
const IMAGES = 6
const SEEDS = [1, 2, 3, 4, 5]

type Story = World & { readonly executions: Map<string, number> }

function begin(seed: number, pipeline: Pipeline, plates: readonly string[]): Story {
  const executions = new Map<string, number>()
  const world = openWorld({
    seed,
    tasks: 1,
    pipeline,
    script: ({ idempotencyKey }) => {
      executions.set(idempotencyKey, (executions.get(idempotencyKey) ?? 0) + 1)
      return undefined
    },
  })
  world.start()
  world.after(1, () => world.rebalance())
  for (const [index, plate] of plates.entries()) {
    const plan = planOf(plate, { wells: IMAGES, sites: 1, channels: 1 })
    const { value } = planRecord(plan)
    world.after(10, () => world.broker.produce('commands.v1', 0, 'E/P', value))
    for (const [at, image] of imageRecords(plan).entries())
      world.after(1_000 + 500 * at + index, () =>
        world.broker.produce('images.v1', 0, image.key, image.value),
      )
  }
  return Object.assign(world, { executions })
}

const letters = ({ broker }: World): DeadLetter[] =>
  broker
    .committed('dead-letters.v1')
    .flatMap(({ value }) => (value ? [fromBinary(DeadLetterSchema, value)] : []))

const imagesDone = ({ broker }: World): Record<string, number> =>
  Object.fromEntries(
    broker
      .committed('plate-events.v1')
      .flatMap(({ value }) => (value ? [fromBinary(PlateEventSchema, value)] : []))
      .map(({ entity, imagesDone: done }) => [entity, done]),
  )

/** What a stopped plate, or one that lacks an image, has not is no complaint. */
function complaints(world: Story): string[] {
  const { broker, executions } = world
  const quiet = { announced: new Map(), isRetiring: false, outageEndedMs: undefined }
  const judged = { broker, executions, pipeline: plain, ...quiet }
  return [...world.complaints, ...broken(judged)].filter((one) => !one.startsWith('T5'))
}

for (const seed of SEEDS)
  test(`a record that makes the coordinator fail is set aside, at once: seed ${seed}`, async () => {
    let fails = 1
    // Asked when the image is in its site already: what is in memory then was never meant.
    const at = (level: Level) => {
      if (level === Level.IMAGE && world.nowMs() > 2_400 && fails > 0) {
        fails -= 1
        throw new TypeError('no such thing')
      }
      return plain.at(level)
    }
    const world = begin(seed, { ...plain, at }, ['P'])
    assert.ok(await world.run(60_000, () => 'E/P/a1' in imagesDone(world)))
    const [letter, ...others] = letters(world)
    assert.deepEqual([letter?.failure?.reason, others], ['PROCESSING_FAILED', []])
    assert.match(
      letter?.failure?.message ?? '',
      /^the coordinator failed on it: TypeError: no such/,
    )
    const { topic, offset = -1 } = letter?.origin ?? {}
    assert.equal(topic, 'images.v1')
    const origin = world.broker.written('images.v1')[offset]
    assert.deepEqual(Buffer.from(letter?.originValue ?? []), origin?.value)
    assert.deepEqual(imagesDone(world), { 'E/P/a1': IMAGES - 1 })
    assert.deepEqual(complaints(world), [])
  })

for (const seed of SEEDS)
  test(`an outcome that makes the coordinator fail stops its plate, and no other: seed ${seed}`, async () => {
    let fails = 1
    const bands = {
      ...plain.bands,
      get rules() {
        if (fails > 0) {
          fails -= 1
          throw new TypeError('no such thing')
        }
        return plain.bands.rules
      },
    }
    const world = begin(seed, { ...plain, bands }, ['P', 'Q'])
    assert.ok(await world.run(60_000, () => Object.keys(imagesDone(world)).length === 1))
    await world.run(70_000, () => false)
    const [own, ...aside] = letters(world)
    assert.equal(own?.failure?.reason, 'PLATE_STOPPED')
    assert.match(
      own?.failure?.message ?? '',
      /^PROCESSING_FAILED: the coordinator failed on it: Ty/,
    )
    assert.ok(aside.every(({ failure }) => failure?.reason === 'PLATE_STOPPED'))
    const other = own?.entity === 'E/P/a1' ? 'E/Q/a1' : 'E/P/a1'
    assert.deepEqual(imagesDone(world), { [other]: IMAGES })
    assert.deepEqual(complaints(world), [])
  })

for (const seed of SEEDS)
  test(`a batch that kills who opens it is set aside after three owners: seed ${seed}`, async () => {
    const world = begin(seed, plain, ['P'])
    let deaths = 0
    const records = [{ value: 'a' }, { value: 'b' }, { value: 'c' }]
    const body = gzipSync(recordsBytes(records))
    onOpening((bytes) => {
      const [process] = world.processes
      if (!process || !bytes.equals(body)) return
      deaths += 1
      world.crash(process)
      world.after(1_000, () => void world.start())
      world.after(1_100, () => world.rebalance())
    })
    world.after(2_200, () =>
      world.broker.produceBatches('images.v1', 0, 3, (firstOffset) =>
        batchBytes(records, { firstOffset, codec: 1, body }),
      ),
    )
    assert.ok(await world.run(120_000, () => 'E/P/a1' in imagesDone(world)))
    assert.equal(deaths, 3)
    const [letter, ...others] = letters(world)
    assert.deepEqual([letter?.failure?.reason, others], ['KILLED_ITS_PROCESS', []])
    const { offset = -1, lastOffset } = letter?.origin ?? {}
    assert.equal(lastOffset, offset + 2)
    assert.match(
      letter?.failure?.message ?? '',
      new RegExp(`^offsets ${offset} to ${lastOffset}: `),
    )
    assert.deepEqual(imagesDone(world), { 'E/P/a1': IMAGES })
    // The judge cannot see deaths.
    assert.deepEqual(complaints(world), [
      `I1 images.v1/0@${offset} killed nobody and was set aside`,
    ])
  })

/** What a decompressor in native code can do: the process is gone while it looks at the bytes. */
function onOpening(look: (bytes: Buffer) => void): void {
  zlib.gunzipSync = (bytes, options) => {
    look(bytes as Buffer)
    return gunzipSync(bytes, options)
  }
  syncBuiltinESMExports()
}
