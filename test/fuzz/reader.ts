// The way of an input from the bytes of a fetch to events, on Kafka and on the memory twin, and what must hold of it
// whatever the bytes are.
import assert from 'node:assert/strict'
import { PartitionBatch } from '@wellspring/kafka/fetched.ts'
import { inbox } from '../../coordinator/task/inbox.ts'
import { openIntake } from '../../coordinator/task/intake.ts'
import { limits } from '../../coordinator/task/limits.ts'
import { memoryBroker } from '../../coordinator/log/memory.ts'
import type { GroupListener } from '../../coordinator/log/port.ts'
import type { Input } from '@wellspring/kafka/records.ts'
import type { InputTopic } from '@wellspring/kafka/topic-names.ts'
import { EVIDENCE_BYTES_MAX, batchesIn } from '@wellspring/kafka/record-decoder.ts'
import { cursorOver } from '../kafka/batches.ts'
import type { Case } from './cases.ts'

/** Takes a case in. Throws where something does not hold; returns how many of its records are events. */
export type Reader = (one: Case) => number

/** From where on, as kafkajs hands it to the group. */
const FIRST_OFFSET = 1_000

const intake = openIntake({
  task: 0,
  tasks: 1,
  clock: { monotonicMs: () => 0 },
  logger: () => {},
})

/** As the group reads what kafkajs has fetched. */
export const kafkaReader: Reader = (one) => {
  const end = FIRST_OFFSET + one.covers
  const batch = new PartitionBatch(one.topic, String(FIRST_OFFSET), {
    partition: 0,
    highWatermark: String(end),
    abortedTransactions: null,
    messages: batchesIn(cursorOver(one.batches(FIRST_OFFSET))),
  })
  // Cut off: it is fetched again.
  if (batch.isEmpty()) return 0
  const { inputs, next } = batch.range(one.topic)
  assert.equal(Number(batch.lastOffset()) + 1, next, 'kafkajs goes on where we do')
  assert.ok(next > FIRST_OFFSET && next <= end, `goes on at ${next}`)
  return takeAll(one.topic, inputs, { from: FIRST_OFFSET, next })
}

/** As the memory twin hands it over. */
export const memoryReader: Reader = (one) => {
  if (kafkaCutsOff(one)) return 0
  const broker = memoryBroker(1)
  const log = broker.open('reader', {
    request: (_, __, work) => Promise.resolve(work()),
    monotonicMs: () => 0,
  })
  let next = 0
  let events = 0
  const take = (inputs: readonly Input[], to: number): void => {
    events += takeAll(one.topic, inputs, { from: next, next: to })
    next = to
  }
  const listener: GroupListener = {
    assigned: () => new Map(),
    confirmed: () => {},
    records: (_, inputs) => take(inputs, endOf(inputs)),
    passed: (_, __, to) => take([], to),
    outOfRange: () => assert.fail('out of range'),
    crashed: (error) => assert.fail(error),
  }
  void log.join(listener)
  broker.produceBatches(one.topic, 0, one.covers, one.batches)
  log.resume(0, { 'images.v1': 0, 'commands.v1': 0 })
  for (let left = one.covers; broker.deliver('reader', 100); left -= 1)
    assert.ok(left > 0, 'what is delivered moves its reader')
  assert.equal(next, one.covers)
  return events
}

function kafkaCutsOff({ batches }: Case): boolean {
  return batchesIn(cursorOver(batches(0))).length === 0
}

function endOf(inputs: readonly Input[]): number {
  const last = inputs.at(-1)
  assert.ok(last)
  return ('last' in last ? last.last : last.offset) + 1
}

type Between = { readonly from: number; readonly next: number }

function takeAll(topic: InputTopic, inputs: readonly Input[], { from, next }: Between): number {
  const box = inbox(limits)
  box.reset({ 'images.v1': from, 'commands.v1': from })
  box.push([...inputs, { topic, next }])
  let told = from
  let events = 0
  for (let input = box.peek(); input !== undefined; input = box.peek()) {
    if ('batch' in input) {
      box.open()
      continue
    }
    box.take()
    assert.ok(input.offset >= told, `${input.offset} is told again`)
    told = 'last' in input ? input.last + 1 : input.offset + 1
    assert.ok(told <= next && told <= box.next[topic], `${told} is behind the batch`)
    const event = intake.eventOf(input)
    if (event.kind !== 'unreadable') events += 1
    else {
      assert.notEqual(event.reason, 'PROCESSING_FAILED', event.message)
      if ('reason' in input) assert.ok(event.bytes.length <= EVIDENCE_BYTES_MAX)
    }
  }
  assert.deepEqual([box.next[topic], box.size()], [next, 0])
  return events
}
