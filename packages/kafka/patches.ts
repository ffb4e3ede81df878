// kafkajs 2.2.4 as this project uses it: patched when this file is loaded. Its last release is of 2023, so the
// code under the patches does not move; each patch has a test that fails without it.
import { AsyncLocalStorage } from 'node:async_hooks'
import { EventEmitter } from 'node:events'
import { createRequire } from 'node:module'
import type { Socket } from 'node:net'
import { dirname, join, sep } from 'node:path'
import type * as kafkajsModule from 'kafkajs'
import { PartitionBatch } from './fetched.ts'
import { groupByPartition } from './patched.ts'
import type { WriterId } from './records.ts'
import { batchesIn } from './record-decoder.ts'
import {
  DELTA_MAX,
  encodeBatch,
  encodeRecord,
  type BatchInit,
  type Encoded,
  type RecordInit,
} from './record-encoder.ts'
import { receive, type Receiver } from './responses.ts'
import { retried, type Patience } from './retried.ts'

export type Kafkajs = typeof kafkajsModule

/** Modules of one copy of kafkajs, by their path under its `src`. */
export type Modules = {
  readonly load: <T>(path: string) => T
  readonly replace: (path: string, exports: unknown) => void
}

export type Patch = (modules: Modules) => void

/** What the patched client reports beyond kafkajs's own events. Moments are of `performance.now()`. */
export const reports = new EventEmitter<{
  /** A heartbeat sent at this moment was answered OK. */
  heartbeat: [memberId: string, sentAtMs: number]
  /** The position is outside the log; the partition is paused. */
  outOfRange: [memberId: string, topic: string, partition: number]
}>()
reports.setMaxListeners(0)

/** By member id: the generation it last joined, and what its assignment carried. */
export const memberships = new Map<string, { generation: number; assignment?: Buffer }>()

/** What the first `transaction()` of a producer tells: the id it was given, and the connection it was given on. */
export type Claim = { id?: WriterId; connection?: { readonly socket: Socket | null } }

/** Runs around it. */
export const writerIds = new AsyncLocalStorage<Claim>()

const busy: Patience = { firstMs: 1, maxMs: 20, totalMs: 10_000 }

type Request<Ask, Answer> = (this: Broker, request: Ask) => Promise<Answer>

type Broker = {
  addPartitionsToTxn: Request<unknown, unknown>
  initProducerId: Request<unknown, { producerId: string; producerEpoch: number }>
  joinGroup: Request<unknown, { memberId: string; generationId: number }>
  syncGroup: Request<{ memberId: string }, { memberAssignment: Buffer }>
  heartbeat: Request<{ memberId: string }, unknown>
  /** Its first connection carries all but fetches. */
  connectionPool: { getConnection(): Promise<Connection> }
}

type Cluster = {
  findGroupCoordinatorMetadata: (
    this: Cluster,
    request: { groupId: string; coordinatorType: number },
  ) => Promise<unknown>
}

const TRANSACTION_COORDINATOR = 1

type ConsumerGroup = {
  memberId: string
  pause(partitions: { topic: string; partitions: number[] }[]): void
  recoverFromOffsetOutOfRange(error: { topic: string; partition: number }): Promise<void>
}

type Connection = {
  socket: Socket | null
  chunks: Buffer[]
  bytesBuffered: number
  bytesNeeded: number
  send: (this: Connection, request: unknown) => Promise<unknown>
  rejectRequests(error: unknown): void
  disconnect(): Promise<unknown>
}

type RequestQueue = {
  pending: unknown[]
  scheduleCheckPendingRequests: (this: RequestQueue) => void
}

type Growing = {
  buf: Buffer
  offset: number
  ensureAvailable(this: Growing, length: number): void
}

type ProtocolError = { type: string; code: number; retriable: boolean; message: string }

