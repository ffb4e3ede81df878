// A record batch written past every client library, which would not write it: compressed by a codec nobody knows.
import { once } from 'node:events'
import { connect } from 'node:net'
import { crc32c } from '../../coordinator/log/crc32c.ts'
import { apiKeys, inFrames } from './frames.ts'

/** What the three bits for it may say: 0 is none, 1 to 4 have names, 5 to 7 are nobody's. */
export const CODECS_UNKNOWN = [5, 6, 7] as const

export type Place = { readonly topic: string; readonly partition: number }

const limits = { answerMs: 5_000 } as const
const NOT_LEADER = 6

/** Kafka's error code (0: it was taken in), by the leader of the partition. */
export async function produceRaw(
  brokers: readonly string[],
  place: Place,
  codec: number,
): Promise<number> {
  let code = NOT_LEADER
  for (const broker of brokers) {
    code = await ask(broker, place, batchOf(codec))
    if (code !== NOT_LEADER) break
  }
  return code
}

/** One Produce request, version 3 (kafka.apache.org/protocol), and the error code of its answer. */
async function ask(broker: string, place: Place, batch: Buffer): Promise<number> {
  const [host = '', port = ''] = broker.split(':')
  const socket = connect({ host, port: Number(port), timeout: limits.answerMs })
  socket.on('timeout', () => socket.destroy(new Error(`${broker} does not answer`)))
  const answered = new Promise<Buffer>((resolve) => socket.on('data', inFrames(resolve)))
  const failed = once(socket, 'close').then(([error]) => {
    throw new Error(`${broker} closed the connection (${String(error)})`)
  })
  const topic = text(place.topic)
  socket.write(
    framed([
      int16(apiKeys.Produce),
      int16(3),
      int32(1),
      text('faults'),
      int16(-1),
      int16(-1),
      int32(limits.answerMs),
      int32(1),
      topic,
      int32(1),
      int32(place.partition),
      int32(batch.length),
      batch,
    ]),
  )
  try {
    const answer = await Promise.race([answered, failed])
    // size, correlation id, one topic, its name, one partition, its index, the code
    return answer.readInt16BE(4 + 4 + 4 + topic.length + 4 + 4)
  } finally {
    socket.destroy()
  }
}

/** One record, right in everything but the codec that it names. */
function batchOf(codec: number): Buffer {
  const value = Buffer.from('squeezed in a way of its own')
  // attributes, deltas of time and offset, no key, length of the value (zigzag), the value, no headers
  const body = Buffer.concat([Buffer.of(0, 0, 0, 1, value.length * 2), value, Buffer.of(0)])
  const records = Buffer.concat([Buffer.of(body.length * 2), body])
  const nowMs = Buffer.alloc(8)
  nowMs.writeBigInt64BE(BigInt(Date.now()))
  const checked = Buffer.concat([
    int16(codec),
    int32(0),
    nowMs,
    nowMs,
    Buffer.alloc(8 + 2 + 4, 0xff), // no producer id, epoch, sequence
    int32(1),
    records,
  ])
  const crc = Buffer.alloc(4)
  crc.writeUInt32BE(crc32c(checked))
  const head = Buffer.concat([int32(0), Buffer.of(2), crc]) // leader epoch, magic, checksum
  return Buffer.concat([Buffer.alloc(8), int32(head.length + checked.length), head, checked])
}

function framed(parts: readonly Buffer[]): Buffer {
  const request = Buffer.concat(parts)
  return Buffer.concat([int32(request.length), request])
}

function int16(value: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeInt16BE(value)
  return bytes
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}

function text(value: string): Buffer {
  return Buffer.concat([int16(Buffer.byteLength(value)), Buffer.from(value)])
}
