// What the echo services of a run without the kit have in common: the right answer, the log of executions, and how a
// contract is told.
import { createHash, randomUUID } from 'node:crypto'
import { appendFileSync, existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { create, type DescService } from '@bufbuild/protobuf'
import type { Server } from '@grpc/grpc-js'
import type { CallContext } from '#proto/wellspring/step/v1/call_pb.ts'
import {
  DescribeResponseSchema,
  StepIntrospectionService,
} from '#proto/wellspring/step/v1/introspection_pb.ts'
import { fileDescriptorSet } from '../../proto/descriptor-set.ts'
import { contractDigest } from '../../proto/digest.ts'
import { grpcMethod } from '../../proto/grpc.ts'

/** What the requests of all echo methods may hold. */
export type Asked = {
  readonly context?: CallContext
  readonly image?: { readonly sha256: string; readonly uri?: string }
  readonly previous?: string
  readonly members?: readonly { readonly name: string; readonly digest: string }[]
  readonly holes?: readonly string[]
}

const logFile = process.env['WELLSPRING_ECHO_LOG']

/** As in services/echo: an image below a directory must be there. */
export function isMissing({ image }: Asked): boolean {
  const below = process.env['WELLSPRING_ECHO_PRESENT_BELOW']
  const uri = image?.uri
  if (below === undefined || !uri?.startsWith(`${below}/`)) return false
  return !existsSync(fileURLToPath(uri))
}

/** What services/echo digests. */
export function textOf({ image, previous, members, holes = [] }: Asked): string {
  const parts = members
    ? [...members.map(({ name, digest }) => `${name}=${digest}`), ...holes]
    : [image?.sha256 ?? '', previous ?? '']
  return parts.join('\n')
}

export const digestOf = (text: string): string => createHash('sha256').update(text).digest('hex')

export function log(
  context: CallContext | undefined,
  what: { readonly start: number; readonly end: number; readonly outcome: string },
): void {
  if (logFile === undefined || context === undefined) return
  const { entity, step, attempt, idempotencyKey: key } = context
  // No process noted: without the kit it keeps no promise of one execution at a time.
  const line = { key, attempt, entity, step, ...what, pid: 0 }
  appendFileSync(logFile, `${JSON.stringify(line)}\n`)
}

export function addDescribe(server: Server, services: readonly DescService[]): void {
  const contracts = services.map((service) => ({
    service: service.typeName,
    contractDigest: contractDigest(service),
    fileDescriptorSet: fileDescriptorSet(service),
  }))
  const instance = randomUUID()
  const description = create(DescribeResponseSchema, { version: 'faults', contracts, instance })
  server.addService(
    { Describe: grpcMethod(StepIntrospectionService.method.describe) },
    {
      Describe: (_call: unknown, callback: (error: null, response: object) => void) =>
        callback(null, description),
    },
  )
}
