// Owners that die, one after another, over a log that remembers what they committed.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createCrashGuard } from '../../coordinator/task/crash-guard.ts'
import type { LogRecord } from '@wellspring/kafka/records.ts'

type Said = ReturnType<ReturnType<typeof createCrashGuard>['said']>
type Writer = { producerId: number; epoch: number }
/** What is committed: the checkpoint's part, and how far the inputs were taken in. */
type Committed = { said?: Said & Writer; next: number }

let epoch = 0
const nextWriter = (): Writer => ({ producerId: 7, epoch: (epoch += 1) })

const commands = 5

function recordAt(offset: number): LogRecord {
  return { topic: 'images.v1', partition: 0, offset, key: null, value: null, headers: {} }
}

/**
 * One owner: goes on where the last one stopped and takes records up to `end`, `perFlush` in a flush, and dies at the
 * deadly one, unless that is set aside. Returns how it ended and how many flushes it took.
 */
function live(committed: Committed, deadly: number, end = 20, perFlush = 8) {
  const own = createCrashGuard(3)
  const writer = nextWriter()
  own.begin(committed.said, { 'images.v1': committed.next, 'commands.v1': commands }, writer)
  let { next } = committed
  let flushes = 0
  let unflushed = 0
  const setAside: number[] = []
  const flush = (): void => {
    const said = own.said({ 'images.v1': next, 'commands.v1': commands })
    committed.said = { ...said, ...writer }
    committed.next = next
    own.committed(said)
    flushes += 1
    unflushed = 0
  }
  while (next < end) {
    const record = recordAt(next)
    if (!own.mayTake(record)) {
      assert.ok(own.isWaiting())
      flush()
      assert.ok(own.mayTake(record), 'one flush is enough')
    }
    if (own.guiltOf(record)) setAside.push(next)
    else if (next === deadly) return { died: true, setAside, flushes }
    next += 1
    own.taken(record, next === end)
    unflushed += 1
    if (unflushed === perFlush) flush()
  }
  if (own.leave()) flush()
  return { died: false, setAside, flushes }
}

for (const deadly of [0, 3, 8])
  test(`the record at ${deadly} kills three owners and is set aside, and no other`, () => {
    const committed: Committed = { next: 0 }
    // At 8 the first owner got past where it went on: that is no strike yet, but its death is one for the next.
    for (let deaths = 0; deaths < 3; deaths += 1) assert.ok(live(committed, deadly).died)
    const last = live(committed, deadly)
    assert.deepEqual(last.setAside, [deadly])
    assert.equal(committed.next, 20)
  })

test('after a record was set aside the next deadly one has three owners again', () => {
  const committed: Committed = { next: 0 }
  for (let deaths = 0; deaths < 3; deaths += 1) live(committed, 2)
  assert.ok(!live(committed, 2, 10).died)
  let deaths = 0
  while (live(committed, 12).died) deaths += 1
  assert.equal(deaths, 3)
})

test('owners that hand over in order, or have nothing to take, are no strikes', () => {
  const committed: Committed = { next: 0 }
  live(committed, -1, 8)
  for (let idle = 0; idle < 5; idle += 1) live(committed, -1, 8)
  assert.deepEqual(live(committed, -1, 16), { died: false, setAside: [], flushes: 3 })
})

test('records are taken one by one only while somebody may have died of one', () => {
  const committed: Committed = { next: 0 }
  live(committed, 3)
  live(committed, 3)
  // A flush in front of each record, and the last; later one in front of all.
  assert.deepEqual(live(committed, -1, 6), { died: false, setAside: [], flushes: 7 })
  assert.deepEqual(live(committed, -1, 13), { died: false, setAside: [], flushes: 2 })
})

test('an owner that lost flush after flush, and lives, finds no record guilty', () => {
  const own = createCrashGuard(3)
  const next = { 'images.v1': 3, 'commands.v1': commands }
  let said: (Said & Writer) | undefined
  for (let lost = 0; lost < 5; lost += 1) {
    const writer = nextWriter()
    own.begin(said, next, writer)
    // What names the record is committed; the flush that carries it is lost, and the task is taken over again.
    assert.ok(!own.mayTake(recordAt(3)))
    said = { ...own.said(next), ...writer }
    own.committed(said)
    assert.ok(own.mayTake(recordAt(3)))
    assert.ok(!own.guiltOf(recordAt(3)))
    own.taken(recordAt(3), true)
  }
})

test('owners that fence each other, and live, find no record guilty', () => {
  const next = { 'images.v1': 3, 'commands.v1': commands }
  const owners = [createCrashGuard(3), createCrashGuard(3)]
  let said: (Said & Writer) | undefined
  for (let turn = 0; turn < 8; turn += 1) {
    const own = owners[turn % 2] ?? createCrashGuard(3)
    const writer = nextWriter()
    own.begin(said, next, writer)
    // The other one's claim aborts the flush that carries the record.
    own.mayTake(recordAt(3))
    said = { ...own.said(next), ...writer }
    own.committed(said)
    assert.ok(own.mayTake(recordAt(3)))
    assert.ok(!own.guiltOf(recordAt(3)), `in turn ${turn}`)
    own.taken(recordAt(3), true)
  }
})

test('state of before this was known begins anew', () => {
  const own = createCrashGuard(3)
  const last = { began: [], strikes: 0, ...nextWriter() }
  own.begin(last, { 'images.v1': 7, 'commands.v1': commands }, nextWriter())
  assert.equal(own.said({ 'images.v1': 7, 'commands.v1': commands }).strikes, 0)
})
