// What every twin of the log must do, as a take-over relies on it (docs/decisions/log.md). Run on Kafka and on the memory twin.
import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import { openBatch } from '@wellspring/kafka/codecs.ts'
import type { GroupListener, Log, Writer } from '../../coordinator/log/port.ts'
import type { Input, LogRecord, NewRecord } from '@wellspring/kafka/records.ts'
import type { InputTopic, OutputTopic } from '@wellspring/kafka/topic-names.ts'
import { LogError } from '@wellspring/kafka/errors.ts'

/** One application on its own topics, seen from outside. */
export interface LogWorld {
  /** A process of the application; `instance` is its control address too. */
  open(instance: string): Promise<Log>
  /** Appends an input record, as an instrument does. */
  produce(topic: InputTopic, partition: number, key: string, value: string): Promise<void>
  /** Input below this offset is gone, as after its retention. */
  deleteBelow(topic: InputTopic, partition: number, offset: number): Promise<void>
  /** What a reader of committed records sees, in order within a partition. */
  committed(topic: OutputTopic): Promise<LogRecord[]>
  close(): Promise<void>
}

const tasks = 4

export function logSuite(name: string, openWorld: (tasks: number) => Promise<LogWorld>): void {
  suite(`log: ${name}`, () => {
    let world: LogWorld
    const logs: Log[] = []
    const writers: Writer[] = []
    before(async () => {
      world = await openWorld(tasks)
    })
    after(async () => {
      for (const one of [...writers, ...logs]) await one.close()
      await world.close()
    })
    const fence = async (log: Log, task: number): Promise<Writer> => {
      const writer = await log.fence(task)
      writers.push(writer)
      return writer
    }
    const open = async (instance: string): Promise<Log> => {
      const log = await world.open(instance)
      logs.push(log)
      return log
    }
    const stateOf = async (task: number): Promise<string[]> =>
      (await world.committed('state.v1')).filter((one) => one.partition === task).map(keyOf)

    test('a newer writer fences the older one, whose commit leaves nothing', async () => {
      const [one, two] = [await open('f1'), await open('f2')]
      const older = await fence(one, 0)
      await older.commit([record(0, 'a')])
      const newer = await fence(two, 0)
      await newer.commit([record(0, 'b')])
      await assert.rejects(older.commit([record(0, 'lost')]), isLogError('fenced'))
      await newer.commit([record(0, 'c')])
      assert.deepEqual(await stateOf(0), ['a', 'b', 'c'])
      assert.equal(newer.id.producerId, older.id.producerId)
      assert.ok(newer.id.epoch > older.id.epoch)
      await assert.rejects(older.commit([record(0, 'again')]), LogError)
    })

    test('a claim alone fences, before it has written anything', async () => {
      const log = await open('claim')
      const older = await fence(log, 1)
      await older.commit([record(1, 'a')])
      await fence(log, 1)
      await assert.rejects(older.commit([record(1, 'lost')]), isLogError('fenced'))
      assert.deepEqual(await stateOf(1), ['a'])
    })

    test('a writer of another task is not disturbed', async () => {
      const log = await open('other')
      const [two, three] = [await fence(log, 2), await fence(log, 3)]
      await Promise.all([two.commit([record(2, 'x')]), three.commit([record(3, 'y')])])
      await Promise.all([two.commit([record(2, 'z')]), three.commit([record(3, 'w')])])
      assert.deepEqual(
        [await stateOf(2), await stateOf(3)],
        [
          ['x', 'z'],
          ['y', 'w'],
        ],
      )
    })

    test('a commit keeps order, keys, values, tombstones and headers over all topics', async () => {
      const log = await open('commit')
      const writer = await fence(log, 2)
      const headers = { 'wellspring-type': 'a.b.C', traceparent: '00-1-2-01' }
      await writer.commit([
        { topic: 'results.v1', partition: 2, key: 'r1', value: Buffer.from([0, 255, 10]), headers },
        { topic: 'quality.v1', partition: 2, key: 'q1', value: new Uint8Array([7]), headers: {} },
        { topic: 'results.v1', partition: 2, key: 'r2', value: null, headers: {} },
      ])
      const results = (await world.committed('results.v1')).filter((one) => one.partition === 2)
      assert.deepEqual(results.map(keyOf), ['r1', 'r2'])
      assert.deepEqual(results[0]?.value, Buffer.from([0, 255, 10]))
      assert.deepEqual({ ...results[0]?.headers }, headers)
      assert.equal(results[1]?.value, null)
      assert.deepEqual((await world.committed('quality.v1')).map(keyOf), ['q1'])
    })

    test('a record that is too large is named before anything is sent', async () => {
      const log = await open('large')
      const writer = await fence(log, 0)
      const had = await stateOf(0)
      const large = { ...record(0, 'large'), value: Buffer.alloc(300_000), entity: 'E/P/a1' }
      await assert.rejects(writer.commit([record(0, 'small'), large]), (error) => {
        assert.ok(error instanceof LogError)
        assert.deepEqual([error.kind, error.record], ['unwritable', large])
        return /"large" of state\.v1 has 300\d{3} bytes; at most 262144/.test(error.message)
      })
      const next = await fence(log, 0)
      await next.commit([record(0, 'fits')])
      assert.deepEqual(await stateOf(0), [...had, 'fits'])
    })

    test('a commit of many large records is one, in order, over all topics', async () => {
      const log = await open('many')
      const writer = await fence(log, 1)
      const had = await stateOf(1)
      const many = Array.from({ length: 30 }, (_, at) => ({
        ...record(1, `m${at}`),
        topic: at % 3 === 0 ? ('results.v1' as const) : ('state.v1' as const),
        value: Buffer.alloc(240_000, at),
      }))
      await writer.commit(many)
      await writer.commit([record(1, 'behind')])
      const keysOf = (topic: OutputTopic): string[] =>
        many.filter((one) => one.topic === topic).map(({ key }) => key)
      assert.deepEqual(await stateOf(1), [...had, ...keysOf('state.v1'), 'behind'])
      const results = (await world.committed('results.v1')).filter((one) => one.partition === 1)
      assert.deepEqual(results.map(keyOf), keysOf('results.v1'))
      const lost = Array.from({ length: 3_000 }, (_, at) => record(1, `n${at}`))
      const newer = await fence(log, 1)
      await assert.rejects(writer.commit(lost), isLogError('fenced'))
      await newer.commit(lost)
      assert.equal((await stateOf(1)).filter((key) => key.startsWith('n')).length, 3_000)
    })

    test('everything before a barrier is read, in order, and the read stops there', async () => {
      const log = await open('restore')
      const older = await fence(log, 3)
      const had = await stateOf(3)
      const written: string[] = []
      for (let flush = 0; flush < 10; flush++) {
        const keys = Array.from({ length: 30 }, (_, index) => `${flush}-${index}`)
        await older.commit(keys.map((key) => record(3, key)))
        written.push(...keys)
      }
      const newer = await fence(log, 3)
      await newer.commit([record(3, '#owner')])
      await newer.commit([record(3, 'after')])
      const seen: LogRecord[] = []
      const next = await log.readState(3, 0, (one) => {
        seen.push({ ...one, key: one.key && Buffer.from(one.key) })
        return keyOf(one) === '#owner'
      })
      assert.deepEqual(seen.map(keyOf), [...had, ...written, '#owner'])
      assert.ok(seen.every((one) => one.topic === 'state.v1' && one.partition === 3))
      assert.deepEqual(
        seen.map((one) => one.offset),
        seen.map((one) => one.offset).toSorted((a, b) => a - b),
      )
      assert.equal(next, (seen.at(-1)?.offset ?? 0) + 1)
      const rest: string[] = []
      const end = await log.readState(3, next, (one) => rest.push(keyOf(one)) < 0)
      assert.deepEqual(rest, ['after'])
      assert.ok(end > next)
    })

    test('inputs: from the position on, in order, not while paused, and again after resume', async () => {
      const log = await open('inputs')
      await world.produce('images.v1', 0, 'k', 'i0')
      await world.produce('images.v1', 0, 'k', 'i1')
      await world.produce('commands.v1', 0, 'k', 'c0')
      const member = createMember(log)
      await log.join(member.listener)
      await member.until(() => member.owned.length === tasks)
      assert.equal(member.delivered.length, 0, 'inputs are paused until resume()')
      const offsets = await log.inputOffsets(0)
      assert.equal(offsets['images.v1'].high - offsets['images.v1'].low, 2)
      const images = offsets['images.v1'].low
      log.resume(0, { 'images.v1': images + 1, 'commands.v1': offsets['commands.v1'].low })
      await member.until(() => member.delivered.length === 2)
      assert.deepEqual(new Set(member.delivered), new Set(['c0', 'i1']))
      log.pause(0)
      await world.produce('images.v1', 0, 'k', 'i2')
      await world.produce('images.v1', 1, 'k', 'other')
      log.resume(1, { 'images.v1': 0, 'commands.v1': 0 })
      await member.until(() => member.delivered.includes('other'))
      assert.ok(!member.delivered.includes('i2'), 'nothing of a paused task')
      member.delivered.length = 0
      log.resume(0, { 'images.v1': images, 'commands.v1': offsets['commands.v1'].high })
      await member.until(() => member.delivered.length === 3)
      assert.deepEqual(member.delivered, ['i0', 'i1', 'i2'])
      await log.close()
    })

    test('members share the tasks; every record is delivered once while tasks move', async () => {
      const shared = new Map<number, Record<InputTopic, number>>()
      const [first, second] = [await open('first'), await open('second')]
      for (let task = 0; task < tasks; task++) {
        const offsets = await first.inputOffsets(task)
        shared.set(task, {
          'images.v1': offsets['images.v1'].high,
          'commands.v1': offsets['commands.v1'].high,
        })
      }
      const expected: string[] = []
      const produce = async (round: string): Promise<void> => {
        for (let task = 0; task < tasks; task++) {
          await world.produce('images.v1', task, 'k', `${round}-${task}`)
          expected.push(`${round}-${task}`)
        }
      }
      const a = createMember(first, shared)
      const b = createMember(second, shared)
      const all = (): string[] => [...a.delivered, ...b.delivered].toSorted()
      await first.join(a.listener)
      await a.until(() => a.owned.length === tasks)
      assert.deepEqual([...a.kept], [], 'nothing is kept at the first join')
      await produce('one')
      await a.until(() => a.delivered.length === tasks)

      await second.join(b.listener)
      await a.until(() => a.owned.length === tasks / 2)
      await b.until(() => b.owned.length === tasks / 2)
      assert.deepEqual(a.kept, new Set(a.owned), 'what stays with the same member is kept')
      assert.deepEqual(b.kept, new Set())
      assert.deepEqual(new Set([...a.owned, ...b.owned]), new Set([0, 1, 2, 3]))
      await produce('two')
      await a.until(() => all().length === expected.length, b)

      const stayed = new Set(a.owned)
      await second.close()
      await a.until(() => a.owned.length === tasks)
      assert.deepEqual(a.kept, stayed, 'what others owned meanwhile is not kept')
      await produce('three')
      await a.until(() => all().length >= expected.length)
      assert.deepEqual(all(), expected.toSorted())
      await first.close()
    })

    test('a heartbeat sent after a moment confirms the assignment', async () => {
      const log = await open('heartbeat')
      const member = createMember(log)
      await log.join(member.listener)
      await member.until(() => member.owned.length === tasks)
      const sinceMs = performance.now()
      await member.until(() => member.confirmedMs > sinceMs)
      await log.close()
    })
  })
}

