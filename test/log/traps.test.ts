// What kafkajs does on a real broker that nobody expects, and that the log answers it. Where each is shown:
// 1  a rebalance forgets positions         port.suite: members share the tasks
// 2  restore by position, by own fetches   port.suite: everything before a barrier; faults.test: a compacted log
// 3  parallel first fetches leak sockets   here
// 4  an offset out of range: a silent jump patches.test, kafka.test: outside the log
// 5  a join does not tell its generation   patches.test: a member knows; faults.test: comes back and keeps nothing
// 6  a rejoin without REBALANCING          here: a session that ran out
// 7  an error in a listener is the end     here: errors end the process
// 8  connect() does not fence              port.suite: a claim alone fences
// 9  disconnecting during a flush          here: a task that leaves; a close during a commit
// 10 stop() may take long, or not stop     here: close is bounded; kafka.test: close is quick
// 11 positions never reach the end         here: nothing but aborted; kafka.test: positions pass markers
// 12 a time-out has no code                faults/proxy.test: lost in silence
// 13 while the broker is away              here: pause and resume; faults.test: the broker goes and comes back
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { openMemoryCaller } from '../../coordinator/calls/memory.ts'
import { loadPipeline } from '../../coordinator/core/pipeline/check.ts'
import { host } from '../../coordinator/task/host.ts'
import { systemClock } from '../../coordinator/clock.ts'
import { createKafka } from '@wellspring/kafka/connection.ts'
import { openKafkaLog } from '../../coordinator/log/kafka.ts'
import { limits } from '../../coordinator/task/limits.ts'
import { kafkajs } from '@wellspring/kafka/patches.ts'
import type { Log } from '../../coordinator/log/port.ts'
import { proxiedBroker, type ProxiedBroker } from '../faults/proxied.ts'
import { pipeline as levels } from '../pipelines/echo-levels.ts'
import { createMember, keyOf, record } from './port.suite.ts'
import { kafkaWorld } from './world.ts'

const start = { 'images.v1': 0, 'commands.v1': 0 }

let broker: ProxiedBroker
before(async () => {
  broker = await proxiedBroker()
})
const closing: (() => Promise<unknown>)[] = []
after(async () => {
  for (const close of closing.reverse()) await close()
  await broker.close()
})

test('trap 3: eight tasks that restore at once open no more sockets than one', async () => {
  const world = await kafkaWorld(8, broker.brokers)
  const tasks = Array.from({ length: 8 }, (_, task) => task)
  const filler = await world.open('filler')
  for (const task of tasks) {
    const writer = await filler.fence(task)
    await writer.commit([record(task, `of ${task}`)])
    await writer.close()
  }
  await filler.close()
  await until(() => broker.proxy.connections('filler') === 0)
  const read = async (log: Log, task: number): Promise<string[]> => {
    const keys: string[] = []
    await log.readState(task, 0, (one) => keys.push(keyOf(one)) < 0)
    return keys
  }
  const [one, eight] = [await world.open('one'), await world.open('eight')]
  // All of them: one that was leaked has never sent its client id.
  const opened = async (work: () => Promise<unknown>): Promise<number> => {
    const before = broker.proxy.connections()
    await work()
    return broker.proxy.connections() - before
  }
  const few = await opened(() => read(one, 0))
  broker.proxy.delay(50, 'eight') // so that all wait for their offsets, and then fetch at once
  const restored = async (): Promise<void> => {
    const all = await Promise.all(tasks.map((task) => read(eight, task)))
    assert.deepEqual(
      all,
      tasks.map((task) => [`of ${task}`]),
    )
  }
  assert.equal(await opened(restored), few)
})