/** In the order they are applied: replaced modules before those that use them. */
export const patches = {
  /** P3: kafkajs's grouping is quadratic, 6 s for 20,000 messages. */
  linearGrouping: ({ replace }) => replace('producer/groupMessagesPerPartition', groupByPartition),

  /** A record costs kafkajs some 45 µs to encode, several buffers and BigInts; a flush has hundreds. */
  recordEncoder({ load, replace }) {
    const path = 'protocol/recordBatch/record/v0'
    const original = load<(record: RecordInit) => Encoded>(path)
    replace(path, (record: RecordInit) =>
      (record.timestampDelta ?? 0) >= 0 && (record.timestampDelta ?? 0) <= DELTA_MAX
        ? encodeRecord(record)
        : original(record),
    )
  },

  /** A batch it copies three times, and takes the checksum byte by byte. */
  batchEncoder({ load }) {
    type Encode = (batch: BatchInit) => Encoded | Promise<Encoded>
    const batches = load<{ RecordBatch: Encode }>('protocol/recordBatch/v0')
    const original = batches.RecordBatch
    batches.RecordBatch = (batch) =>
      (batch.compression ?? 0) === 0 ? encodeBatch(batch) : original(batch)
  },

  /** It grows a request by doubling a buffer of zeros. What is beyond the offset is never sent. */
  growth({ load }) {
    const { prototype } = load<{ prototype: Growing }>('protocol/encoder')
    prototype.ensureAvailable = function (length) {
      const wanted = this.offset + length
      if (wanted <= this.buf.length) return
      const larger = Buffer.allocUnsafe(2 * wanted)
      this.buf.copy(larger, 0, 0, this.offset)
      this.buf = larger
    }
  },

  /**
   * P2, K13: reading a record costs kafkajs as much as all that is done with it, one that is odd or compressed by a codec
   * it lacks ends the consumer, a batch emptied by compaction has no record that would carry a reader past it, and
   * records of aborted transactions are shown when several producers write to a partition. It gets whole batches.
   */
  wholeBatches({ replace }) {
    replace('protocol/requests/fetch/v4/decodeMessages', batchesIn)
    replace('consumer/batch', PartitionBatch)
  },

  /** P1: each idle connection re-arms a timer with a negative delay, 850 wake-ups a second. */
  idleTimer({ load }) {
    const { prototype } = load<{ prototype: RequestQueue }>('network/requestQueue')
    const original = prototype.scheduleCheckPendingRequests
    prototype.scheduleCheckPendingRequests = function () {
      if (this.pending.length > 0) original.call(this)
    }
  },

  /** Codes newer than the client: 90 says that a writer is fenced. */
  errorCodes({ load }) {
    const { errorCodes } = load<{ errorCodes: ProtocolError[] }>('protocol/error')
    errorCodes.push(
      protocolError(
        89,
        'THROTTLING_QUOTA_EXCEEDED',
        'The throttling quota has been exceeded',
        true,
      ),
      protocolError(
        90,
        'PRODUCER_FENCED',
        'There is a newer producer with the same transactionalId',
      ),
      protocolError(
        91,
        'RESOURCE_NOT_FOUND',
        'A request illegally referred to a resource that does not exist',
      ),
      protocolError(
        92,
        'DUPLICATE_RESOURCE',
        'A request illegally referred to the same resource twice',
      ),
    )
  },

  /** K17: while the markers of the last transaction are written the next is refused; nothing was produced yet. */
  busyTransactions({ load }) {
    const { prototype } = load<{ prototype: Broker }>('broker')
    const { addPartitionsToTxn, initProducerId } = prototype
    prototype.addPartitionsToTxn = function (request) {
      return untilFree(() => addPartitionsToTxn.call(this, request))
    }
    // K16: kafkajs itself would wait 300 ms and more before it asks again.
    prototype.initProducerId = function (request) {
      return untilFree(() => initProducerId.call(this, request))
    }
  },

  /**
   * K14: the transaction coordinator is looked up before each of a transaction's requests. Once per writer is enough:
   * whatever goes wrong with the answer ends the writer, and the next one asks anew.
   */
  coordinatorOnce({ load }) {
    const { prototype } = load<{ prototype: Cluster }>('cluster')
    const { findGroupCoordinatorMetadata } = prototype
    const known = new WeakMap<Cluster, Map<string, unknown>>()
    prototype.findGroupCoordinatorMetadata = async function (request) {
      if (request.coordinatorType !== TRANSACTION_COORDINATOR)
        return findGroupCoordinatorMetadata.call(this, request)
      const own = known.get(this) ?? new Map<string, unknown>()
      known.set(this, own)
      const found =
        own.get(request.groupId) ?? (await findGroupCoordinatorMetadata.call(this, request))
      own.set(request.groupId, found)
      return found
    }
  },

  /** The generation, which GROUP_JOIN does not tell, and the assignment's user data. */
  memberships({ load }) {
    const { prototype } = load<{ prototype: Broker }>('broker')
    const { joinGroup, syncGroup } = prototype
    prototype.joinGroup = async function (request) {
      const joined = await joinGroup.call(this, request)
      memberships.set(joined.memberId, { generation: joined.generationId })
      return joined
    }
    prototype.syncGroup = async function (request) {
      const synced = await syncGroup.call(this, request)
      const membership = memberships.get(request.memberId)
      if (membership !== undefined) membership.assignment = synced.memberAssignment
      return synced
    }
  },

  /** When a heartbeat that was answered OK had been sent: a reply buffered across a pause proves nothing newer. */
  heartbeats({ load }) {
    const { prototype } = load<{ prototype: Broker }>('broker')
    const { heartbeat } = prototype
    prototype.heartbeat = async function (request) {
      const sentAtMs = performance.now()
      const answer = await heartbeat.call(this, request)
      reports.emit('heartbeat', request.memberId, sentAtMs)
      return answer
    }
  },

  /**
   * A request that timed out leaves its connection in use: on one that died without a word, all that follow time out
   * too, for ever.
   */
  silentConnections({ load }) {
    const { prototype } = load<{ prototype: Connection }>('network/connection')
    const { send } = prototype
    prototype.send = async function (request) {
      const { socket } = this
      try {
        return await send.call(this, request)
      } catch (error) {
        const isTimeout = (error as { name?: unknown }).name === 'KafkaJSRequestTimeoutError'
        if (isTimeout && socket !== null && socket === this.socket) await drop(this, socket, error)
        throw error
      }
    }
  },

  /**
   * It copies each response once more than it must; and what a connection left half done it takes for the beginning of
   * what the next one says. Authentication, which has its own way of reading, stays as it is.
   */
  responses({ load }) {
    type Receiving = Receiver & { readonly authHandlers: object | null }
    type Process = (this: Receiving, data: Buffer) => void
    const { prototype } = load<{ prototype: { processData: Process } }>('network/connection')
    const { processData } = prototype
    prototype.processData = function (data) {
      if (this.authHandlers === null) receive(this, data)
      else processData.call(this, Buffer.from(data))
    }
  },

  /** The producer id and epoch, and the connection, which kafkajs keeps to itself. */
  writerIds({ load }) {
    const { prototype } = load<{ prototype: Broker }>('broker')
    const { initProducerId } = prototype
    prototype.initProducerId = async function (request) {
      const given = await initProducerId.call(this, request)
      const slot = writerIds.getStore()
      if (slot !== undefined) {
        slot.id = { producerId: Number(given.producerId), epoch: given.producerEpoch }
        slot.connection = await this.connectionPool.getConnection()
      }
      return given
    }
  },

  /** kafkajs would commit an offset in spite of `autoCommit: false` and silently jump to an end of the log. */
  outOfRange({ load }) {
    const { prototype } = load<{ prototype: ConsumerGroup }>('consumer/consumerGroup')
    prototype.recoverFromOffsetOutOfRange = async function ({ topic, partition }) {
      this.pause([{ topic, partitions: [partition] }])
      reports.emit('outOfRange', this.memberId, topic, partition)
    }
  },
} satisfies Record<string, Patch>

