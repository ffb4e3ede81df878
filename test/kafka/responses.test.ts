// Responses are put together from whatever parts they come in, and a lent buffer is never one that is still read.
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, Socket, type AddressInfo } from 'node:net'
import { test, type TestContext } from 'node:test'
import type { Modules } from '@wellspring/kafka/patches.ts'
import {
  giveBack,
  lending,
  openSocket,
  receive,
  type Receiver,
} from '@wellspring/kafka/responses.ts'
import { diceOf } from '../../dev/dice.ts'
import { original, patched } from './original.ts'
import { kafkaWorld } from '../log/world.ts'

type Received = Receiver & {
  readonly got: { correlationId: number; payload: Buffer }[]
  readonly said: Error[]
}

function receiver(): Received {
  const got: Received['got'] = []
  const said: Error[] = []
  const socket = new Socket().on('error', (error) => said.push(error))
  const fulfillRequest = ({ correlationId, payload }: Received['got'][number]): void =>
    void got.push({ correlationId, payload })
  return { socket, requestQueue: { fulfillRequest }, got, said }
}

function response(correlationId: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(8)
  head.writeInt32BE(payload.length + 4)
  head.writeInt32BE(correlationId, 4)
  return Buffer.concat([head, payload])
}

test('responses of every size, cut anywhere, from a buffer that is written over, come out whole', () => {
  for (const seed of ['a', 'b', 'c']) {
    const chance = diceOf(seed)
    const payloads = Array.from({ length: 400 }, (_, at) =>
      randomBytes(at % 40 === 0 ? 300_000 : chance.below(at % 3 === 0 ? 4 : 3_000)),
    )
    const responses = payloads.map((payload, at) => response(at, payload))
    const bytes = Buffer.concat(responses)
    const into = Buffer.alloc(100_000)
    const own = receiver()
    let [at, end] = [0, 0]
    const said = (upTo: number): void => {
      while (at < upTo) {
        const cut = bytes.copy(into, 0, at, upTo)
        receive(own, into.subarray(0, cut))
        into.fill(0xee, 0, cut)
        at += cut
      }
    }
    for (const { length } of responses) {
      // Often in the size that a response begins with, and anywhere.
      if (chance.below(3) > 0) said(end + chance.below(9))
      if (chance.below(3) > 0) said(end + chance.below(length))
      end += length
    }
    said(bytes.length)
    assert.equal(own.got.length, payloads.length)
    for (const [index, { correlationId, payload }] of own.got.entries()) {
      assert.equal(correlationId, index)
      assert.ok(payload.equals(payloads[index] ?? Buffer.alloc(0)), `${index} of seed ${seed}`)
    }
  }
})

test('who claims a response of a size that no broker sends is not believed', async () => {
  for (const size of [-1, 0, 3, 0x7fffffff, 300 * 1024 * 1024]) {
    const own = receiver()
    const head = Buffer.alloc(8)
    head.writeInt32BE(size)
    receive(own, head)
    assert.equal(own.socket?.destroyed, true, `${size}`)
    await new Promise((resolve) => own.socket?.once('close', resolve))
    assert.match(own.said[0]?.message ?? '', new RegExp(`a response of ${size} bytes`))
    assert.deepEqual(own.got, [])
  }
})

const LARGE = 300_000

function large(own: Received, bytes = LARGE): Buffer {
  receive(own, response(0, Buffer.alloc(bytes)))
  const { payload } = own.got.at(-1) ?? {}
  assert.ok(payload)
  return payload
}

const recordOf = (bytes: Buffer) => [{ key: null, value: bytes.subarray(10, 20) }]

test('a buffer is lent again once it was given back, to one reading at a time', async () => {
  const own = receiver()
  await lending(async () => {
    const first = large(own)
    assert.notEqual(large(own).buffer, first.buffer, 'it is still read')
    giveBack(recordOf(first))
    giveBack(recordOf(first))
    const second = large(own, LARGE - 1_000)
    assert.equal(second.buffer, first.buffer)
    assert.equal(second.length, LARGE - 1_000)
    assert.notEqual(large(own).buffer, first.buffer, 'given back twice is lent once')
    giveBack(recordOf(second))
    assert.notEqual(large(own, LARGE / 3).buffer, first.buffer, 'too large for it')
    assert.notEqual(large(own, LARGE * 2).buffer, first.buffer, 'too small for it')
    giveBack(recordOf(Buffer.from(new ArrayBuffer(LARGE + 8))))
    assert.equal(large(own).buffer, first.buffer, 'what others made is theirs')
  })
  const kept = large(own)
  giveBack(recordOf(kept))
  assert.notEqual(large(own).buffer, kept.buffer, 'nobody reads')
  await lending(async () => assert.notEqual(large(own).buffer, kept.buffer))
})

