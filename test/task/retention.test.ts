// How long what is not read is kept, by time and by bytes, and the warning long before it is gone.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { InputSettings, Offsets } from '@wellspring/kafka/records.ts'
import type { InputTopic } from '@wellspring/kafka/topic-names.ts'
import {
  limits,
  openInputWatch,
  warnBelowMs,
  type InputWatch,
} from '../../coordinator/task/retention.ts'

const HOUR = 3_600_000
const DAY = 24 * HOUR
const START = Date.UTC(2026, 2, 4)

type Scene = {
  readonly watch: InputWatch
  readonly images: { low: number; high: number; next: number }
  readonly kept: { -readonly [K in keyof InputSettings]: InputSettings[K] }
  /** Time stamp of the oldest unread record. */
  stampMs: number
  readonly said: Record<string, unknown>[]
  /** Moves the clock, a look a minute. */
  pass(ms: number): Promise<void>
  leftMs(): Promise<number | undefined>
}

function scene(kept: Partial<InputSettings>): Scene {
  const images = { low: 0, high: 100, next: 40 }
  const said: Record<string, unknown>[] = []
  const due: { readonly atMs: number; readonly run: () => void }[] = []
  let nowMs = 0
  const settings = { retentionMs: undefined, retentionBytes: undefined, misfits: [], ...kept }
  const commands: Offsets = { low: 0, high: 0 }
  const still = { retentionMs: undefined, retentionBytes: undefined, misfits: [] }
  const next = (): Record<InputTopic, number> => ({ 'images.v1': images.next, 'commands.v1': 0 })
  const made: Scene = {
    images,
    kept: settings,
    said,
    stampMs: START,
    watch: openInputWatch({
      log: {
        inputOffsets: () => Promise.resolve({ 'images.v1': images, 'commands.v1': commands }),
        inputTime: () => Promise.resolve(made.stampMs),
        inputSettings: () => Promise.resolve({ 'images.v1': settings, 'commands.v1': still }),
      },
      clock: {
        nowMs: () => START + nowMs,
        monotonicMs: () => nowMs,
        after(delayMs, run) {
          due.push({ atMs: nowMs + delayMs, run })
          return () => {}
        },
      },
      logger: (level, message, fields) => void said.push({ level, message, ...fields }),
      tasks: () => [{ task: 3, next: next() }],
    }),
    async pass(ms) {
      for (const endMs = nowMs + ms; nowMs < endMs;) {
        nowMs += limits.lookEveryMs
        for (const one of due.splice(0)) one.run()
        for (let turn = 0; turn < 20; turn += 1) await Promise.resolve()
      }
    },
    leftMs: async () => (await made.watch.look(3, next()))[0]?.leftMs,
  }
  return made
}

test('by time: what is left of the retention of the oldest record that is not read', async () => {
  const it = scene({ retentionMs: 30 * DAY })
  assert.equal(await it.leftMs(), 30 * DAY)
  await it.pass(10 * HOUR)
  assert.equal(await it.leftMs(), 30 * DAY - 10 * HOUR)
  assert.deepEqual(it.said, [])
  it.images.next = it.images.high
  assert.equal(await it.leftMs(), undefined, 'all is read')
})

test('a day before it is warned, with the seconds that are left, and not all the time', async () => {
  const it = scene({ retentionMs: 30 * DAY })
  it.stampMs = START - 29 * DAY + 30 * 60_000
  await it.pass(20 * 60_000)
  assert.deepEqual(it.said, [], 'more than a day')
  await it.pass(60 * 60_000)
  const [first] = it.said
  assert.deepEqual(
    [first?.['level'], first?.['task'], first?.['topic'], first?.['unread']],
    ['warn', 3, 'images.v1', 60],
  )
  assert.ok(Math.abs(Number(first?.['secondsLeft']) - 86_400) < 120, String(first?.['secondsLeft']))
  assert.ok(it.said.length >= 2 && it.said.length <= 6, `${it.said.length} times in 50 minutes`)
  it.images.next = it.images.high
  const before = it.said.length
  await it.pass(HOUR)
  assert.equal(it.said.length, before, 'read, it is well')
})

test('by bytes: how soon the beginning of the input reaches it, by how quickly that moves', async () => {
  const it = scene({ retentionBytes: 1_000 })
  assert.equal(await it.leftMs(), undefined, 'nothing was deleted so far: nobody can say')
  for (let minute = 0; minute < 10; minute += 1) {
    await it.pass(60_000)
    it.images.low += 1
    it.images.high += 1
  }
  // A record a minute, and 30 before the first that is not read.
  const leftMs = (await it.leftMs()) ?? 0
  assert.ok(leftMs > 25 * 60_000 && leftMs < 40 * 60_000, `${leftMs}`)
  it.images.next = it.images.low + 3
  await it.pass(120_000)
  assert.equal(it.said.length, 1, 'a fifth of what is kept, and it is said')
  it.images.low = it.images.next + 1
  assert.equal(await it.leftMs(), 0)
})

test('whichever deletes first counts; a short retention is warned of in its last fifth', async () => {
  const it = scene({ retentionMs: 10 * HOUR, retentionBytes: 1_000 })
  assert.equal(await it.leftMs(), 10 * HOUR)
  assert.equal(warnBelowMs(10 * HOUR), 2 * HOUR)
  assert.equal(warnBelowMs(30 * DAY), DAY)
  await it.pass(7.9 * HOUR)
  assert.equal(it.said.length, 0)
  await it.pass(0.3 * HOUR)
  assert.ok(it.said.length > 0)
})