/**
 * Loads kafkajs and patches it. Modules that were loaded before are dropped first, since some are replaced and
 * others hold on to them; kafkajs requires its requests late, so a root can hold one copy only.
 */
export function loadKafkajs(
  root: string,
  chosen: readonly Patch[] = Object.values(patches),
): { readonly kafkajs: Kafkajs; readonly modules: Modules } {
  const require = createRequire(join(root, 'package.json'))
  for (const path of Object.keys(require.cache))
    if (path.startsWith(root + sep)) delete require.cache[path]
  const load = <T>(path: string): T => require(join(root, 'src', path)) as T
  const replace = (path: string, exports: unknown): void => {
    load(path)
    const module = require.cache[require.resolve(join(root, 'src', path))]
    if (module === undefined)
      throw new Error(`kafkajs has no module ${path}: patches.ts fits 2.2.4 only`)
    module.exports = exports
  }
  const modules = { load, replace }
  for (const patch of chosen) patch(modules)
  return { kafkajs: require(root) as Kafkajs, modules }
}

/** Where kafkajs is installed. */
export const kafkajsRoot = dirname(createRequire(import.meta.url).resolve('kafkajs/package.json'))

/** The patched client, the only one this project talks to Kafka with. */
export const { kafkajs, modules } = loadKafkajs(kafkajsRoot)

function untilFree<T>(request: () => Promise<T>): Promise<T> {
  const isBusy = (error: unknown): boolean =>
    (error as { type?: unknown }).type === 'CONCURRENT_TRANSACTIONS'
  return retried(request, busy, isBusy)
}

/** The old socket may say nothing any more: its end would be taken for that of its successor. */
async function drop(connection: Connection, socket: Socket, error: unknown): Promise<void> {
  socket
    .removeAllListeners()
    .on('error', () => {})
    .destroy()
  connection.chunks = []
  connection.bytesBuffered = 0
  connection.bytesNeeded = 4
  connection.rejectRequests(error)
  await connection.disconnect()
}

function protocolError(
  code: number,
  type: string,
  message: string,
  retriable = false,
): ProtocolError {
  return { code, type, message, retriable }
}
