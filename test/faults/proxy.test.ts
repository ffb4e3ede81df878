// The proxy on a real broker: what it loses is lost, and the log is exact in spite of it.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { javaConsume } from '../../dev/broker.ts'
import type { Log, Writer } from '../../coordinator/log/port.ts'
import { asLogError } from '@wellspring/kafka/errors.ts'
import { createMember, isLogError, keyOf, record } from '../log/port.suite.ts'
import { kafkaWorld, type KafkaWorld } from '../log/world.ts'
import { proxiedBroker, type ProxiedBroker } from './proxied.ts'
import type { Proxy } from './proxy.ts'

let broker: ProxiedBroker
let proxy: Proxy
let world: KafkaWorld
/** Keys of records that must be there once. */
const written: string[] = []
before(async () => {
  broker = await proxiedBroker()
  proxy = broker.proxy
  world = await kafkaWorld(8, broker.brokers)
})
after(() => broker.close())

/** Claims a task; whether a key was committed, by reading back to a barrier. */
async function claim(
  log: Log,
  task: number,
  key: string,
): Promise<{ writer: Writer; had: number }> {
  const writer = await log.fence(task)
  const barrier = `#owner ${writer.id.epoch}`
  await writer.commit([record(task, barrier)])
  let had = 0
  await log.readState(task, 0, (one) => {
    if (keyOf(one) === key) had += 1
    return keyOf(one) === barrier
  })
  return { writer, had }
}

/** As a task does it: an unknown outcome is resolved by reading back, and only what is missing is written again. */
async function commitOnce(log: Log, task: number, key: string): Promise<{ unknown: number }> {
  for (let unknown = 0; ; unknown += 1) {
    let writer: Writer | undefined
    try {
      const claimed = await claim(log, task, key)
      writer = claimed.writer
      if (claimed.had === 0) await writer.commit([record(task, key)])
      return { unknown }
    } catch (error) {
      assert.equal(asLogError(error).kind, 'unknown', String(error))
    } finally {
      await writer?.close()
    }
  }
}

test('the response to EndTxn is lost: the writer does not know, the read-back does, nothing is doubled', async () => {
  const log = await world.open('endtxn')
  const { writer } = await claim(log, 0, 'k')
  const lost = proxy.lose({ api: 'EndTxn', lost: 'response', connection: 'cut' })
  await assert.rejects(writer.commit([record(0, 'k')]), isLogError('unknown'))
  assert.equal((await lost.happened).client, 'endtxn')
  await writer.close()
  const again = await claim(log, 0, 'k')
  assert.equal(again.had, 1)
  written.push('k')
  await again.writer.close()
  await log.close()
})

for (const [task, api] of [
  [2, 'InitProducerId'],
  [3, 'AddPartitionsToTxn'],
  [4, 'Produce'],
  [5, 'EndTxn'],
] as const)
  for (const lost of ['request', 'response'] as const)
    test(`${api}: its ${lost} is lost, and the record is there once`, async () => {
      const log = await world.open(`lost-${api}-${lost}`)
      const key = `${api} ${lost}`
      // The barrier of the claim takes the same requests: once that is hit, once the record itself.
      for (const skip of api === 'InitProducerId' ? [0] : [0, 1]) {
        const chosen = proxy.lose({ api, lost, connection: 'cut', skip })
        const done = commitOnce(log, task, `${key} ${skip}`)
        await chosen.happened
        assert.equal((await done).unknown, 1)
        written.push(`${key} ${skip}`)
      }
      await log.close()
    })

test('the Java client sees each of these records once', async () => {
  const topic = `${world.options.topicPrefix}state.v1`
  const judged = await javaConsume({ brokers: broker.direct, topic })
  const keys = judged.map((one) => one.key ?? '').filter((one) => !one.startsWith('#owner'))
  assert.deepEqual(keys.toSorted(), written.toSorted())
})

