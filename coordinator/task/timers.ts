// Deadlines and back-offs of a task: a heap in memory, rebuilt from state after a restore.
import type { Clock } from '../clock.ts'

export type Timer = {
  readonly entity: string
  readonly atMs: number
  readonly completeness: boolean
}

export type Timers = {
  /** An entity has at most one timer of each kind; an earlier one wins, a later one waits its turn. */
  set(timer: Timer): void
  clear(): void
  size(): number
}

/** Tells `fire` every timer that is due, together. */
export function timers(clock: Clock, fire: (due: readonly Timer[]) => void): Timers {
  let heap: Timer[] = []
  const armed = new Map<string, number>()
  let cancel: (() => void) | undefined
  let wakesAtMs = Infinity

  function wake(): void {
    cancel = undefined
    wakesAtMs = Infinity
    const now = clock.nowMs()
    const due: Timer[] = []
    for (let top = heap[0]; top !== undefined && top.atMs <= now; top = heap[0]) {
      pop(heap)
      if (armed.get(nameOf(top)) !== top.atMs) continue
      armed.delete(nameOf(top))
      due.push(top)
    }
    schedule()
    if (due.length > 0) fire(due)
  }

  function schedule(): void {
    const next = heap[0]?.atMs ?? Infinity
    if (next >= wakesAtMs) return
    cancel?.()
    wakesAtMs = next
    cancel = clock.after(Math.max(0, next - clock.nowMs()), wake)
  }

  return {
    set(timer) {
      const known = armed.get(nameOf(timer))
      if (known !== undefined && known <= timer.atMs) return
      armed.set(nameOf(timer), timer.atMs)
      push(heap, timer)
      schedule()
    },
    clear() {
      cancel?.()
      cancel = undefined
      wakesAtMs = Infinity
      heap = []
      armed.clear()
    },
    size: () => armed.size,
  }
}

function nameOf(timer: Timer): string {
  return (timer.completeness ? 'c ' : 'b ') + timer.entity
}

function push(heap: Timer[], timer: Timer): void {
  let at = heap.length
  heap.push(timer)
  while (at > 0) {
    const up = (at - 1) >> 1
    const above = heap[up]
    if (!above || above.atMs <= timer.atMs) break
    heap[at] = above
    at = up
  }
  heap[at] = timer
}

function pop(heap: Timer[]): void {
  const last = heap.pop()
  if (!last || heap.length === 0) return
  let at = 0
  for (;;) {
    const left = heap[2 * at + 1]
    const right = heap[2 * at + 2]
    const child = left && right && right.atMs < left.atMs ? right : left
    if (!child || child.atMs >= last.atMs) break
    heap[at] = child
    at = child === left ? 2 * at + 1 : 2 * at + 2
  }
  heap[at] = last
}
