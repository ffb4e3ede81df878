// A file read piece by piece under one budget of bytes, reads and time, so that no file decides what it costs to look at it.
import { constants } from 'node:fs'
import { open, type FileHandle } from 'node:fs/promises'

/** What a look at one file may cost. */
export type LookLimits = {
  /** Read from the file, bytes. */
  readonly bytesMax: number
  /** Directory entries and chunks looked at. */
  readonly entriesMax: number
  /** Waiting for the file included. */
  readonly timeMaxMs: number
}

export const lookLimits: LookLimits = {
  bytesMax: 4 * 1024 * 1024,
  entriesMax: 16_384,
  timeMaxMs: 10_000,
}

/** The file asks for more than a look may cost. */
export class Exhausted extends Error {
  override readonly name = 'Exhausted'
}

/** The file could not be read in time: nothing is known of it, and another look may succeed. */
export class TooSlow extends Error {
  override readonly name = 'TooSlow'
}

/** What is read: an open file, or bytes that behave like one. */
export type Readable = {
  read(
    buffer: Buffer,
    offset: number,
    length: number,
    position: number,
  ): Promise<{ readonly bytesRead: number; readonly buffer: Buffer }>
}

const blockBytes = 4_096
const blocksKept = 16

/** Reads whole blocks and keeps the last ones: a directory and what it points to lie close together. */
export class Source {
  readonly size: number
  readonly #file: Readable
  readonly #signal: AbortSignal
  readonly #limits: LookLimits
  readonly #blocks = new Map<number, Buffer>()
  #bytesRead = 0
  #entries = 0

  constructor(file: Readable, size: number, budget: { limits: LookLimits; signal: AbortSignal }) {
    this.#file = file
    this.size = size
    this.#limits = budget.limits
    this.#signal = budget.signal
  }

  get bytesRead(): number {
    return this.#bytesRead
  }

  /** Fewer bytes than asked at the end of the file. Throws Exhausted. */
  async read(at: number, length: number): Promise<Buffer> {
    const end = Math.min(at + length, this.size)
    if (!(end > at)) return Buffer.alloc(0)
    if (end - at > this.#limits.bytesMax) throw this.#tooManyBytes()
    const first = Math.floor(at / blockBytes)
    const last = Math.floor((end - 1) / blockBytes)
    if (first === last) {
      const block = await this.#block(first)
      return block.subarray(at - first * blockBytes, end - first * blockBytes)
    }
    const parts: Buffer[] = []
    for (let index = first; index <= last; index++) parts.push(await this.#block(index))
    const from = at - first * blockBytes
    return Buffer.concat(parts).subarray(from, from + end - at)
  }

  /** Counts entries that are about to be looked at. Throws Exhausted. */
  spend(entries: number): void {
    this.#entries += entries
    if (this.#entries > this.#limits.entriesMax)
      throw new Exhausted(`it holds more than ${this.#limits.entriesMax} directory entries`)
  }

  async #block(index: number): Promise<Buffer> {
    const known = this.#blocks.get(index)
    if (known !== undefined) return known
    this.#bytesRead += blockBytes
    if (this.#bytesRead > this.#limits.bytesMax) throw this.#tooManyBytes()
    const reading = this.#file.read(Buffer.alloc(blockBytes), 0, blockBytes, index * blockBytes)
    const { buffer, bytesRead } = await unlessAborted(reading, this.#signal)
    const block = buffer.subarray(0, bytesRead)
    this.#blocks.set(index, block)
    const [oldest] = this.#blocks.keys()
    if (this.#blocks.size > blocksKept && oldest !== undefined) this.#blocks.delete(oldest)
    return block
  }

  #tooManyBytes(): Exhausted {
    return new Exhausted(`its directories need more than ${this.#limits.bytesMax} bytes to read`)
  }
}

export type SourceOptions = {
  /** Ends the look at once; it then rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined
  readonly limits?: Partial<LookLimits> | undefined
}

/**
 * Opens a regular file for one look. Rejects as the file system does (ENOENT, EACCES, …), with TooSlow, or with the
 * signal's reason.
 */
export async function withSource<T>(
  path: string,
  options: SourceOptions,
  look: (source: Source) => Promise<T>,
): Promise<T> {
  const limits = { ...lookLimits, ...options.limits }
  const clock = AbortSignal.timeout(limits.timeMaxMs)
  const signal = options.signal ? AbortSignal.any([options.signal, clock]) : clock
  options.signal?.throwIfAborted()
  // Without O_NONBLOCK a named pipe in the file's place would be waited for until someone writes to it.
  const opening = open(path, constants.O_RDONLY | constants.O_NONBLOCK)
  let file: FileHandle | undefined
  try {
    file = await unlessAborted(opening, signal)
    const status = await unlessAborted(file.stat(), signal)
    if (!status.isFile()) throw new Error(`${path} is no regular file`)
    return await look(new Source(file, status.size, { limits, signal }))
  } catch (error) {
    if (options.signal?.aborted !== true && error === clock.reason)
      throw new TooSlow(`${path} could not be looked at within ${limits.timeMaxMs} ms`)
    throw error
  } finally {
    // Not awaited when the file hangs: closing would wait for the read that hangs.
    const closing = (file ? Promise.resolve(file) : opening).then((handle) => handle.close())
    closing.catch(() => {})
    if (file !== undefined && !signal.aborted) await closing.catch(() => {})
  }
}

async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  if (signal.aborted) {
    work.catch(() => {})
    throw signal.reason
  }
  let stop = (): void => {}
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason as Error)
    signal.addEventListener('abort', stop, { once: true })
  })
  try {
    return await Promise.race([work, aborted])
  } finally {
    work.catch(() => {})
    signal.removeEventListener('abort', stop)
  }
}
