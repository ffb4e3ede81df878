// Makes toBinary fit for small messages at a high rate. The library begins every message with a new buffer of 128
// bytes and doubles it as it fills: half of the time of an encoding, and memory outside the heap for the collector to
// chase. Here one buffer is lent to one encoding at a time; what toBinary returns is a copy, as before. What is patched is
// the library's own: if it is not what this was written for, it is left as it is.
import { BinaryWriter } from '@bufbuild/protobuf/wire'

const limits = { firstBytes: 64 * 1024, keptBytesMax: 4 * 1024 * 1024 } as const

/** What the library keeps to itself, of 2.17.0. */
type Insides = { buffer: Uint8Array; viewCache: DataView; pos: number; stackPos: number[] }
type Methods = {
  ensureCapacity: (this: Insides, size: number) => void
  finish: (this: Insides) => Uint8Array
}

const nothing = new Uint8Array()
const noView = new DataView(new ArrayBuffer(0))
let isLent = false

/** Lends from now on, process-wide. Returns why it does not; undefined: it does. */
export function lendBuffer(Writer: typeof BinaryWriter = BinaryWriter): string | undefined {
  if (isLent && Writer === BinaryWriter) return undefined
  const misfit = misfitOf(Writer)
  if (misfit !== undefined) return `@bufbuild/protobuf is not what is patched: ${misfit}`
  const methods = Writer.prototype as unknown as Methods
  const { ensureCapacity, finish } = methods
  let free: Uint8Array | undefined = new Uint8Array(limits.firstBytes)
  methods.ensureCapacity = function (size) {
    if (this.buffer.length === 0 && free !== undefined) {
      this.buffer = free
      free = undefined
    }
    if (this.pos + size > this.buffer.length) ensureCapacity.call(this, size)
  }
  methods.finish = function () {
    const bytes = finish.call(this)
    const { length } = this.buffer
    // An encoding that threw keeps what it was lent: the next large one gives its own.
    if (length >= limits.firstBytes && length <= limits.keptBytesMax) free = this.buffer
    this.buffer = nothing
    this.viewCache = noView
    return bytes
  }
  isLent ||= Writer === BinaryWriter
  return undefined
}

/** Tried on a writer: it must begin without a buffer, grow by ensureCapacity, and return a copy. */
function misfitOf(Writer: typeof BinaryWriter): string | undefined {
  const methods = Writer.prototype as unknown as Partial<Methods>
  if (typeof methods.ensureCapacity !== 'function') return 'BinaryWriter has no ensureCapacity'
  const writer = new Writer()
  const { buffer, viewCache, pos } = writer as unknown as Partial<Insides>
  const isEmpty = buffer instanceof Uint8Array && buffer.length === 0
  if (!isEmpty || !(viewCache instanceof DataView) || pos !== 0)
    return 'a new BinaryWriter is not an empty buffer, its view and a position'
  const bytes = writer.uint32(300).finish()
  const kept = (writer as unknown as Insides).buffer
  if (Buffer.compare(bytes, Buffer.from([0xac, 0x02])) !== 0 || bytes.buffer === kept.buffer)
    return 'finish does not return a copy of what was written'
  return undefined
}
