// An echo service without the kit, so that it can lie: what it does now stands in a mode file ({lie, untilMs}, or {output,
// untilMs} for what it says of files). Honest, it answers as services/echo does, a pure function of the request. Logs
// every execution as services/echo does.
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { create, toBinary, type DescMessage, type DescMethodUnary } from '@bufbuild/protobuf'
import {
  Metadata,
  Server,
  ServerCredentials,
  status,
  type handleServerStreamingCall,
} from '@grpc/grpc-js'
import { EchoFileService } from '#proto/wellspring/steps/echo/v1/echo_file_pb.ts'
import { EchoErrorSchema, EchoService } from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import { grpcMethod } from '../../proto/grpc.ts'
import { errorTable, failureOf, statusOf } from '../../services/kit/errors.ts'
import { addDescribe, digestOf, isMissing, log, textOf, type Asked } from './echoes.ts'
import type { Output } from './kinds/draw.ts'
import { keepIn, lieAbout } from './kinds/outputs.ts'
import type { Lie } from './schedule.ts'

export type Mode = { readonly lie?: Lie; readonly output?: Output; readonly untilMs: number }

const limits = { slowMs: 1_500, lateMs: 12_000, hangMs: 60_000, workMs: 20, busyMs: 100 } as const
const table = errorTable(EchoErrorSchema)
const modeFile = process.env['FAULTS_MODE'] ?? ''
const store = process.env['WELLSPRING_STORE'] ?? ''

const server = new Server()
for (const service of [EchoService, EchoFileService])
  server.addService(
    Object.fromEntries(
      service.methods.map((method) => {
        const definition = grpcMethod(method as DescMethodUnary<DescMessage, DescMessage>)
        // On the wire a stream of one message is a unary answer; of two, it is an answer given twice.
        const stream = { responseStream: true, responseSerialize: (bytes: Buffer) => bytes }
        return [method.name, { ...definition, ...stream }]
      }),
    ),
    Object.fromEntries(
      service.methods.map((method) => {
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
addDescribe(server, [EchoService, EchoFileService])
const listen = process.env['WELLSPRING_LISTEN'] ?? '127.0.0.1:0'
server.bindAsync(listen, ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error
  process.stdout.write(`${JSON.stringify({ ready: 'liar', address: `127.0.0.1:${port}` })}\n`)
})
process.once('SIGTERM', () => process.exit(0))

/** The messages of the answer, of which there should be one. */
async function answer(method: DescMethodUnary, request: Asked): Promise<Buffer[]> {
  const start = Date.now()
  const { lie, output } = modeNow()
  let outcome: string = 'aborted'
  try {
    if (lie === 'refuse') throw table.fail('BUSY', 'no slot', limits.busyMs)
    if (lie === 'unavailable') throw new Error('gone')
    await sleep(pauses[lie ?? 'none'] ?? limits.workMs)
    if (isMissing(request)) throw table.fail('NOT_YET', `${request.image?.uri} is not there`)
    const text = textOf(request)
    const files = method.parent === EchoFileService ? await fileOf(text, output) : {}
    outcome = lie === undefined || lie in pauses ? 'ok' : lie
    if (output !== undefined && 'file' in files) outcome = output
    if (lie === 'garbage') return [Buffer.from('ffffffffffffff', 'hex')]
    if (lie === 'empty') return [Buffer.alloc(0)]
    const digest = lie === 'short' ? 'short' : digestOf(text)
    const members = request.members === undefined ? {} : { members: request.members.length }
    const encode = (text: string): Buffer =>
      Buffer.from(
        toBinary(method.output, create(method.output, { digest: text, ...members, ...files })),
      )
    return lie === 'twice' ? [encode(digest), encode('0'.repeat(64))] : [encode(digest)]
  } catch (error) {
    outcome = lie ?? 'NOT_YET'
    throw error
  } finally {
    log(request.context, { start, end: Date.now(), outcome })
  }
}

/** The file that a response names, and what it is in truth. */
async function fileOf(text: string, output: Output | undefined): Promise<{ file: object }> {
  return { file: output === undefined ? await keepIn(store, text) : await lieAbout(output, store) }
}

const pauses: Readonly<Record<string, number>> = {
  hang: limits.hangMs,
  late: limits.lateMs,
  slow: limits.slowMs,
}

function modeNow(): Partial<Mode> {
  try {
    const mode = JSON.parse(readFileSync(modeFile, 'utf8')) as Mode
    return Date.now() < mode.untilMs ? mode : {}
  } catch {
    return {} // nothing is wanted
  }
}

function grpcError(error: unknown): { code: number; details: string; metadata: Metadata } {
  if (error instanceof Error && error.message === 'gone')
    return { code: status.UNAVAILABLE, details: 'gone', metadata: new Metadata() }
  return statusOf(failureOf(error), 'wellspring.steps.echo.v1')
}