test('trap 6: a session that ran out: the member comes back by itself, and keeps nothing', async () => {
  const world = await kafkaWorld(2, broker.direct)
  const log = await openKafkaLog({
    ...world.options,
    brokers: broker.brokers,
    instance: 'away',
  })
  closing.push(() => log.close())
  const member = createMember(log, new Map([0, 1].map((task) => [task, start])))
  await log.join(member.listener)
  await world.produce('images.v1', 0, 'k', 'before')
  await member.until(() => member.delivered.length === 1)
  const { listener } = member
  const joins: number[] = []
  const assigned = listener.assigned.bind(listener)
  listener.assigned = (tasks, kept) => {
    joins.push(kept.size)
    return assigned(tasks, kept)
  }
  broker.proxy.stall('away')
  const other = await world.open('other')
  const rival = createMember(other)
  await other.join(rival.listener)
  await rival.until(() => rival.owned.length === 2) // the session ran out
  await other.close()
  await world.produce('images.v1', 1, 'k', 'meanwhile')
  broker.proxy.heal('away')
  await member.until(() => joins.length > 0 && member.delivered.length === 2)
  assert.equal(joins[0], 0, 'others had the tasks meanwhile')
  assert.deepEqual(member.delivered, ['before', 'meanwhile'])
})

test('trap 7: an error in a listener ends the process with its own message', async () => {
  const world = await kafkaWorld(1, broker.direct)
  const log = await world.open('throws')
  const member = createMember(log)
  member.listener.assigned = () => {
    throw new Error('no room for a task')
  }
  await log.join(member.listener)
  await assert.rejects(
    member.until(() => false),
    /^Error: no room for a task$/,
  )
})

test('trap 7: a consumer that ends for good ends the process', async () => {
  const world = await kafkaWorld(1, broker.direct)
  const stranger = createKafka(world.options).consumer({
    groupId: `${world.options.application}-plate`,
  })
  closing.push(() => stranger.disconnect())
  await stranger.connect()
  await stranger.subscribe({ topic: `${world.options.topicPrefix}images.v1` })
  await stranger.run({ autoCommit: false, eachMessage: async () => {} })
  const joined = stranger.describeGroup()
  assert.equal((await joined).members.length, 1)
  const log = await world.open('inconsistent')
  const member = createMember(log)
  await log.join(member.listener)
  await assert.rejects(
    member.until(() => false),
    /supported protocols are incompatible/,
  )
})

test('trap 9: a writer that is closed during its commit is gone, and leaves no connection', async () => {
  const world = await kafkaWorld(1, broker.brokers)
  const log = await world.open('closes')
  // A fence looks at its partitions as well, over a connection that the log keeps.
  const first = await log.fence(0)
  await first.commit([record(0, 'a')])
  await first.close()
  const before = broker.proxy.connections('closes')
  const writer = await log.fence(0)
  broker.proxy.delay(100, 'closes')
  const committing = writer.commit([record(0, 'b')]).catch(() => {})
  await writer.close()
  await committing
  await writer.close()
  broker.proxy.heal('closes')
  await until(() => broker.proxy.connections('closes') <= before)
  const next = await log.fence(0)
  await next.commit([record(0, 'c')])
  const keys = (await world.committed('state.v1')).map(keyOf)
  assert.deepEqual(
    keys.filter((key) => key !== 'b'),
    ['a', 'c'],
  )
  await next.close()
})

test('trap 9: a task that leaves lets its flush end before it disconnects the writer', async () => {
  const world = await kafkaWorld(1, broker.direct)
  const log = await openKafkaLog({ ...world.options, brokers: broker.brokers, instance: 'leaves' })
  closing.push(() => log.close())
  const steps: string[] = []
  const seen = new EventTarget()
  const step = (name: string): void => {
    steps.push(name)
    seen.dispatchEvent(new Event(name))
  }
  const watched: Log = {
    ...log,
    async fence(task) {
      const writer = await log.fence(task)
      return {
        id: writer.id,
        async commit(records) {
          const isFlush = records.some(({ topic }) => topic === 'dead-letters.v1')
          if (isFlush) step('flush')
          await writer.commit(records)
          if (isFlush) step('committed')
        },
        close() {
          step('close')
          return writer.close()
        },
      }
    },
  }
  const tasks = host({
    log: watched,
    caller: openMemoryCaller({
      schedule: (ms, run) => void setTimeout(run, ms),
      dice: Math.random,
      script: () => undefined,
    }),
    pipeline: loadPipeline(levels),
    owner: { application: world.options.application, instance: 'leaves', controlAddress: '' },
    clock: systemClock(),
    random: Math.random,
    limits,
    logger: () => {},
    fatal: (error) => step(error.message),
  })
  await log.join(tasks)
  const flushing = new Promise((resolve) => seen.addEventListener('flush', resolve))
  broker.proxy.delay(50, 'leaves')
  await world.produce('images.v1', 0, 'k', 'no image at all')
  await flushing
  await tasks.close()
  broker.proxy.heal('leaves')
  assert.deepEqual(steps, ['flush', 'committed', 'close'])
})