type Connection = {
  connect(): Promise<unknown>
  disconnect(): Promise<unknown>
  send(asked: object): Promise<Buffer>
}
type ConnectionClass = new (options: object) => Connection

const { modules } = patched
type Encoder = new () => object

/** Asks for what no broker would be asked for; resolves to the payload of the answer. */
const asked = {
  request: {
    apiKey: 18,
    apiVersion: 0,
    apiName: 'ApiVersions',
    encode: () => Promise.resolve(new (modules.load<Encoder>('protocol/encoder'))()),
  },
  response: {
    decode: (bytes: Buffer) => Promise.resolve(bytes),
    parse: (bytes: Buffer) => Promise.resolve(bytes),
  },
  logResponseError: false,
}

/** A connection of either kafkajs to a server that answers as told: by its number, and the bytes of the answer. */
async function connectionTo(
  t: TestContext,
  by: Modules,
  answer: (socket: Socket, connection: number, bytes: Buffer) => void,
): Promise<Connection> {
  let connections = 0
  const server = createServer((socket) => {
    const connection = (connections += 1)
    socket.on('error', () => {})
    socket.once('data', (request) =>
      answer(socket, connection, response(request.readInt32BE(8), Buffer.from('answer'))),
    )
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  type Factory = () => (place: Place) => Socket
  type Place = { readonly host: string; readonly port: number; readonly onConnect: () => void }
  const socketFactory =
    by === modules
      ? ({ host, port, onConnect }: Place) => openSocket(host, port, onConnect)
      : by.load<Factory>('network/socketFactory')()
  const connection = new (by.load<ConnectionClass>('network/connection'))({
    host: '127.0.0.1',
    port: (server.address() as AddressInfo).port,
    logger: { namespace: () => ({ debug() {}, error() {}, warn() {} }) },
    socketFactory,
    connectionTimeout: 1_000,
    requestTimeout: 1_000,
  })
  await connection.connect()
  return connection
}

test('kafkajs takes what a broken connection left half done for a beginning; patched, it does not', async (t) => {
  const told = async (by: Modules): Promise<string> => {
    const connection = await connectionTo(t, by, (socket, number, answer) =>
      number === 1 ? socket.end(answer.subarray(0, 6)) : socket.write(answer),
    )
    await assert.rejects(connection.send(asked), /Closed connection/)
    await connection.connect()
    const answer = await connection.send(asked).then(String, (error: Error) => error.name)
    await connection.disconnect()
    return answer
  }
  assert.equal(await told(original.modules), 'KafkaJSRequestTimeoutError')
  assert.equal(await told(modules), 'answer')
})

test('a request to a server that is no broker is refused, and the next connection is taken', async (t) => {
  const connection = await connectionTo(t, modules, (socket, number, answer) =>
    socket.write(number === 1 ? 'HTTP/1.1 400 Bad Request' : answer),
  )
  await assert.rejects(connection.send(asked), /a response of 1213486160 bytes/)
  await connection.connect()
  assert.equal(String(await connection.send(asked)), 'answer')
  await connection.disconnect()
})

test('state of many fetches, read by several tasks at once, is what was written', async () => {
  const tasks = 3
  const world = await kafkaWorld(tasks)
  const sums = new Map<string, string>()
  const sumOf = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')
  for (let at = 0; at < 60; at += 1) {
    const records = Array.from({ length: tasks * 40 }, (_, one) => {
      const value = randomBytes(2_500)
      const partition = one % tasks
      sums.set(`${partition}/${at}/${one}`, sumOf(value))
      return { topic: 'state.v1', partition, key: `${at}/${one}`, value, headers: {} } as const
    })
    await world.client.produce(records)
  }
  const log = await world.open('a')
  const seen = new Map<string, string>()
  const read = (task: number): Promise<number> =>
    log.readState(task, 0, ({ key, value }) => {
      assert.ok(key && value)
      seen.set(`${task}/${key.toString()}`, sumOf(value))
      return false
    })
  await Promise.all([read(0), read(1), read(2)])
  assert.deepEqual(seen, sums)
  let count = 0
  const stopped = await log.readState(0, 0, () => (count += 1) === 1_500)
  assert.equal(stopped, 1_500, 'what is on its way when a reading ends is nobody else’s')
  seen.clear()
  await Promise.all([read(0), read(1), read(2)])
  assert.deepEqual(seen, sums)
  await Promise.all([log.close(), world.close()])
})
