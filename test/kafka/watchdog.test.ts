// K15: a consumer that has died without a word ends its process; a broker that is away does not.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { Consumer, ConsumerConfig, Kafka } from 'kafkajs'
import { createKafka } from '@wellspring/kafka/connection.ts'
import { openReader } from '@wellspring/kafka/fetch.ts'
import { Group } from '../../coordinator/log/group.ts'
import type { Log } from '../../coordinator/log/port.ts'
import { startWatchdog } from '@wellspring/kafka/watchdog.ts'
import { proxiedBroker, type ProxiedBroker } from '../faults/proxied.ts'
import { createMember } from '../log/port.suite.ts'
import { kafkaWorld, type KafkaWorld } from '../log/world.ts'

const start = { 'images.v1': 0, 'commands.v1': 0 }

let broker: ProxiedBroker
const closing: (() => Promise<unknown>)[] = []
before(async () => {
  broker = await proxiedBroker()
})
after(async () => {
  for (const close of closing.reverse()) await close()
  await broker.close()
})

type Joined = {
  readonly world: KafkaWorld
  readonly member: ReturnType<typeof createMember>
  readonly consumer: Consumer
  readonly config: ConsumerConfig
  readonly group: Group
  readonly said: string[]
  /** Resolves when this was said. */
  readonly says: (text: string) => Promise<void>
}

/** A member of a group that notices silence quickly; it comes through the proxy, its probe too. */
async function join(name: string, silentMs: number): Promise<Joined> {
  const world = await kafkaWorld(1, broker.direct)
  const kafka = createKafka({ brokers: broker.brokers, clientId: name })
  const reader = openReader(
    createKafka({ brokers: broker.brokers, clientId: `probe-${name}` }),
    world.options.topicPrefix,
  )
  const made: { consumer: Consumer; config: ConsumerConfig }[] = []
  const said: string[] = []
  const heard = new EventTarget()
  const spied = {
    consumer(config: ConsumerConfig) {
      const consumer = kafka.consumer(config)
      made.push({ consumer, config })
      return consumer
    },
  } as unknown as Kafka
  const groups: Group[] = []
  const through = { resume: (task: number, next: typeof start) => groups[0]?.resume(task, next) }
  const member = createMember(through as unknown as Log, new Map([[0, start]]))
  const group = new Group(
    spied,
    {
      groupId: world.options.application,
      topicPrefix: world.options.topicPrefix,
      tasks: 1,
      controlAddress: name,
      sessionTimeoutMs: 6_000,
      silentMs,
      probe: () => within(500, reader.offsets('images.v1', [0])),
      logger: (_, text) => {
        said.push(text)
        heard.dispatchEvent(new Event('line'))
      },
    },
    member.listener,
  )
  groups.push(group)
  closing.push(
    () => reader.close(),
    () => group.close(),
  )
  await group.join()
  await member.until(() => member.owned.length === 1)
  const [one] = made
  assert.ok(one !== undefined)
  return {
    world,
    member,
    ...one,
    group,
    said,
    async says(text) {
      while (!said.includes(text))
        await new Promise((resolve) => heard.addEventListener('line', resolve, { once: true }))
    },
  }
}

async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  const late = Promise.withResolvers<never>()
  const timer = setTimeout(() => late.reject(new Error('late')), ms)
  return Promise.race([work, late.promise]).finally(() => clearTimeout(timer))
}

const passes = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

test('a consumer that has stopped by itself ends the process with one message', async () => {
  const { member, consumer, world } = await join('stopped', 900)
  await world.produce('images.v1', 0, 'k', 'before')
  await member.until(() => member.delivered.length === 1)
  await passes(2_700)
  assert.equal(member.crash, undefined, 'one that is well and has nothing to do lives on')
  await consumer.stop()
  await assert.rejects(
    member.until(() => false),
    /The consumer has heard nothing for 1.8 s, although Kafka answers: it must be started again/,
  )
})

test('a consumer whose connections are dead, when others get through, ends the process', async () => {
  const { member } = await join('dead', 900)
  broker.proxy.stall('dead')
  await assert.rejects(
    member.until(() => false),
    /has heard nothing .* although Kafka answers/,
  )
  broker.proxy.heal('dead')
})

test(
  'a broker that is away is waited for, said once, and everything goes on',
  { timeout: 60_000 },
  async () => {
    const { member, world, said, says } = await join('waits', 4_000)
    broker.proxy.cut()
    await says('Kafka cannot be reached: waiting for it')
    await passes(5_000)
    assert.equal(member.crash, undefined)
    broker.proxy.heal()
    await world.produce('images.v1', 0, 'k', 'after')
    await member.until(() => member.delivered.length === 1)
    await says('Kafka answers again')
    assert.equal(said.filter((one) => one.startsWith('Kafka cannot')).length, 1)
    assert.equal(member.crash, undefined)
  },
)

test('a consumer that fails again and again is started with growing pauses, and not once it is closed', async () => {
  const { config, group } = await join('again', 4_000)
  const mayRestart = async (): Promise<{ may: boolean | undefined; tookMs: number }> => {
    const startMs = performance.now()
    const may = await config.retry?.restartOnFailure?.(new Error('the broker is away'))
    return { may, tookMs: performance.now() - startMs }
  }
  const first = await mayRestart()
  for (let more = 0; more < 4; more += 1) await mayRestart()
  const sixth = await mayRestart()
  assert.ok(first.may === true && sixth.may === true)
  assert.ok(sixth.tookMs >= 900, `after ${sixth.tookMs} ms`)
  await group.close()
  assert.equal((await mayRestart()).may, false)
})

test('an hour without a broker ends nothing; back again, the consumer gets its time to find it', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const ended: string[] = []
  let isUp = false
  const watchdog = startWatchdog({
    silentMs: 45_000,
    probe: () => (isUp ? Promise.resolve() : Promise.reject(new Error('away'))),
    logger: () => {},
    silent: (error) => ended.push(error.message),
  })
  const pass = async (ms: number): Promise<void> => {
    for (let passed = 0; passed < ms; passed += 5_000) {
      t.mock.timers.tick(5_000)
      for (let turn = 0; turn < 5; turn += 1) await Promise.resolve()
    }
  }
  await pass(3_600_000)
  isUp = true
  await pass(45_000)
  assert.deepEqual(ended, [])
  watchdog.alive()
  await pass(85_000)
  assert.deepEqual(ended, [])
  await pass(10_000)
  assert.equal(ended.length, 1)
  watchdog.close()
})
