// An echo service without the kit, so that it can lie: what it does now stands in a mode file ({lie, untilMs}). Honest,
// it answers as services/echo does, a pure function of the request. Logs every execution as services/echo does.
import { createHash } from 'node:crypto'
import { appendFileSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { DescMessage, DescMethodUnary } from '@bufbuild/protobuf'
import { create, toBinary } from '@bufbuild/protobuf'
import type { handleServerStreamingCall } from '@grpc/grpc-js'
import { Metadata, Server, ServerCredentials, status } from '@grpc/grpc-js'
import type { CallContext } from '#proto/wellspring/step/v1/call_pb.ts'
import {
  DescribeResponseSchema,
  StepIntrospectionService,
} from '#proto/wellspring/step/v1/introspection_pb.ts'
import { EchoErrorSchema, EchoService } from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import { contractDigest } from '../../proto/digest.ts'
import { grpcMethod } from '../../proto/grpc.ts'
import { errorTable, failureOf, statusOf } from '../../services/kit/errors.ts'
import type { Lie } from './schedule.ts'

export type Mode = { readonly lie: Lie; readonly untilMs: number }

/** What the requests of all echo methods may hold. */
type Asked = {
  readonly context?: CallContext
  readonly image?: { readonly sha256: string }
  readonly previous?: string
  readonly members?: readonly { readonly name: string; readonly digest: string }[]
  readonly holes?: readonly string[]
}

const limits = { slowMs: 1_500, lateMs: 12_000, hangMs: 60_000, workMs: 20, busyMs: 100 } as const
const table = errorTable(EchoErrorSchema)
const modeFile = process.env['FAULTS_MODE'] ?? ''
const logFile = process.env['WELLSPRING_ECHO_LOG']

const server = new Server()
server.addService(
  Object.fromEntries(
    EchoService.methods.map((method) => {
      const definition = grpcMethod(method as DescMethodUnary<DescMessage, DescMessage>)
      // On the wire a stream of one message is a unary answer; of two, it is an answer given twice.
      const stream = { responseStream: true, responseSerialize: (bytes: Buffer) => bytes }
      return [method.name, { ...definition, ...stream }]
    }),
  ),
  Object.fromEntries(
    EchoService.methods.map((method) => {
      const handler: handleServerStreamingCall<Asked, Buffer> = (call) => {
        answer(method as DescMethodUnary, call.request).then(
          (messages) => {
            for (const bytes of messages) call.write(bytes)
            call.end()
          },
          (error: unknown) => call.emit('error', grpcError(error)),
        )
      }
      return [method.name, handler]
    }),
  ),
)
server.addService(
  { Describe: grpcMethod(StepIntrospectionService.method.describe) },
  {
    Describe: (_call: unknown, callback: (error: null, response: object) => void) => {
      const contracts = [
        { service: EchoService.typeName, contractDigest: contractDigest(EchoService) },
      ]
      callback(null, create(DescribeResponseSchema, { version: 'faults', contracts }))
    },
  },
)
const listen = process.env['WELLSPRING_LISTEN'] ?? '127.0.0.1:0'
server.bindAsync(listen, ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error
  process.stdout.write(`${JSON.stringify({ ready: 'liar', address: `127.0.0.1:${port}` })}\n`)
})
process.once('SIGTERM', () => process.exit(0))

/** The messages of the answer, of which there should be one. */
async function answer(method: DescMethodUnary, request: Asked): Promise<Buffer[]> {
  const start = Date.now()
  const lie = lieNow()
  let outcome: string = 'aborted'
  try {
    if (lie === 'refuse') throw table.fail('BUSY', 'no slot', limits.busyMs)
    if (lie === 'unavailable') throw new Error('gone')
    await sleep(pauses[lie ?? 'none'] ?? limits.workMs)
    outcome = lie === undefined || lie in pauses ? 'ok' : lie
    if (lie === 'garbage') return [Buffer.from('ffffffffffffff', 'hex')]
    if (lie === 'empty') return [Buffer.alloc(0)]
    const digest = lie === 'short' ? 'short' : digestOf(request)
    const members = request.members === undefined ? {} : { members: request.members.length }
    const encode = (text: string): Buffer =>
      Buffer.from(toBinary(method.output, create(method.output, { digest: text, ...members })))
    return lie === 'twice' ? [encode(digest), encode('0'.repeat(64))] : [encode(digest)]
  } catch (error) {
    outcome = String(lie)
    throw error
  } finally {
    log(request.context, { start, end: Date.now(), outcome })
  }
}

const pauses: Readonly<Record<string, number>> = {
  hang: limits.hangMs,
  late: limits.lateMs,
  slow: limits.slowMs,
}

function lieNow(): Lie | undefined {
  try {
    const mode = JSON.parse(readFileSync(modeFile, 'utf8')) as Mode
    return Date.now() < mode.untilMs ? mode.lie : undefined
  } catch {
    return undefined // nothing is wanted
  }
}

/** As services/echo makes it. */
function digestOf({ image, previous, members, holes = [] }: Asked): string {
  const parts = members
    ? [...members.map(({ name, digest }) => `${name}=${digest}`), ...holes]
    : [image?.sha256 ?? '', previous ?? '']
  return createHash('sha256').update(parts.join('\n')).digest('hex')
}

function log(
  context: CallContext | undefined,
  what: { readonly start: number; readonly end: number; readonly outcome: string },
): void {
  if (logFile === undefined || context === undefined) return
  const { entity, step, attempt, effectKey: key } = context
  // No process noted: without the kit it keeps no promise of one execution at a time.
  const line = { key, attempt, entity, step, ...what, pid: 0 }
  appendFileSync(logFile, `${JSON.stringify(line)}\n`)
}

function grpcError(error: unknown): { code: number; details: string; metadata: Metadata } {
  if (error instanceof Error && error.message === 'gone')
    return { code: status.UNAVAILABLE, details: 'gone', metadata: new Metadata() }
  return statusOf(failureOf(error), 'wellspring.steps.echo.v1')
}
