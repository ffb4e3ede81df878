// Input records that were fetched and not taken in yet, and how far the inputs were taken in.
import type { Limits } from './limits.ts'
import type { InputTopic, LogRecord } from './port.ts'

/** A position passed without a record: control markers, aborted or compacted records. */
type Passed = { readonly topic: InputTopic; readonly next: number }

export type Inbox = {
  /** Next offset per input: everything below was taken in. */
  readonly next: Record<InputTopic, number>
  push(items: readonly (LogRecord | Passed)[]): void
  /** The next record that was not taken in before; positions passed on the way count as taken in. */
  peek(): LogRecord | undefined
  /** The same, taken in. */
  take(): LogRecord | undefined
  size(): number
  /** Next offset per input behind everything that is queued. */
  behind(): Record<InputTopic, number>
  /** Whether the inputs should pause or go on, when that changes. */
  pressure(): 'pause' | 'resume' | undefined
  reset(next?: Readonly<Record<InputTopic, number>>): void
}

/** Taken items are cut off in lumps of this many. */
const COMPACT_EVERY = 1_000

export function inbox(limits: Limits): Inbox {
  const next: Record<InputTopic, number> = { 'images.v1': 0, 'commands.v1': 0 }
  let items: (LogRecord | Passed)[] = []
  let at = 0
  let isPaused = false

  function drop(): void {
    at += 1
    if (at < COMPACT_EVERY && at < items.length) return
    items = items.slice(at)
    at = 0
  }

  function peek(): LogRecord | undefined {
    for (let item = items[at]; item !== undefined; item = items[at]) {
      const topic = item.topic as InputTopic
      if ('next' in item) next[topic] = Math.max(next[topic], item.next)
      // Lower ones were fetched before a seek took hold.
      else if (item.offset >= next[topic]) return item
      drop()
    }
    return undefined
  }

  return {
    next,
    push(more) {
      for (const item of more) items.push(item)
    },
    peek,
    take() {
      const record = peek()
      if (!record) return undefined
      next[record.topic as InputTopic] = record.offset + 1
      drop()
      return record
    },
    size: () => items.length - at,
    behind() {
      const behind = { ...next }
      for (const item of items.slice(at)) {
        const topic = item.topic as InputTopic
        behind[topic] = Math.max(behind[topic], 'next' in item ? item.next : item.offset + 1)
      }
      return behind
    },
    pressure() {
      const waiting = items.length - at
      if (!isPaused && waiting > limits.inputRecordsMax) {
        isPaused = true
        return 'pause'
      }
      if (isPaused && waiting < limits.inputRecordsLow) {
        isPaused = false
        return 'resume'
      }
      return undefined
    },
    reset(from) {
      Object.assign(next, from)
      items = []
      at = 0
      isPaused = false
    },
  }
}
