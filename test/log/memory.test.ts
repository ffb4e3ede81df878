// The suite of the port on the memory twin, with a group that deals tasks as Kafka's does.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create, toBinary } from '@bufbuild/protobuf'
import { CheckpointSchema, PlateStateSchema } from '#proto/wellspring/journal/v1/state_pb.ts'
import { loadPipeline } from '../../coordinator/core/pipeline/check.ts'
import { emptyTask } from '../../coordinator/core/state.ts'
import { CHECKPOINT_KEY } from '../../coordinator/task/batch.ts'
import { memoryBroker } from '../../coordinator/log/memory.ts'
import type { Log } from '../../coordinator/log/port.ts'
import { apply, nothingRead } from '../../coordinator/task/restore.ts'
import { pipeline } from '../pipelines/echo-levels.ts'
import { deletedSuite } from './deleted.suite.ts'
import { logSuite, record, type LogWorld } from './port.suite.ts'

const DELIVER_EVERY_MS = 2

logSuite('memory', (tasks) => Promise.resolve(memoryWorld(tasks)))
deletedSuite('memory', (tasks) => Promise.resolve(memoryWorld(tasks)))

test('what is kept of state that was read is a copy: the records are lent', async () => {
  const world = memoryWorld(1)
  const log = await world.open('a')
  const writer = await log.fence(0)
  const outputsDigest = new Uint8Array([1, 2, 3, 4])
  const checkpoint = create(CheckpointSchema, { flushSeq: 1, outputsDigest })
  await writer.commit([
    { ...record(0, CHECKPOINT_KEY), value: toBinary(CheckpointSchema, checkpoint) },
    { ...record(0, 'E/P/a1'), value: toBinary(PlateStateSchema, create(PlateStateSchema)) },
    { ...record(0, 'E/P/a1/B07/t0'), value: Buffer.alloc(100, 7) },
  ])
  const back = nothingRead(emptyTask('app', loadPipeline(pipeline)))
  const lent: Buffer[] = []
  await log.readState(0, 0, (one) => {
    if (one.value) lent.push(one.value)
    return apply(back, one)
  })
  assert.ok(lent.every((bytes) => bytes.every((byte) => byte === 0)))
  assert.deepEqual(back.last?.outputsDigest, outputsDigest)
  const [well] = back.state.wells.all()
  assert.deepEqual(well && Buffer.from(well[1]), Buffer.alloc(100, 7))
  await Promise.all([writer.close(), world.close()])
})

function memoryWorld(tasks: number): LogWorld {
  const broker = memoryBroker(tasks)
  let owned = new Map<string, number[]>()

  /** Fair shares; a member keeps what it has up to its share. */
  function rebalance(members: readonly string[]): void {
    const share = Math.ceil(tasks / Math.max(1, members.length))
    const dealt = new Map(members.map((name) => [name, (owned.get(name) ?? []).slice(0, share)]))
    const taken = new Set([...dealt.values()].flat())
    for (let task = 0; task < tasks; task += 1) {
      if (taken.has(task)) continue
      const poorest = [...dealt].toSorted(([, a], [, b]) => a.length - b.length)[0]
      poorest?.[1].push(task)
    }
    owned = dealt
    broker.rebalance(dealt)
  }

  const beat = setInterval(() => {
    broker.heartbeat()
    for (const name of owned.keys()) while (broker.deliver(name, 100));
  }, DELIVER_EVERY_MS)

  return {
    open(instance) {
      const log = broker.open(instance, {
        monotonicMs: () => performance.now(),
        request: (_, __, work) => new Promise((resolve) => setImmediate(resolve)).then(work),
      })
      const joined: Log = {
        ...log,
        async join(listener) {
          await log.join(listener)
          setImmediate(() => rebalance([...owned.keys(), instance]))
        },
        async close() {
          await log.close()
          if (!owned.has(instance)) return
          setImmediate(() => rebalance([...owned.keys()].filter((name) => name !== instance)))
        },
      }
      return Promise.resolve(joined)
    },
    produce(topic, partition, key, value) {
      broker.stampMs = Date.now()
      broker.produce(topic, partition, key, Buffer.from(value))
      return Promise.resolve()
    },
    deleteBelow(topic, partition, offset) {
      broker.deleteBelow(topic, partition, offset)
      return Promise.resolve()
    },
    committed: (topic) => Promise.resolve(broker.committed(topic)),
    close() {
      clearInterval(beat)
      return Promise.resolve()
    },
  }
}