for (const lost of ['request', 'response'] as const)
  test(`JoinGroup: its ${lost} is lost, and the member joins all the same`, async () => {
    const own = await kafkaWorld(2, broker.brokers)
    const log = await own.open(`join-${lost}`)
    const member = createMember(log)
    const chosen = proxy.lose({ api: 'JoinGroup', lost, connection: 'cut', client: `join-${lost}` })
    const joined = log.join(member.listener)
    await chosen.happened
    await joined
    await member.until(() => member.owned.length === 2)
    await log.close()
  })

test('a Produce that arrives after the next claim is refused', async () => {
  const log = await world.open('late')
  const { writer } = await claim(log, 6, 'late')
  const held = proxy.hold({ api: 'Produce', client: 'late' })
  await assert.rejects(writer.commit([record(6, 'late')]), isLogError('unknown'))
  await held.happened
  await writer.close()
  const next = await claim(log, 6, 'late')
  assert.equal(next.had, 0)
  await held.arrive()
  await next.writer.commit([record(6, 'after')])
  await next.writer.close()
  const last = await claim(log, 6, 'late')
  assert.equal(last.had, 0)
  await last.writer.close()
  await log.close()
})

test('a cut fails what is under way, for the one that is meant, until it heals', async () => {
  const [one, other] = [await world.open('cut'), await world.open('whole')]
  const [writer, undisturbed] = [await one.fence(7), await other.fence(0)]
  proxy.cut('cut')
  assert.equal(proxy.connections('cut'), 0)
  await assert.rejects(writer.commit([record(7, 'x')]), isLogError('unknown'))
  await assert.rejects(one.fence(7), isLogError('unknown'))
  await undisturbed.commit([record(0, 'y')])
  proxy.heal('cut')
  const again = await one.fence(7)
  await again.commit([record(7, 'z')])
  for (const open of [writer, undisturbed, again]) await open.close()
  await Promise.all([one.close(), other.close()])
})

test('what was stalled passes when it heals', async () => {
  const log = await world.open('stall')
  const writer = await log.fence(7)
  proxy.stall()
  const committing = writer.commit([record(7, 'stalled')])
  const first = await Promise.race([committing.then(() => 'committed'), passes(500)])
  assert.equal(first, 'time')
  proxy.heal()
  await committing
  await writer.close()
  await log.close()
})

test('a delay is added to each way of each request', async () => {
  const log = await world.open('delay')
  const writer = await log.fence(7)
  await writer.commit([record(7, 'at once')])
  proxy.delay(100, 'delay')
  const startMs = performance.now()
  await writer.commit([record(7, 'slow')])
  const tookMs = performance.now() - startMs
  proxy.heal('delay')
  assert.ok(tookMs >= 600, `three requests took ${tookMs} ms`) // AddPartitionsToTxn, Produce, EndTxn
  await writer.close()
  await log.close()
})

test('a throttled connection passes so many bytes a second', async () => {
  const log = await world.open('throttle')
  const writer = await log.fence(7)
  await writer.commit([record(7, 'at once')])
  proxy.throttle(100_000, 'throttle')
  const startMs = performance.now()
  await writer.commit([{ ...record(7, 'large'), value: Buffer.alloc(100_000) }])
  const tookMs = performance.now() - startMs
  proxy.heal('throttle')
  assert.ok(tookMs >= 1_000, `100 kB took ${tookMs} ms`)
  await writer.close()
  await log.close()
})

test('a response that is lost in silence runs into the time-out of its request', async () => {
  const log = await world.open('silent')
  const { writer } = await claim(log, 7, 'silent')
  const lost = proxy.lose({
    api: 'EndTxn',
    lost: 'response',
    connection: 'silent',
    client: 'silent',
  })
  await assert.rejects(
    writer.commit([record(7, 'silent')]),
    (error) => isLogError('unknown')(error) && /timed out/.test(String(error)),
  )
  await lost.happened
  await writer.close()
  const again = await claim(log, 7, 'silent')
  assert.equal(again.had, 1)
  await again.writer.close()
  await log.close()
})

function passes(ms: number): Promise<'time'> {
  return new Promise((resolve) => setTimeout(() => resolve('time'), ms))
}