test('trap 10: close is bounded while the broker says nothing, and delivers nothing afterwards', async () => {
  const world = await kafkaWorld(1, broker.direct)
  const log = await openKafkaLog({ ...world.options, brokers: broker.brokers, instance: 'closing' })
  const member = createMember(log, new Map([[0, start]]))
  await log.join(member.listener)
  await world.produce('images.v1', 0, 'k', 'one')
  await member.until(() => member.delivered.length === 1)
  broker.proxy.stall('closing')
  const startMs = performance.now()
  await log.close()
  assert.ok(performance.now() - startMs < 8_000, 'the process must end within its grace')
  await world.produce('images.v1', 0, 'k', 'two')
  broker.proxy.heal('closing')
  await until(() => broker.proxy.connections('closing') === 0)
  assert.deepEqual(member.delivered, ['one'])
})

test('trap 11: a position passes a fetch that holds nothing but an aborted transaction', async () => {
  const world = await kafkaWorld(1, broker.direct)
  const log = await world.open('passes')
  const member = createMember(log, new Map([[0, start]]))
  await log.join(member.listener)
  await world.produce('images.v1', 0, 'k', 'one')
  await member.until(() => member.delivered.length === 1)
  const producer = createKafka(world.options).producer({
    transactionalId: world.options.application,
    createPartitioner: kafkajs.Partitioners.DefaultPartitioner,
    retry: { retries: 0 },
  })
  closing.push(() => producer.disconnect())
  await producer.connect()
  const transaction = await producer.transaction()
  const topic = `${world.options.topicPrefix}images.v1`
  await transaction.send({ topic, messages: [{ key: 'k', value: 'aborted', partition: 0 }] })
  await transaction.abort()
  await member.until(() => member.passed.get('images.v1/0') === 3)
  assert.deepEqual(member.delivered, ['one'])
})

test('trap 13: while the broker is away tasks may pause and resume, and all goes on where it was', async () => {
  const world = await kafkaWorld(1, broker.direct)
  const crashed = Promise.withResolvers<void>()
  let isCut = false // a new broker's first group may crash the consumer too: it is still being loaded
  const log = await openKafkaLog({
    ...world.options,
    brokers: broker.brokers,
    instance: 'offline',
    logger: (_, message) => {
      if (isCut && /Restarting the consumer/.test(message)) crashed.resolve()
    },
  })
  closing.push(() => log.close())
  const member = createMember(log, new Map([[0, start]]))
  await log.join(member.listener)
  await world.produce('images.v1', 0, 'k', 'before')
  await member.until(() => member.delivered.length === 1)
  isCut = true
  broker.proxy.cut()
  await crashed.promise
  log.pause(0)
  log.resume(0, { ...start, 'images.v1': 1 })
  await world.produce('images.v1', 0, 'k', 'after')
  broker.proxy.heal()
  await member.until(() => member.delivered.length === 2)
  assert.deepEqual(member.delivered, ['before', 'after'])
})

async function until(condition: () => boolean): Promise<void> {
  const endMs = performance.now() + 20_000
  while (!condition()) {
    assert.ok(performance.now() < endMs, `never held: ${condition.toString()}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
