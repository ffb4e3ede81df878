// An echo service of another version: two fields of a request have changed places (renumbered), or there is one more
// (grown). It tells its own contract, and answers by it.
import { setTimeout as sleep } from 'node:timers/promises'
import {
  clone,
  create,
  createFileRegistry,
  type DescFile,
  type DescMethodUnary,
  type DescService,
} from '@bufbuild/protobuf'
import {
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
  type DescriptorProto,
} from '@bufbuild/protobuf/wkt'
import { Server, ServerCredentials, type handleUnaryCall } from '@grpc/grpc-js'
import { EchoImageRequestSchema, EchoService } from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import { grpcMethod } from '../../proto/grpc.ts'
import { addDescribe, digestOf, log, textOf, type Asked } from './echoes.ts'

const limits = { workMs: 20 } as const
const variant = process.env['FAULTS_VARIANT']
const NEW_FIELD = 90

const changes: Readonly<Record<string, (message: DescriptorProto) => void>> = {
  renumbered(message) {
    const [image, previous] = ['image', 'previous'].map((name) =>
      message.field.find((field) => field.name === name),
    )
    if (!image || !previous) throw new Error('the echo contract has other fields by now')
    ;[image.number, previous.number] = [previous.number, image.number]
  },
  grown(message) {
    const like = message.field.find((field) => field.name === 'previous')
    if (!like) throw new Error('the echo contract has other fields by now')
    message.field.push({ ...like, name: 'comment', jsonName: 'comment', number: NEW_FIELD })
  },
}

const service = rebuilt()
const server = new Server()
server.addService(
  Object.fromEntries(service.methods.map((one) => [one.name, grpcMethod(one as DescMethodUnary)])),
  Object.fromEntries(
    service.methods.map((method) => {
      const handler: handleUnaryCall<Asked, object> = ({ request }, callback) => {
        const members = request.members === undefined ? {} : { members: request.members.length }
        void answer(request).then((digest) =>
          callback(null, create(method.output, { digest, ...members })),
        )
      }
      return [method.name, handler]
    }),
  ),
)
addDescribe(server, [service])
const listen = process.env['WELLSPRING_LISTEN'] ?? '127.0.0.1:0'
server.bindAsync(listen, ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error
  process.stdout.write(`${JSON.stringify({ ready: 'odd', address: `127.0.0.1:${port}` })}\n`)
})
process.once('SIGTERM', () => process.exit(0))

async function answer(request: Asked): Promise<string> {
  const start = Date.now()
  await sleep(limits.workMs)
  log(request.context, { start, end: Date.now(), outcome: variant === 'grown' ? 'ok' : 'odd' })
  return digestOf(textOf(request))
}

/** The echo service as another build has it. */
function rebuilt(): DescService {
  const files = new Map<string, ReturnType<typeof copy>>()
  const copy = (file: DescFile) => clone(FileDescriptorProtoSchema, file.proto)
  const collect = (file: DescFile): void => {
    for (const dependency of file.dependencies) collect(dependency)
    if (!files.has(file.name)) files.set(file.name, copy(file))
  }
  collect(EchoService.file)
  const own = files.get(EchoService.file.name)
  const message = own?.messageType.find(({ name }) => name === EchoImageRequestSchema.name)
  const change = changes[variant ?? '']
  if (!message || !change) throw new Error(`FAULTS_VARIANT="${variant}" is none`)
  change(message)
  const set = create(FileDescriptorSetSchema, { file: [...files.values()] })
  const found = createFileRegistry(set).getService(EchoService.typeName)
  if (!found) throw new Error('the echo service is gone from its own file')
  return found
}
