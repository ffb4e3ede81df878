// Record batches written past every client library: one Produce request, byte by byte.
import { once } from 'node:events'
import { connect } from 'node:net'
import { batchBytes, int16, int32, plainBatch, type RawBatch } from './batch.ts'
import { apiKeys, inFrames } from './frames.ts'

/** What the three bits for it may say: 0 is none, 1 to 4 have names, 5 to 7 are nobody's. */
export const CODECS_UNKNOWN = [5, 6, 7] as const

export type Place = { readonly topic: string; readonly partition: number }

export type Produced = {
  /** Kafka's error code; 0: it was taken in. */
  readonly code: number
  /** Of the first record; -1: it was not taken in. */
  readonly offset: number
}

const limits = { answerMs: 15_000 } as const
const NOT_LEADER = 6

/** Kafka's error code (0: it was taken in) for one record, right in everything but the codec that it names. */
export async function produceRaw(
  brokers: readonly string[],
  place: Place,
  codec: number,
): Promise<number> {
  const value = Buffer.from('squeezed in a way of its own')
  const batch = { ...plainBatch([{ key: null, value, headers: [] }]), codec }
  return (await produceBatch(brokers, place, batch)).code
}

/** What the leader of the partition says. Rejects when no broker answers. */
export async function produceBatch(
  brokers: readonly string[],
  place: Place,
  batch: RawBatch,
): Promise<Produced> {
  let produced: Produced = { code: NOT_LEADER, offset: -1 }
  const bytes = batchBytes(batch)
  for (const broker of brokers) {
    produced = await ask(broker, place, bytes)
    if (produced.code !== NOT_LEADER) break
  }
  return produced
}

/** A Produce request of version 7, and what its answer says (kafka.apache.org/protocol). */
async function ask(broker: string, place: Place, batch: Buffer): Promise<Produced> {
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
      int16(7),
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
    // size, correlation id, one topic, its name, one partition, its index; then the code and the offset
    const at = 4 + 4 + 4 + topic.length + 4 + 4
    return { code: answer.readInt16BE(at), offset: Number(answer.readBigInt64BE(at + 2)) }
  } finally {
    socket.destroy()
  }
}

function framed(parts: readonly Buffer[]): Buffer {
  const request = Buffer.concat(parts)
  return Buffer.concat([int32(request.length), request])
}

function text(value: string): Buffer {
  return Buffer.concat([int16(Buffer.byteLength(value)), Buffer.from(value)])
}
