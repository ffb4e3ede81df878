// A queue that serves its groups in turns: a plate with ten thousand calls does not hold up one with ten.

export type FairQueue<Item> = {
  readonly length: number
  push(group: string, item: Item): void
  /** Puts an item back at the head of its group. */
  unshift(group: string, item: Item): void
  /** Next item: one of each group in turn, in order within a group. */
  shift(): Item | undefined
}

type Line<Item> = { items: Item[]; head: number }

/** Served items are cut off a line once so many have gathered, to keep shift() cheap. */
const SERVED_KEPT_MAX = 1_024

export function createFairQueue<Item>(): FairQueue<Item> {
  // Insertion order is the order of turns.
  const lines = new Map<string, Line<Item>>()
  let length = 0

  function lineOf(group: string): Line<Item> {
    const known = lines.get(group)
    if (known) return known
    const line = { items: [], head: 0 }
    lines.set(group, line)
    return line
  }

  return {
    get length() {
      return length
    },
    push(group, item) {
      lineOf(group).items.push(item)
      length += 1
    },
    unshift(group, item) {
      const line = lineOf(group)
      line.items.splice(0, line.head, item)
      line.head = 0
      length += 1
    },
    shift() {
      const next = lines.entries().next()
      if (next.done) return undefined
      const [group, line] = next.value
      const item = line.items[line.head]
      line.head += 1
      length -= 1
      lines.delete(group)
      if (line.head >= SERVED_KEPT_MAX) {
        line.items.splice(0, line.head)
        line.head = 0
      }
      if (line.head < line.items.length) lines.set(group, line)
      return item
    },
  }
}
