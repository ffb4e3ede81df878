// Two brokers that follow a script: what kafkajs does when the leader of a partition moves to the other one cannot
// be shown on a single real broker. They speak as much of the protocol as a producer needs.
import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { modules } from '@wellspring/kafka/patches.ts'
import { inFrames } from '../faults/frames.ts'

type Encoder = {
  readonly buffer: Buffer
  writeInt16(n: number): Encoder
  writeInt32(n: number): Encoder
  writeInt64(n: number): Encoder
  writeString(text: string | null): Encoder
  writeArray(items: readonly (Encoder | number)[]): Encoder
}
type Decoder = {
  readInt16(): number
  readInt32(): number
  readString(): string
  readBytes(): Buffer
  readArray<T>(read: (decoder: Decoder) => T): T[]
}
const Encoder = modules.load<new () => Encoder>('protocol/encoder')
const Decoder = modules.load<new (bytes: Buffer) => Decoder>('protocol/decoder')

export type NodeId = 1 | 2

export type TwoBrokers = {
  readonly addresses: readonly string[]
  /** Leader of each partition of every topic. */
  readonly leaders: NodeId[]
  /** What arrived where: `node/partition: text of the batch`. */
  readonly landed: { readonly node: NodeId; readonly partition: number; readonly text: string }[]
  /** Names of the requests that wrote anything, in order. */
  readonly requests: string[]
  /** The script: the error code of a part of a Produce; 0 takes it. */
  produce: (node: NodeId, partition: number) => number | Promise<number>
  close(): Promise<void>
}

/** Served in these versions, the simplest that kafkajs speaks. */
const versions = { 0: 3, 3: 0, 10: 1, 18: 0, 22: 0, 24: 0, 26: 0 } as const

export async function twoBrokers(): Promise<TwoBrokers> {
  const sockets = new Set<Socket>()
  const servers = ([1, 2] as const).map((node) => {
    const server = createServer((socket) => {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on(
        'data',
        inFrames((frame) => void answer(node, socket, frame)),
      )
    })
    server.listen(0, '127.0.0.1')
    return server
  })
  await Promise.all(servers.map((server) => once(server, 'listening')))
  const ports = servers.map((server) => (server.address() as AddressInfo).port)
  let producerIds = 0

  const brokers: TwoBrokers = {
    addresses: ports.map((port) => `127.0.0.1:${port}`),
    leaders: [1, 2],
    landed: [],
    requests: [],
    produce: () => 0,
    async close() {
      for (const server of servers) server.close()
      for (const socket of sockets) socket.destroy()
      await Promise.all(servers.map((server) => once(server, 'close')))
    },
  }

  async function answer(node: NodeId, socket: Socket, frame: Buffer): Promise<void> {
    const request = new Decoder(frame.subarray(4))
    const api = request.readInt16()
    const version = request.readInt16()
    const correlationId = request.readInt32()
    request.readString()
    const body = await answers(node, api, version, request)
    const head = new Encoder().writeInt32(4 + body.buffer.length).writeInt32(correlationId)
    socket.write(Buffer.concat([head.buffer, body.buffer]))
  }

  async function answers(
    node: NodeId,
    api: number,
    version: number,
    request: Decoder,
  ): Promise<Encoder> {
    if (api === 18) return apiVersions(version)
    if (api === 3) return metadata(request.readArray((one) => one.readString()))
    if (api === 10) return address(new Encoder().writeInt32(0).writeInt16(0).writeString(null), 1)
    if (api === 0) return produce(node, request)
    if (api === 22) {
      brokers.requests.push('InitProducerId')
      return new Encoder().writeInt32(0).writeInt16(0).writeInt64(++producerIds).writeInt16(0)
    }
    if (api === 26) {
      brokers.requests.push('EndTxn')
      return new Encoder().writeInt32(0).writeInt16(0)
    }
    brokers.requests.push('AddPartitionsToTxn')
    return new Encoder().writeInt32(0).writeArray([])
  }

  function apiVersions(version: number): Encoder {
    const list = Object.entries(versions).map(([key, only]) =>
      new Encoder().writeInt16(Number(key)).writeInt16(only).writeInt16(only),
    )
    const body = new Encoder().writeInt16(0).writeArray(list)
    return version === 0 ? body : body.writeInt32(0)
  }

  function address(into: Encoder, node: NodeId): Encoder {
    return into
      .writeInt32(node)
      .writeString('127.0.0.1')
      .writeInt32(ports[node - 1] ?? 0)
  }

  function metadata(topics: readonly string[]): Encoder {
    const partitions = brokers.leaders.map((leader, partition) =>
      new Encoder()
        .writeInt16(0)
        .writeInt32(partition)
        .writeInt32(leader)
        .writeArray([1, 2])
        .writeArray([1, 2]),
    )
    return new Encoder()
      .writeArray([address(new Encoder(), 1), address(new Encoder(), 2)])
      .writeArray(
        topics.map((topic) =>
          new Encoder().writeInt16(0).writeString(topic).writeArray(partitions),
        ),
      )
  }

  async function produce(node: NodeId, request: Decoder): Promise<Encoder> {
    brokers.requests.push('Produce')
    request.readString()
    request.readInt16()
    request.readInt32()
    const topics = request.readArray((one) => ({
      topic: one.readString(),
      parts: one.readArray((part) => ({ partition: part.readInt32(), bytes: part.readBytes() })),
    }))
    const answered: Encoder[] = []
    for (const { topic, parts } of topics) {
      const codes: Encoder[] = []
      for (const { partition, bytes } of parts) {
        const code = await brokers.produce(node, partition)
        if (code === 0) brokers.landed.push({ node, partition, text: bytes.toString('latin1') })
        codes.push(
          new Encoder().writeInt32(partition).writeInt16(code).writeInt64(0).writeInt64(-1),
        )
      }
      answered.push(new Encoder().writeString(topic).writeArray(codes))
    }
    return new Encoder().writeArray(answered).writeInt32(0)
  }

  return brokers
}
