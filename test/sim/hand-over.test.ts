// A task that leaves a process and comes straight back, while its last flush has no answer.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create, toBinary } from '@bufbuild/protobuf'
import { loadPipeline } from '../../coordinator/core/pipeline/check.ts'
import { entityKey, partitionKey } from '@wellspring/lab/entity.ts'
import { hex, sha256 } from '../../coordinator/core/keys.ts'
import { ChannelKind, IdentitySchema } from '#proto/wellspring/lab/v1/identity_pb.ts'
import { ImageAcquiredSchema } from '#proto/wellspring/record/v1/input_pb.ts'
import { pipeline as levels } from '../pipelines/echo-levels.ts'
import { openWorld, type World } from './world.ts'

function announce({ broker }: World): void {
  const identity = create(IdentitySchema, {
    experiment: 'E',
    plate: 'P1',
    acquisition: 'a1',
    well: 'A01',
    timePoint: 0,
    site: 1,
    z: 0,
    channel: 'DNA',
  })
  const artifact = { uri: 'file:///image', sizeBytes: 1, sha256: hex(sha256(Buffer.from('image'))) }
  const channel = { name: 'DNA', kind: ChannelKind.NUCLEI }
  const image = create(ImageAcquiredSchema, { identity, channel, artifact })
  const key = partitionKey(entityKey(identity))
  broker.produce('images.v1', 0, key, toBinary(ImageAcquiredSchema, image))
}

test('a call is told to the task that came back, whenever its last flush was fenced', async () => {
  // The seed decides what comes first when the process goes on: the flush, its answer, or the news of the loss.
  for (let seed = 0; seed < 60; seed += 1) {
    const executions: string[] = []
    const world = openWorld({
      seed,
      tasks: 1,
      pipeline: loadPipeline(levels),
      script: ({ idempotencyKey }) => {
        executions.push(idempotencyKey)
        return { kind: 'late', delayMs: 9_000 }
      },
    })
    const first = world.start()
    const second = world.start()
    const deal = (atMs: number, ...dealt: [string, number[]][]): void =>
      world.after(atMs, () => world.broker.rebalance(new Map(dealt)))
    const results = (): number => world.broker.committed('results.v1').length
    deal(1, [first.name, [0]], [second.name, []])
    world.after(1_000, () => announce(world))
    // Stopped with a flush to send, it finds itself fenced, and hears at about the same time that the task moved.
    world.after(1_060, () => world.stop(first, 1_000))
    deal(1_500, [second.name, [0]])
    deal(2_060 + seed / 5, [first.name, []], [second.name, [0]])
    deal(2_400, [first.name, [0]], [second.name, []])
    await world.run(30_000, () => results() > 0)
    assert.equal(results(), 1, `seed ${seed}`)
    assert.ok(executions.length <= 2, `seed ${seed}`)
    assert.deepEqual(world.complaints, [])
  }
})

test('a process that missed a generation trusts nothing it remembers', async () => {
  const world = openWorld({
    seed: 1,
    tasks: 1,
    pipeline: loadPipeline(levels),
    script: () => undefined,
  })
  const { broker } = world
  const [first, second] = [world.start(), world.start()]
  const deal = (deaf: string[], mine: number[], others: number[]): void =>
    broker.rebalance(
      new Map([
        [first.name, mine],
        [second.name, others],
      ]),
      new Set(deaf),
    )
  world.after(1, () => deal([], [0], []))
  world.after(1_000, () => deal([first.name], [], [0]))
  // It is stopped while the second one has the task and takes an image in.
  world.after(1_500, () => world.stop(first, 2_600))
  world.after(2_000, () => announce(world))
  world.after(4_000, () => deal([], [0], []))
  await world.run(10_000, () => false)
  assert.equal(broker.committed('results.v1').length, 1)
  assert.equal(first.host.engine(0)?.phase, 'running')
  assert.equal(first.host.engine(0)?.state?.sites.size(), 1)
})
