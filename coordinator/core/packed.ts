// Bytes by key, many values in one buffer. A buffer of its own costs a value of 2 kB more time than reading it from
// Kafka does, and 300 bytes beside it; an object that tells where it is costs the collector a visit at every full
// collection. With a million of them a restore was mostly that: here a value is a number.

/** A buffer holds some hundred values; larger ones than a part of it get their own. */
const BUFFER_BYTES = 256 * 1024
const VALUE_BYTES_MAX = BUFFER_BYTES / 16
/** A buffer with less in use than this part of it is given up: what is left moves on. */
const USED_PART_MIN = 0.5
/** A value begins at a multiple of this, with its length. */
const STEP_BYTES = 16
const LENGTH_BYTES = 4
/** Where a value is: buffer times this, and the step in it; up to 32 GB such a number needs no memory of its own. */
const STEPS = BUFFER_BYTES / STEP_BYTES

export type PackedBytes = {
  get(key: string): Uint8Array | undefined
  /** Keeps these bytes as they are. */
  set(key: string, bytes: Uint8Array): void
  /** Keeps a copy: the bytes may belong to something larger. */
  copy(key: string, bytes: Uint8Array): void
  delete(key: string): void
  has(key: string): boolean
  keys(): Iterable<string>
  size(): number
  entries(): Iterable<[key: string, bytes: Uint8Array]>
}

type Shared = {
  readonly bytes: Uint8Array
  readonly view: DataView
  end: number
  inUse: number
  /** Whose bytes were put here, some of them again or gone since. */
  readonly keys: string[]
}

export function packedBytes(): PackedBytes {
  const values = new Map<string, number | Uint8Array>()
  const buffers: (Shared | undefined)[] = []
  /** Places in `buffers` that can be taken again. */
  const free: number[] = []
  let open = -1

  function room(bytes: number): Shared {
    for (;;) {
      const shared = buffers[open]
      if (shared && shared.end + bytes <= BUFFER_BYTES) return shared
      const full = open
      open = free.pop() ?? buffers.length
      // Not filled with zeros first: what is read was written.
      const own = Buffer.allocUnsafeSlow(BUFFER_BYTES).buffer
      const [into, view] = [new Uint8Array(own), new DataView(own)]
      buffers[open] = { bytes: into, view, end: 0, inUse: 0, keys: [] }
      tidy(full)
    }
  }

  function put(key: string, bytes: Uint8Array): void {
    const { byteLength } = bytes
    if (byteLength > VALUE_BYTES_MAX) return keep(key, Uint8Array.prototype.slice.call(bytes))
    const steps = stepsOf(byteLength)
    const to = room(steps * STEP_BYTES)
    const step = to.end / STEP_BYTES
    to.view.setUint32(to.end, byteLength)
    to.bytes.set(bytes, to.end + LENGTH_BYTES)
    to.end += steps * STEP_BYTES
    to.inUse += steps * STEP_BYTES
    to.keys.push(key)
    keep(key, open * STEPS + step)
  }

  function keep(key: string, value: number | Uint8Array): void {
    const old = values.get(key)
    values.set(key, value)
    release(old)
  }

  function release(old: number | Uint8Array | undefined): void {
    if (typeof old !== 'number') return
    const at = Math.floor(old / STEPS)
    const from = buffers[at]
    if (!from) return
    from.inUse -= stepsOf(lengthAt(from, old)) * STEP_BYTES
    tidy(at)
  }

  function tidy(at: number): void {
    const from = buffers[at]
    if (!from || at === open || from.inUse >= BUFFER_BYTES * USED_PART_MIN) return
    buffers[at] = undefined
    for (const key of from.keys) {
      const value = values.get(key)
      if (typeof value === 'number' && Math.floor(value / STEPS) === at)
        put(key, bytesAt(from, value))
    }
    // Not before: what has moved must not be taken for what has not.
    free.push(at)
  }

  function bytesOf(value: number | Uint8Array): Uint8Array | undefined {
    if (typeof value !== 'number') return value
    const from = buffers[Math.floor(value / STEPS)]
    return from && bytesAt(from, value)
  }

  return {
    get(key) {
      const value = values.get(key)
      return value === undefined ? undefined : bytesOf(value)
    },
    set: keep,
    copy: put,
    delete(key) {
      const old = values.get(key)
      values.delete(key)
      release(old)
    },
    has: (key) => values.has(key),
    keys: () => values.keys(),
    size: () => values.size,
    *entries() {
      for (const [key, value] of values) {
        const bytes = bytesOf(value)
        if (bytes) yield [key, bytes]
      }
    },
  }
}

function stepsOf(bytes: number): number {
  return Math.ceil((bytes + LENGTH_BYTES) / STEP_BYTES)
}

function lengthAt({ view }: Shared, value: number): number {
  return view.getUint32((value % STEPS) * STEP_BYTES)
}

function bytesAt(from: Shared, value: number): Uint8Array {
  const start = (value % STEPS) * STEP_BYTES + LENGTH_BYTES
  return from.bytes.subarray(start, start + lengthAt(from, value))
}