/** A listener that remembers, and hands positions on as state in the log would. */
export function createMember(log: Log, shared?: Map<number, Record<InputTopic, number>>) {
  const changes = new EventTarget()
  const member = {
    owned: [] as readonly number[],
    kept: new Set<number>() as ReadonlySet<number>,
    delivered: [] as string[],
    passed: new Map<string, number>(),
    confirmedMs: -Infinity,
    outOfRange: [] as number[],
    crash: undefined as Error | undefined,
    changes,
    listener: {} as GroupListener,
    /** Resolves when the condition holds after an event of this member (or of another). */
    until(condition: () => boolean, ...others: { readonly changes: EventTarget }[]): Promise<void> {
      const { promise, resolve, reject } = Promise.withResolvers<void>()
      const targets = [changes, ...others.map((one) => one.changes)]
      const late = setTimeout(
        () => finish(new Error(`never held: ${condition.toString()}`)),
        30_000,
      )
      const finish = (error?: Error): void => {
        clearTimeout(late)
        for (const target of targets) target.removeEventListener('change', check)
        if (error === undefined) resolve()
        else reject(error)
      }
      const check = (): void => {
        if (member.crash !== undefined) finish(member.crash)
        else if (condition()) finish()
      }
      for (const target of targets) target.addEventListener('change', check)
      check()
      return promise
    },
  }
  const changed = (): void => void changes.dispatchEvent(new Event('change'))
  member.listener = {
    assigned(owned, kept) {
      member.owned = owned
      member.kept = kept
      if (shared !== undefined) {
        for (const task of owned) {
          const next = shared.get(task)
          if (!kept.has(task) && next !== undefined) setImmediate(() => log.resume(task, next))
        }
      }
      changed()
      return new Map([...(shared ?? [])].filter(([task]) => kept.has(task)))
    },
    confirmed(sentAtMs) {
      member.confirmedMs = sentAtMs
      changed()
    },
    records(task, inputs) {
      for (const one of inputs.flatMap(recordsIn)) {
        assert.equal(one.partition, task)
        const next = shared?.get(task)
        const topic = one.topic as InputTopic
        if (next !== undefined && one.offset < next[topic]) continue
        if (next !== undefined) shared?.set(task, { ...next, [topic]: one.offset + 1 })
        member.delivered.push(String(one.value))
      }
      changed()
    },
    passed(task, topic, nextOffset) {
      member.passed.set(`${topic}/${task}`, nextOffset)
      changed()
    },
    outOfRange(task) {
      member.outOfRange.push(task)
      changed()
    },
    crashed(error) {
      member.crash = error
      changed()
    },
  }
  return member
}

/** Opened, if they came in a batch. */
function recordsIn(input: Input): LogRecord[] {
  assert.ok(!('reason' in input))
  if (!('batch' in input)) return [input]
  const records: LogRecord[] = []
  const opened = openBatch(input)
  assert.ok(!('reason' in opened))
  for (let found = opened.next(); found !== undefined; found = opened.next()) {
    assert.ok(!('reason' in found))
    records.push(found)
  }
  return records
}

export function record(task: number, key: string): NewRecord {
  return {
    topic: 'state.v1',
    partition: task,
    key,
    value: Buffer.from(`value of ${key}`),
    headers: {},
  }
}

export function isLogError(kind: LogError['kind']): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof LogError, String(error))
    assert.equal(error.kind, kind, error.message)
    return true
  }
}

export const keyOf = (one: LogRecord): string => one.key?.toString() ?? ''
