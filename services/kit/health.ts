// grpc.health.v1.Health, by hand: two messages of one field each (https://github.com/grpc/grpc-proto, health.proto).
import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire'
import {
  status,
  type Server,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
} from '@grpc/grpc-js'

export const Serving = { SERVING: 1, NOT_SERVING: 2, SERVICE_UNKNOWN: 3 } as const
export type Serving = (typeof Serving)[keyof typeof Serving]

export type Health = {
  /** Tells everybody NOT_SERVING and ends their streams, which would hold up a drain. */
  close(): void
}

/** Adds the health service, which answers for the whole server ("") and for each service name. */
export function addHealth(server: Server, services: readonly string[]): Health {
  const known = new Set(['', ...services])
  const watchers = new Set<ServerWritableStream<Asked, Serving>>()
  let now: Serving = Serving.SERVING
  const path = '/grpc.health.v1.Health'
  const shape = {
    requestStream: false,
    requestSerialize: encodeRequest,
    requestDeserialize: decodeRequest,
    responseSerialize: encodeResponse,
    responseDeserialize: () => Serving.SERVICE_UNKNOWN,
  }
  server.addService(
    {
      check: { ...shape, path: `${path}/Check`, responseStream: false },
      watch: { ...shape, path: `${path}/Watch`, responseStream: true },
    },
    {
      check(call: ServerUnaryCall<Asked, Serving>, answer: sendUnaryData<Serving>) {
        if (known.has(call.request.service)) answer(null, now)
        else
          answer({ code: status.NOT_FOUND, details: `no service "${call.request.service}" here` })
      },
      watch(call: ServerWritableStream<Asked, Serving>) {
        call.write(known.has(call.request.service) ? now : Serving.SERVICE_UNKNOWN)
        if (!known.has(call.request.service)) return
        watchers.add(call)
        call.on('cancelled', () => watchers.delete(call))
      },
    },
  )
  return {
    close() {
      now = Serving.NOT_SERVING
      for (const watcher of watchers) {
        watcher.write(now)
        watcher.end()
      }
    },
  }
}

/** An object, since grpc-js takes a message that is falsy, such as "", for none. */
type Asked = { readonly service: string }

function encodeRequest({ service }: Asked): Buffer {
  return Buffer.from(new BinaryWriter().tag(1, WireType.LengthDelimited).string(service).finish())
}

function decodeRequest(bytes: Buffer): Asked {
  const reader = new BinaryReader(bytes)
  let service = ''
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag()
    if (field === 1) service = reader.string()
    else reader.skip(type)
  }
  return { service }
}

function encodeResponse(serving: Serving): Buffer {
  return Buffer.from(new BinaryWriter().tag(1, WireType.Varint).int32(serving).finish())
}
