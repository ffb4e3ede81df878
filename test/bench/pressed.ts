// A step service of a process of its own: so many slots, so long a call. Its parent sets both, hangs it, and is told
// what happened since it last did. Without the kit, so that nothing but this decides what is answered.
import { setTimeout as sleep } from 'node:timers/promises'
import {
  create,
  toBinary,
  type DescEnum,
  type DescMessage,
  type DescMethodUnary,
  type DescService,
} from '@bufbuild/protobuf'
import { Server, ServerCredentials, type ServerUnaryCall, type sendUnaryData } from '@grpc/grpc-js'
import type { CallContext } from '#proto/wellspring/step/v1/call_pb.ts'
import {
  DescribeResponseSchema,
  StepIntrospectionService,
} from '#proto/wellspring/step/v1/introspection_pb.ts'
import { EchoErrorSchema, EchoService } from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import {
  ImageQualityErrorSchema,
  ImageQualityService,
} from '#proto/wellspring/steps/imagequality/v1/image_quality_pb.ts'
import { contractDigest } from '../../proto/digest.ts'
import { grpcMethod } from '../../proto/grpc.ts'
import { PatientService } from '../pipelines/echo-patient.ts'
import { errorTable, failureOf, statusOf } from '../../services/kit/errors.ts'

export type Setting = { readonly slots: number; readonly workMs: number; readonly hangs: boolean }

/** Since the last setting. */
export type Happened = {
  answered: number
  refused: number
  /** Calls that came with a number above 1. */
  repeated: number
  inFlightMax: number
  /** Most calls that came within a second. */
  perSecondMax: number
}

export type Kind = 'echo' | 'quality' | 'patient'

type Handled = { readonly service: DescService; readonly errors: DescEnum }
const { echoImage } = EchoService.method
const { assessImage } = ImageQualityService.method
const served: Readonly<Record<Kind, Handled>> = {
  echo: { service: EchoService, errors: EchoErrorSchema },
  patient: { service: PatientService, errors: EchoErrorSchema },
  quality: { service: ImageQualityService, errors: ImageQualityErrorSchema },
}
const answers: Readonly<Record<string, Buffer>> = {
  [echoImage.name]: bytesOf(echoImage, { digest: '0'.repeat(64) }),
  [assessImage.name]: bytesOf(assessImage, {
    widthPx: 1,
    heightPx: 1,
    intensity: {},
    saturation: {},
    focus: {},
    metricSet: 'bench',
  }),
}
const BUSY_MS = 100
const WINDOW_MS = 1_000

const { service, errors } = served[process.argv[2] as Kind] ?? fail()
const table = errorTable(errors)
let setting: Setting = { slots: 1, workMs: 1, hangs: false }
let release = Promise.withResolvers<void>()
let inFlight = 0
let happened = nothing()
let came: number[] = []

function nothing(): Happened {
  return { answered: 0, refused: 0, repeated: 0, inFlightMax: 0, perSecondMax: 0 }
}

process.on('message', (next: Setting) => {
  if (!next.hangs) release.resolve()
  else if (!setting.hangs) release = Promise.withResolvers()
  setting = next
  process.send?.(happened)
  happened = { ...nothing(), inFlightMax: inFlight }
  came = []
})
process.on('disconnect', () => process.exit(0))

type Call = ServerUnaryCall<{ readonly context?: CallContext }, Buffer>

async function answer(method: string, call: Call): Promise<Buffer> {
  count(call.request.context?.attempt ?? 0)
  if (setting.hangs) await release.promise
  // Nobody waits for it any more.
  if (call.cancelled) return Buffer.alloc(0)
  if (inFlight >= setting.slots) {
    happened.refused += 1
    throw table.fail('BUSY', 'no slot', BUSY_MS)
  }
  inFlight += 1
  happened.inFlightMax = Math.max(happened.inFlightMax, inFlight)
  await sleep(setting.workMs)
  inFlight -= 1
  if (setting.hangs) await release.promise
  if (!call.cancelled) happened.answered += 1
  return answers[method] ?? fail()
}

function count(attempt: number): void {
  const nowMs = performance.now()
  came.push(nowMs)
  while ((came[0] ?? nowMs) < nowMs - WINDOW_MS) came.shift()
  happened.perSecondMax = Math.max(happened.perSecondMax, came.length)
  if (attempt > 1) happened.repeated += 1
}

function bytesOf(
  method: DescMethodUnary<DescMessage, DescMessage>,
  fields: Record<string, unknown>,
): Buffer {
  return Buffer.from(toBinary(method.output, create(method.output, fields)))
}

function fail(): never {
  throw new Error('want echo, quality or patient')
}

const server = new Server()
const methods = service.methods as DescMethodUnary<DescMessage, DescMessage>[]
server.addService(
  Object.fromEntries(
    methods.map((method) => {
      const definition = grpcMethod(method)
      return [method.name, { ...definition, responseSerialize: (bytes: Buffer) => bytes }]
    }),
  ),
  Object.fromEntries(
    methods.map((method) => [
      method.name,
      (call: Call, callback: sendUnaryData<Buffer>) => {
        answer(method.name, call).then(
          (bytes) => callback(null, bytes),
          (error: unknown) => callback(statusOf(failureOf(error), service.file.proto.package)),
        )
      },
    ]),
  ),
)
server.addService(
  { Describe: grpcMethod(StepIntrospectionService.method.describe) },
  {
    Describe: (_call: unknown, callback: (error: null, response: object) => void) => {
      const contracts = [{ service: service.typeName, contractDigest: contractDigest(service) }]
      callback(null, create(DescribeResponseSchema, { version: 'bench', contracts }))
    },
  },
)
server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error
  process.send?.({ address: `127.0.0.1:${port}` })
})
