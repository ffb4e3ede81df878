// Bytes by key, many values in one buffer. A buffer of its own costs a value of 2 kB more time than reading it from
// Kafka does, and 300 bytes beside it: with a million of them a restore was mostly that.

/** A buffer holds some hundred values; larger ones than a part of it get their own. */
const BUFFER_BYTES = 256 * 1024
const VALUE_BYTES_MAX = BUFFER_BYTES / 16
/** A buffer with less in use than this part of it is given up: what is left moves on. */
const USED_PART_MIN = 0.5

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
  end: number
  inUse: number
  /** Whose bytes were put here, some of them again or gone since. */
  readonly keys: string[]
}

export function packedBytes(): PackedBytes {
  const values = new Map<string, Uint8Array>()
  const buffers = new Map<ArrayBufferLike, Shared>()
  let open: Shared | undefined

  function place(length: number): Shared {
    while (!open || open.end + length > BUFFER_BYTES) {
      const full = open
      open = { bytes: new Uint8Array(BUFFER_BYTES), end: 0, inUse: 0, keys: [] }
      buffers.set(open.bytes.buffer, open)
      if (full) tidy(full)
    }
    return open
  }

  function put(key: string, bytes: Uint8Array): void {
    const { byteLength } = bytes
    if (byteLength > VALUE_BYTES_MAX) return keep(key, Uint8Array.prototype.slice.call(bytes))
    const to = place(byteLength)
    const own = to.bytes.subarray(to.end, to.end + byteLength)
    own.set(bytes)
    to.end += byteLength
    to.inUse += byteLength
    to.keys.push(key)
    keep(key, own)
  }

  function keep(key: string, bytes: Uint8Array): void {
    const old = values.get(key)
    values.set(key, bytes)
    release(old)
  }

  function release(old: Uint8Array | undefined): void {
    const from = old && buffers.get(old.buffer)
    if (!from) return
    from.inUse -= old.byteLength
    tidy(from)
  }

  function tidy(from: Shared): void {
    if (from === open || from.inUse >= BUFFER_BYTES * USED_PART_MIN) return
    buffers.delete(from.bytes.buffer)
    for (const key of from.keys) {
      const bytes = values.get(key)
      if (bytes?.buffer === from.bytes.buffer) put(key, bytes)
    }
  }

  return {
    get: (key) => values.get(key),
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
    entries: () => values.entries(),
  }
}
