import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { test } from 'node:test'
import { javaConsume } from '../../dev/broker.ts'
import { fetchJars, findJava } from '../../dev/broker/java.ts'
import type { OutgoingRecord } from '@wellspring/kafka/client.ts'
import { isLogError, keyOf } from '../log/port.suite.ts'
import { kafkaWorld } from '../log/world.ts'

function image(key: string, value = 'v'): OutgoingRecord {
  return { topic: 'images.v1', key, value: Buffer.from(value), headers: {} }
}

test('a key goes where the Java client sends it', async () => {
  const world = await kafkaWorld(8)
  const { brokers, topicPrefix } = world.options
  const keys = Array.from({ length: 60 }, (_, index) => `BBBC0${index}/plate-${index * 7}`)
  await world.client.produce(keys.map((key) => image(key, 'ours')))
  const main = 'org.apache.kafka.tools.ConsoleProducer'
  const server = ['--bootstrap-server', brokers.join(','), '--topic', `${topicPrefix}images.v1`]
  const keyed = ['--reader-property', 'parse.key=true', '--reader-property', 'key.separator=|']
  const args = ['-cp', await fetchJars('judge-libs'), main, ...server, ...keyed]
  const child = spawn(await findJava(), args, { stdio: ['pipe', 'ignore', 'inherit'] })
  child.stdin.end(keys.map((key) => `${key}|theirs\n`).join(''))
  assert.deepEqual((await once(child, 'exit'))[0], 0)
  const places = { ours: new Map<string, number>(), theirs: new Map<string, number>() }
  for (const { key, value, partition } of await javaConsume({
    brokers,
    topic: `${topicPrefix}images.v1`,
  })) {
    places[String(value) as 'ours' | 'theirs'].set(String(key), partition)
  }
  assert.equal(places.ours.size, 60)
  assert.deepEqual(places.ours, places.theirs)
  assert.ok(new Set(places.ours.values()).size > 4)
  await world.close()
})

test('concurrent calls keep their order, and nothing is lost', async () => {
  const world = await kafkaWorld(1)
  const keys = Array.from({ length: 500 }, (_, index) => `k${index}`)
  await Promise.all(keys.map((key) => world.client.produce([image(key)])))
  const read: string[] = []
  for await (const one of world.client.readAll('images.v1')) read.push(keyOf(one))
  assert.deepEqual(read, keys)
  await world.close()
})

test('follow goes on with what comes later; readAll ends', async () => {
  const world = await kafkaWorld(2)
  await world.client.produce([image('a'), image('b')])
  const stop = new AbortController()
  const seen: string[] = []
  for await (const one of world.client.follow('images.v1', {
    from: 'start',
    signal: stop.signal,
  })) {
    seen.push(keyOf(one))
    if (seen.length === 2) await world.client.produce([image('c')])
    if (seen.length === 3) stop.abort()
  }
  assert.deepEqual(new Set(seen), new Set(['a', 'b', 'c']))
  const late = new AbortController()
  const following = world.client.follow('images.v1', { from: 'end', signal: late.signal })
  const first = following.next()
  const seenFirst = first.then(() => true)
  // Until the follower has looked where the end is.
  while (!(await Promise.race([seenFirst, world.client.produce([image('d')]).then(() => false)])));
  const got = await first
  assert.ok(got.done !== true && keyOf(got.value) === 'd')
  late.abort()
  await following.return(undefined)
  await world.close()
})

test('more than a request holds is split', async () => {
  const world = await kafkaWorld(1)
  await world.client.produce(
    Array.from({ length: 30 }, (_, index) => image(`${index}`, 'x'.repeat(100_000))),
  )
  let count = 0
  for await (const one of world.client.readAll('images.v1')) count += one.value?.length ?? 0
  assert.equal(count, 3_000_000)
  await world.close()
})

test('a missing topic is named', async () => {
  const world = await kafkaWorld(1)
  await assert.rejects(async () => {
    await world.client.readAll('nothing.v1' as 'images.v1').next()
  }, isLogError('fatal'))
  await world.close()
})
