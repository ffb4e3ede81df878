// Makes toBinary fit for small messages at a high rate. The library begins every message with a new buffer of 128
// bytes and doubles it as it fills: half of the time of an encoding, and memory outside the heap for the collector to
// chase. Here one buffer is lent to one encoding at a time; what toBinary returns is a copy, as before. Import for the
// effect.
import { BinaryWriter } from '@bufbuild/protobuf/wire'

const limits = { firstBytes: 64 * 1024, keptBytesMax: 4 * 1024 * 1024 } as const

/** What the library keeps to itself: 2.17.0; without these names nothing is changed. */
type Insides = { buffer: Uint8Array; viewCache: DataView; pos: number; stackPos: number[] }
type Methods = {
  ensureCapacity: (this: Insides, size: number) => void
  finish: (this: Insides) => Uint8Array
}

const nothing = new Uint8Array()
const noView = new DataView(new ArrayBuffer(0))
const methods = BinaryWriter.prototype as unknown as Methods
const { ensureCapacity, finish } = methods
let free: Uint8Array | undefined = new Uint8Array(limits.firstBytes)

if (typeof ensureCapacity === 'function') {
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
}
