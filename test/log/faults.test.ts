// Real faults: a process killed with a transaction open, a broker that goes away, a log that was compacted.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { javaConsume, startBroker } from '../../dev/broker.ts'
import { createKafka } from '@wellspring/kafka/connection.ts'
import { LogError } from '@wellspring/kafka/errors.ts'
import type { Log, Writer } from '../../coordinator/log/port.ts'
import type { LogRecord } from '@wellspring/kafka/records.ts'
import { createMember, isLogError, keyOf, record } from './port.suite.ts'
import { kafkaWorld } from './world.ts'

test('kill -9 with a transaction open: its records vanish, what was committed stays', async () => {
  const world = await kafkaWorld(1)
  const { brokers, topicPrefix, application } = world.options
  const script = join(import.meta.dirname, '../kafka/open-transaction.ts')
  const child = spawn(
    process.execPath,
    [script, brokers.join(','), topicPrefix, `${application}-plate-0`],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  )
  const exited = once(child, 'exit')
  await Promise.race([
    once(child.stdout, 'data'),
    exited.then(() => assert.fail('it ended before its transaction was open')),
  ])
  child.kill('SIGKILL')
  await exited

  const log = await world.open('successor')
  const startMs = performance.now()
  const writer = await log.fence(0)
  await writer.commit([record(0, '#owner')])
  const seen: string[] = []
  await log.readState(0, 0, (one) => seen.push(keyOf(one)) < 0 || keyOf(one) === '#owner')
  const tookMs = performance.now() - startMs
  assert.deepEqual(seen, ['committed', '#owner'])
  assert.ok(tookMs < 5_000, `took ${tookMs} ms: the open transaction was waited for, not ended`)
  for (const [topic, keys] of [
    ['state.v1', ['committed', '#owner']],
    ['results.v1', ['committed']],
  ] as const) {
    const judged = await javaConsume({ brokers, topic: topicPrefix + topic })
    assert.deepEqual(
      judged.map((one) => one.key),
      keys,
    )
  }
  await writer.close()
  await Promise.all([log.close(), world.close()])
})

test('a process that was stopped while others owned its tasks comes back and keeps nothing', async (t) => {
  const world = await kafkaWorld(4)
  const options = JSON.stringify({
    ...world.options,
    instance: 'stopped',
    controlAddress: 'stopped',
  })
  const script = join(import.meta.dirname, 'member-process.ts')
  const child = spawn(process.execPath, [script, options], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.after(() => child.kill('SIGKILL'))
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const assignment = async (size: number): Promise<{ owned: number[]; kept: number[] }> => {
    for (;;) {
      const line = await lines.next()
      assert.ok(line.done !== true, 'the process ended')
      const said = JSON.parse(line.value) as { owned: number[]; kept: number[] }
      if (said.owned.length === size) return said
    }
  }
  assert.deepEqual((await assignment(4)).kept, [])
  const log = await world.open('other')
  const other = createMember(log)
  await log.join(other.listener)
  const shared = await assignment(2)
  assert.deepEqual(shared.kept, shared.owned)
  await other.until(() => other.owned.length === 2)
  child.kill('SIGSTOP')
  await other.until(() => other.owned.length === 4)
  child.kill('SIGCONT')
  assert.deepEqual((await assignment(2)).kept, [])
  await other.until(() => other.owned.length === 2)
  assert.deepEqual(other.kept, new Set(other.owned))
})

test('the broker goes and comes back: nothing committed is lost, the group and the writer recover', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'wellspring-faults-'))
  let broker = await startBroker({ dir })
  const world = await kafkaWorld(2, broker.brokers)
  try {
    const log = await world.open('a')
    const shared = new Map([0, 1].map((task) => [task, { 'images.v1': 0, 'commands.v1': 0 }]))
    const member = createMember(log, shared)
    await log.join(member.listener)
    const before = await log.fence(0)
    await before.commit([record(0, 'before')])
    await world.produce('images.v1', 0, 'k', 'before')
    await member.until(() => member.delivered.length === 1)

    await broker.kill()
    await assert.rejects(before.commit([record(0, 'during')]), isLogError('unknown'))
    await before.close()
    broker = await startBroker({ dir, port: broker.port })

    const writer = await fenceUntil(log, 0)
    await writer.commit([record(0, '#owner')])
    const seen: string[] = []
    await log.readState(0, 0, (one) => seen.push(keyOf(one)) < 0)
    assert.deepEqual(seen, ['before', '#owner'])
    await world.produce('images.v1', 0, 'k', 'after')
    await member.until(() => member.delivered.length === 2)
    assert.deepEqual(member.delivered, ['before', 'after'])
    await writer.close()
    await log.close()
  } finally {
    await world.close()
    await broker.kill()
    rmSync(dir, { recursive: true, force: true })
  }
})

test('a compacted log is read to its end from any offset', async () => {
  const world = await kafkaWorld(1)
  const log = await world.open('a')
  const admin = createKafka(world.options).admin()
  await admin.connect()
  const entries = {
    'segment.ms': '100',
    'min.cleanable.dirty.ratio': '0.001',
    'max.compaction.lag.ms': '100',
  }
  await admin.alterConfigs({
    validateOnly: false,
    resources: [
      {
        type: 2,
        name: `${world.options.topicPrefix}state.v1`,
        configEntries: Object.entries({ 'cleanup.policy': 'compact', ...entries }).map(
          ([name, value]) => ({ name, value }),
        ),
      },
    ],
  })
  await admin.disconnect()
  const first = await log.fence(0)
  for (let index = 0; index < 30; index++) await first.commit([record(0, `k${index % 3}`)])
  await first.close()
  const kept = (records: readonly LogRecord[]): number =>
    records.filter((one) => keyOf(one).startsWith('k')).length
  let left = await world.committed('state.v1')
  const endMs = performance.now() + 60_000
  for (let turn = 0; kept(left) > 3 && performance.now() < endMs; turn++) {
    await sleep(500) // the cleaner tells nobody when it has run
    const writer = await log.fence(0)
    await writer.commit([record(0, `tick${turn}`)]) // rolls the segment
    await writer.close()
    left = await world.committed('state.v1')
  }
  assert.equal(kept(left), 3, 'the cleaner has not run: the test shows nothing')
  const end = left.at(-1)?.offset ?? 0
  for (let from = 0; from <= end; from += 1) {
    const seen: number[] = []
    const next = await log.readState(0, from, (one) => seen.push(one.offset) < 0)
    assert.ok(next > end)
    assert.deepEqual(
      seen,
      left.map((one) => one.offset).filter((offset) => offset >= from),
    )
  }
  await Promise.all([log.close(), world.close()])
})

async function fenceUntil(log: Log, task: number): Promise<Writer> {
  for (let tries = 0; ; tries++) {
    try {
      return await log.fence(task)
    } catch (error) {
      if (!(error instanceof LogError) || tries > 100) throw error
      await sleep(100)
    }
  }
}
