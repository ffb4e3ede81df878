// What was fetched of the inputs and not taken in yet, and how far they were taken in. Batches wait as they came: memory
// follows what is fetched, not what it says it holds; one is open at a time, and its records are read one by one.
import { invariant } from '../core/invariant.ts'
import { openBatch } from '@wellspring/kafka/codecs.ts'
import type { Limits } from './limits.ts'
import {
  lastOf,
  type Input,
  type LogRecord,
  type RecordBatch,
  type Unreadable,
} from '@wellspring/kafka/records.ts'
import type { InputTopic } from '@wellspring/kafka/topic-names.ts'
import { codecOf, countOf, type RecordReader } from '@wellspring/kafka/record-decoder.ts'

/** A position passed without a record: control markers, aborted or compacted records. */
type Passed = { readonly topic: InputTopic; readonly next: number }
type Item = Input | Passed

export type Inbox = {
  /** Next offset per input: everything below was taken in. */
  readonly next: Record<InputTopic, number>
  push(items: readonly Item[]): void
  /**
   * What was not taken in before and comes next; positions passed on the way count as taken in. A batch is one that is
   * compressed and not open yet.
   */
  peek(): Input | undefined
  /** Opens the compressed batch that comes next. */
  open(): void
  /** The same as peek, taken in; a batch whole. */
  take(): Input | undefined
  /** How many wait; a batch counts as one. */
  size(): number
  /** Next offset per input behind everything that is queued. */
  behind(): Record<InputTopic, number>
  /** Whether the inputs should pause or go on, when that changes. */
  pressure(): 'pause' | 'resume' | undefined
  reset(next?: Readonly<Record<InputTopic, number>>): void
}

/** Taken items are cut off in lumps of this many. */
const COMPACT_EVERY = 1_000
/** What an item costs beside its bytes. */
const ITEM_BYTES = 200

type Open = { readonly batch: RecordBatch; readonly reader: RecordReader; bytes: number }

export function inbox(limits: Limits): Inbox {
  const next: Record<InputTopic, number> = { 'images.v1': 0, 'commands.v1': 0 }
  let items: Item[] = []
  let at = 0
  /** The batch at `at`, open, and what was read of it and not taken. */
  let open: Open | undefined
  let read: LogRecord | Unreadable | undefined
  let waitingRecords = 0
  let waitingBytes = 0
  let isPaused = false

  function drop(): void {
    const item = items[at]
    if (item) count(item, -1)
    if (open) waitingBytes -= open.bytes
    open = undefined
    read = undefined
    at += 1
    if (at < COMPACT_EVERY && at < items.length) return
    items = items.slice(at)
    at = 0
  }

  function count(item: Item, sign: 1 | -1): void {
    waitingRecords += sign * recordsIn(item)
    waitingBytes += sign * bytesOf(item)
  }

  function pass(topic: InputTopic, to: number): void {
    next[topic] = Math.max(next[topic], to)
  }

  /** The next record of the open batch; undefined: it has no more. */
  function inBatch({ batch, reader }: Open): LogRecord | Unreadable | undefined {
    const topic = batch.topic as InputTopic
    while (read === undefined || lastOf(read) < next[topic]) {
      read = reader.next()
      if (read === undefined) return undefined
    }
    return read
  }

  function opened(batch: RecordBatch): void {
    const found = openBatch(batch)
    if ('reason' in found) {
      items[at] = found
      waitingBytes += bytesOf(found) - bytesOf(batch)
      waitingRecords += 1 - recordsIn(batch)
      return
    }
    const bytes = codecOf(batch.batch) === 0 ? 0 : found.bytes
    open = { batch, reader: found, bytes }
    waitingBytes += bytes
  }

  function peek(): Input | undefined {
    for (let item = items[at]; item !== undefined; item = items[at]) {
      const topic = item.topic as InputTopic
      if ('next' in item) pass(topic, item.next)
      // Lower ones were fetched before a seek took hold.
      else if (lastOf(item) >= next[topic]) {
        if (!('batch' in item)) return item
        if (!open) {
          if (codecOf(item.batch) !== 0) return item
          opened(item)
          continue
        }
        const found = inBatch(open)
        if (found) return found
        pass(topic, item.last + 1)
      }
      drop()
    }
    return undefined
  }

  return {
    next,
    push(more) {
      for (const item of more) {
        items.push(item)
        count(item, 1)
      }
    },
    peek,
    open() {
      const item = peek()
      if (item && 'batch' in item) opened(item)
    },
    take() {
      const found = peek()
      if (!found) return undefined
      const [topic, last] = [found.topic as InputTopic, lastOf(found)]
      invariant(
        last >= next[topic],
        'T1',
        'inputs are taken in in the order of their offsets, each once',
        `${topic} ${found.partition} ${last}`,
      )
      pass(topic, last + 1)
      if (open) read = undefined
      else drop()
      // A batch without more records is not there any more.
      peek()
      return found
    },
    size: () => items.length - at,
    behind() {
      const behind = { ...next }
      for (const item of items.slice(at)) {
        const topic = item.topic as InputTopic
        behind[topic] = Math.max(behind[topic], 'next' in item ? item.next : lastOf(item) + 1)
      }
      return behind
    },
    pressure() {
      const { inputRecordsMax, inputRecordsLow, inputBytesMax, inputBytesLow } = limits
      if (!isPaused && (waitingRecords > inputRecordsMax || waitingBytes > inputBytesMax)) {
        isPaused = true
        return 'pause'
      }
      if (isPaused && waitingRecords < inputRecordsLow && waitingBytes < inputBytesLow) {
        isPaused = false
        return 'resume'
      }
      return undefined
    },
    reset(from) {
      Object.assign(next, from)
      items = []
      at = 0
      open = undefined
      read = undefined
      waitingRecords = 0
      waitingBytes = 0
      isPaused = false
    },
  }
}

/** What a batch claims, as far as its offsets can bear it. */
function recordsIn(item: Item): number {
  if (!('batch' in item)) return 1
  return Math.max(1, Math.min(countOf(item.batch), item.last - item.offset + 1))
}

function bytesOf(item: Item): number {
  if ('next' in item) return ITEM_BYTES
  if ('batch' in item) return ITEM_BYTES + item.batch.length
  if ('reason' in item) return ITEM_BYTES + item.bytes.length
  return ITEM_BYTES + (item.key?.length ?? 0) + (item.value?.length ?? 0)
}
