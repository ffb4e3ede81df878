// Two requests of KIP-664 that kafkajs does not have: the state of a transactional id, and who has written to a
// partition. Written from the message definitions of Kafka 4.4 (DescribeTransactions and DescribeProducers, version 0).
import { modules } from './patches.ts'

type Encoder = {
  writeInt32(value: number): Encoder
  writeUVarIntString(value: string): Encoder
  writeUVarIntArray(items: readonly Encoder[]): Encoder
  /** Without a value: no tagged fields. */
  writeUVarIntBytes(): Encoder
}

type Decoder = {
  readInt16(): number
  readInt32(): number
  readInt64(): { toString(): string }
  readUVarIntString(): string | null
  readUVarIntArray<T>(item: (decoder: Decoder) => T): T[]
  readTaggedFields(): unknown
}

/** What a connection of kafkajs sends, and how it reads the answer. */
export type Request<Answer> = {
  readonly request: {
    readonly apiKey: number
    readonly apiVersion: number
    readonly apiName: string
    encode(): Promise<Encoder>
  }
  readonly response: {
    decode(bytes: Buffer): Promise<Answer>
    parse(answer: Answer): Promise<Answer>
  }
}

/** `code` is Kafka's error code, 0: none. */
export type DescribedTransaction = {
  readonly code: number
  readonly state: string
  readonly producerId: number
}

/** To the transaction coordinator of the id. */
export function describeTransaction(transactionalId: string): Request<DescribedTransaction> {
  return flexible('DescribeTransactions', 65, {
    encode: (encoder) =>
      encoder.writeUVarIntArray([encoding().writeUVarIntString(transactionalId)]),
    decode: (decoder) => {
      const [described] = decoder.readUVarIntArray(transaction)
      if (!described) throw new Error('DescribeTransactions was answered with nothing')
      return described
    },
  })
}

export type DescribedPartition = {
  readonly partition: number
  readonly code: number
  /** Those of the last day; `isOpen`: with records that are neither committed nor aborted. */
  readonly producers: readonly { readonly producerId: number; readonly isOpen: boolean }[]
}

/** To the leader of the partitions. */
export function describeProducers(
  topic: string,
  partitions: readonly number[],
): Request<DescribedPartition[]> {
  const indexes = partitions.map((partition) => encoding().writeInt32(partition))
  return flexible('DescribeProducers', 61, {
    encode: (encoder) =>
      encoder.writeUVarIntArray([
        encoding().writeUVarIntString(topic).writeUVarIntArray(indexes).writeUVarIntBytes(),
      ]),
    decode: (decoder) =>
      decoder
        .readUVarIntArray((one) => {
          one.readUVarIntString() // the topic
          return closed(one, one.readUVarIntArray(partition))
        })
        .flat(),
  })
}

function transaction(decoder: Decoder): DescribedTransaction {
  const code = decoder.readInt16()
  decoder.readUVarIntString() // the id
  const state = decoder.readUVarIntString() ?? ''
  decoder.readInt32() // time-out
  decoder.readInt64() // begun at
  const producerId = Number(decoder.readInt64().toString())
  decoder.readInt16() // epoch
  decoder.readUVarIntArray((topic) => {
    topic.readUVarIntString()
    topic.readUVarIntArray((one) => one.readInt32())
    topic.readTaggedFields()
  })
  return closed(decoder, { code, state, producerId })
}

function partition(decoder: Decoder): DescribedPartition {
  const index = decoder.readInt32()
  const code = decoder.readInt16()
  decoder.readUVarIntString() // the error's text
  const producers = decoder.readUVarIntArray((one) => {
    const producerId = Number(one.readInt64().toString())
    one.readInt32() // epoch
    one.readInt32() // last sequence
    one.readInt64() // last written at
    one.readInt32() // coordinator's epoch
    return closed(one, { producerId, isOpen: one.readInt64().toString() !== '-1' })
  })
  return closed(decoder, { partition: index, code, producers })
}

function closed<T>(decoder: Decoder, value: T): T {
  decoder.readTaggedFields()
  return value
}

/** Header and body of a flexible request, of which kafkajs writes the first part of the header only. */
function flexible<Answer>(
  apiName: string,
  apiKey: number,
  body: { encode(encoder: Encoder): Encoder; decode(decoder: Decoder): Answer },
): Request<Answer> {
  return {
    request: {
      apiKey,
      apiVersion: 0,
      apiName,
      encode: () =>
        Promise.resolve(body.encode(encoding().writeUVarIntBytes()).writeUVarIntBytes()),
    },
    response: {
      async decode(bytes) {
        const decoder = new (modules.load<new (bytes: Buffer) => Decoder>('protocol/decoder'))(
          bytes,
        )
        decoder.readTaggedFields()
        decoder.readInt32() // throttled, ms
        return body.decode(decoder)
      },
      parse: (answer) => Promise.resolve(answer),
    },
  }
}

function encoding(): Encoder {
  return new (modules.load<new () => Encoder>('protocol/encoder'))()
}
