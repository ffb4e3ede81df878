// A broker's responses, put together as their parts arrive. kafkajs keeps the parts and copies them into a new buffer in
// the end; with a million records of state the memory that the collector chases then is a third of a restore. Here a part
// goes to its place at once, and the buffer of a response that its reader gave back takes the next one.
import { connect, type Socket } from 'node:net'

const limits = {
  /** What is read from a socket at once. */
  readBytes: 256 * 1024,
  /** Of one response; what a fetch asks for is a hundredth of it. */
  responseBytesMax: 256 * 1024 * 1024,
  /** Buffers that are lent again: smaller ones are not worth it, larger ones are rare. */
  lentBytesMin: 128 * 1024,
  lentBytesMax: 8 * 1024 * 1024,
  lentBuffersMax: 16,
  keepAliveMs: 60_000,
} as const
const SIZE_BYTES = 4

/** A connection of kafkajs, as much of it as takes responses in. */
export type Receiver = {
  readonly socket: Socket | null
  readonly requestQueue: {
    fulfillRequest(response: { size: number; correlationId: number; payload: Buffer }): void
  }
}

/** The response that a socket is in the middle of. */
type Incoming = {
  readonly head: Buffer
  headBytes: number
  whole: Buffer | undefined
  bytes: number
}

/** By socket: what a broken connection left half done is no beginning of what the next one says. */
const incoming = new WeakMap<Socket, Incoming>()
/** Of responses that are read now; what somebody else made is never lent. */
const given = new WeakSet<ArrayBuffer>()
const free: ArrayBuffer[] = []
let readings = 0

/** Takes in what the socket said, and hands on each response that is whole. `data` may be written over afterwards. */
export function receive({ socket, requestQueue }: Receiver, data: Buffer): void {
  if (socket === null) return
  const own = incoming.get(socket) ?? begun(socket)
  for (let at = 0; at < data.length;) {
    if (own.whole === undefined) {
      at += fillHead(own, data, at)
      if (own.headBytes < SIZE_BYTES) return
      const size = own.head.readInt32BE(0)
      if (size < SIZE_BYTES || size > limits.responseBytesMax) {
        socket.destroy(new Error(`a response of ${size} bytes: no Kafka broker says so`))
        return
      }
      own.whole = bufferFor(size)
      own.bytes = 0
    }
    const { whole } = own
    const copied = data.copy(whole, own.bytes, at)
    at += copied
    own.bytes += copied
    if (own.bytes < whole.length) return
    own.whole = undefined
    own.headBytes = 0
    requestQueue.fulfillRequest({
      size: whole.length,
      correlationId: whole.readInt32BE(0),
      payload: whole.subarray(SIZE_BYTES),
    })
  }
}

function begun(socket: Socket): Incoming {
  const own = { head: Buffer.alloc(SIZE_BYTES), headBytes: 0, whole: undefined, bytes: 0 }
  incoming.set(socket, own)
  return own
}

function fillHead(own: Incoming, data: Buffer, at: number): number {
  const copied = data.copy(own.head, own.headBytes, at, at + SIZE_BYTES - own.headBytes)
  own.headBytes += copied
  return copied
}

function bufferFor(size: number): Buffer {
  const fits = free.findIndex(({ byteLength }) => byteLength >= size && byteLength <= 2 * size)
  const [lent = new ArrayBuffer(0)] = fits < 0 ? [] : free.splice(fits, 1)
  const whole = lent.byteLength > 0 ? Buffer.from(lent, 0, size) : Buffer.allocUnsafeSlow(size)
  given.add(whole.buffer)
  return whole
}

/** Runs a reading that gives back what it has read. As long as one runs, the buffers are kept for what comes next. */
export async function lending<T>(reading: () => Promise<T>): Promise<T> {
  readings += 1
  try {
    return await reading()
  } finally {
    readings -= 1
    if (readings === 0) free.length = 0
  }
}

/** Nobody will look at these records again, nor at anything else in the response that they came in. */
export function giveBack(
  records: readonly { readonly key: Buffer | null; readonly value: Buffer | null }[],
): void {
  const { key, value } = records.find((one) => one.key ?? one.value) ?? {}
  const buffer = (value ?? key)?.buffer
  if (!(buffer instanceof ArrayBuffer) || readings === 0 || !given.delete(buffer)) return
  const { byteLength } = buffer
  if (byteLength < limits.lentBytesMin || byteLength > limits.lentBytesMax) return
  if (free.length < limits.lentBuffersMax) free.push(buffer)
}

/** A connection to a broker that reads into one buffer, where Node takes a new one for each part. */
export function openSocket(host: string, port: number, onConnect: () => void): Socket {
  const onread = {
    buffer: Buffer.allocUnsafeSlow(limits.readBytes),
    callback(bytes: number, into: Uint8Array): boolean {
      socket.emit('data', Buffer.from(into.buffer, into.byteOffset, bytes))
      return true
    },
  }
  const socket: Socket = connect({ host, port, onread }, onConnect)
  return socket.setKeepAlive(true, limits.keepAliveMs)
}
