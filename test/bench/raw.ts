// The raw loop, a process of its own: three unary calls in a row per image with grpc-js alone, so many images in
// flight. Told what to do by its parent, answers with milliseconds.
import { randomBytes } from 'node:crypto'
import { Client, credentials, Metadata } from '@grpc/grpc-js'
import { create } from '@bufbuild/protobuf'
import {
  EchoImageRequestSchema,
  EchoService,
  type EchoImageRequest,
  type EchoImageResponse,
} from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import { grpcMethod } from '../../proto/grpc.ts'

export type RawOrder = {
  readonly address: string
  readonly images: number
  readonly inFlight: number
}
export type RawAnswer = { readonly ms: number }

const deadlineMs = 10_000
const { path, requestSerialize, responseDeserialize } = grpcMethod(EchoService.method.echoImage)
const template = create(EchoImageRequestSchema, {
  image: { uri: 'file:///images/x.tif', sizeBytes: 1, sha256: '0'.repeat(64) },
  context: {
    identity: {
      experiment: 'E',
      plate: 'raw',
      acquisition: 'a1',
      well: 'A01',
      timePoint: 0,
      site: 1,
      z: 0,
      channel: 'w1',
    },
    entity: 'E/raw/a1/A01/t0/s1/z0/w1',
    step: 'echo-first',
    pipeline: 'echo-chain-1',
    attempt: 1,
    generation: 1,
  },
})
const clients = new Map<string, Client>()

process.on('message', (order: RawOrder) => {
  void loop(order).then((answer) => process.send?.(answer))
})
process.on('disconnect', () => process.exit(0))

async function loop({ address, images, inFlight }: RawOrder): Promise<RawAnswer> {
  const client = clients.get(address) ?? new Client(address, credentials.createInsecure())
  clients.set(address, client)
  const startMs = performance.now()
  let left = images
  const worker = async (): Promise<void> => {
    while (left > 0) {
      left -= 1
      let previous = ''
      for (let step = 0; step < 3; step += 1)
        previous = (await call(client, requestOf(previous))).digest
    }
  }
  await Promise.all(Array.from({ length: inFlight }, worker))
  return { ms: performance.now() - startMs }
}

function requestOf(previous: string): EchoImageRequest {
  const { context, ...rest } = template
  if (context === undefined) return template
  return {
    ...rest,
    previous,
    context: { ...context, idempotencyKey: randomBytes(16).toString('hex') },
  }
}

function call(client: Client, request: EchoImageRequest): Promise<EchoImageResponse> {
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(
      path,
      requestSerialize,
      responseDeserialize,
      request,
      new Metadata(),
      { deadline: Date.now() + deadlineMs },
      (error, response) => (response ? resolve(response) : reject(error ?? new Error('no answer'))),
    )
  })
}
