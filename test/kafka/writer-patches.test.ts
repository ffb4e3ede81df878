// What the patches of kafkajs change for a transactional writer: the original shows its fault first.
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import type { logCreator } from 'kafkajs'
import { kafkaLogCreator } from '@wellspring/kafka/kafkajs-log.ts'
import { writerIds, type Kafkajs } from '@wellspring/kafka/patches.ts'
import { client, newTopic } from './clients.ts'
import { original, patched } from './original.ts'

type Entry = Parameters<ReturnType<logCreator>>[0]

const BUSY_ROUNDS = 25
/** So often the broker must have been busy before a patch that is never refused shows anything. */
const BUSY_MIN = 10
/** The more markers a commit writes, the longer the broker is busy with it. */
const MARKED_PARTITIONS = 50

test('K17: transactions back to back are not refused, and nothing is logged about it', async () => {
  const topic = await newTopic({ numPartitions: MARKED_PARTITIONS })
  const messages = Array.from({ length: MARKED_PARTITIONS }, (_, partition) => ({
    partition,
    value: 'v',
  }))
  const run = async (kafkajs: Kafkajs, logged: Entry[], filtered: boolean): Promise<number> => {
    const collect: logCreator = () => (entry) => void logged.push(entry)
    const creator = filtered
      ? kafkaLogCreator(
          (level, text) => level === 'error' && logged.push({ text } as unknown as Entry),
        )
      : collect
    const producer = client(kafkajs, creator).producer({
      transactionalId: randomUUID(),
      maxInFlightRequests: 1,
      retry: { retries: 0 },
      createPartitioner: kafkajs.Partitioners.DefaultPartitioner,
    })
    await producer.connect()
    let refused = 0
    for (let turn = 0; turn < 40; turn++) {
      const transaction = await producer.transaction()
      try {
        await transaction.send({ topic, messages })
        await transaction.commit()
      } catch {
        refused += 1
        await transaction.abort()
      }
    }
    await producer.disconnect()
    return refused
  }
  const before: Entry[] = []
  const later: Entry[] = []
  // On some machines the broker is mostly done in time: until it was not, nothing is shown.
  let refused = 0
  for (let round = 0; round < BUSY_ROUNDS && refused < BUSY_MIN; round += 1) {
    refused += await run(original.kafkajs, before, false)
    assert.equal(await run(patched.kafkajs, later, true), 0)
  }
  assert.ok(refused >= BUSY_MIN, `the broker was busy ${refused} times: that shows nothing`)
  assert.ok(before.length > 0)
  assert.deepEqual(later, [])
})

test('K14: the transaction coordinator is looked up once per writer', async () => {
  const topic = await newTopic()
  const lookups = async (kafkajs: Kafkajs): Promise<number> => {
    const { DefaultPartitioner: createPartitioner } = kafkajs.Partitioners
    const options = { transactionalId: randomUUID(), maxInFlightRequests: 1, createPartitioner }
    const producer = client(kafkajs, () => () => {}).producer(options)
    let asked = 0
    producer.on('producer.network.request', ({ payload }) => {
      if (payload.apiName === 'GroupCoordinator') asked += 1
    })
    await producer.connect()
    for (let turn = 0; turn < 5; turn++) {
      const turned = await producer.transaction()
      await turned.send({ topic, messages: [{ value: String(turn) }] })
      await turned.commit()
    }
    await producer.disconnect()
    return asked
  }
  assert.ok((await lookups(original.kafkajs)) >= 10)
  assert.equal(await lookups(patched.kafkajs), 1)
})

test('the id of a writer is known, and grows by one with each claim', async () => {
  const transactionalId = randomUUID()
  const claim = async (
    kafkajs: Kafkajs,
  ): Promise<{ producerId: number; epoch: number } | undefined> => {
    const producer = client(kafkajs).producer({
      transactionalId,
      retry: { retries: 0 },
      createPartitioner: kafkajs.Partitioners.DefaultPartitioner,
    })
    await producer.connect()
    const slot: { id?: { producerId: number; epoch: number } } = {}
    await writerIds.run(slot, () => producer.transaction())
    await producer.disconnect()
    return slot.id
  }
  assert.equal(await claim(original.kafkajs), undefined)
  const first = await claim(patched.kafkajs)
  const second = await claim(patched.kafkajs)
  assert.ok(first !== undefined && second !== undefined)
  assert.deepEqual(second, { producerId: first.producerId, epoch: first.epoch + 1 })
})
