// The echo service: answers with a digest of what it was asked. Delays, failures and a log of every execution are
// set by the environment, so that tests can judge what happened how often.
import { createHash } from 'node:crypto'
import { appendFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { EchoMember } from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import { EchoErrorSchema, EchoService } from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import type { CallContext } from '#proto/wellspring/step/v1/call_pb.ts'
import type { Call } from '../kit/serve.ts'
import { serve } from '../kit/serve.ts'

const delayMs = Number(process.env['WELLSPRING_ECHO_DELAY_MS'] ?? 0)
const logPath = process.env['WELLSPRING_ECHO_LOG']
const failures = new Map<string, number>()
const script = readScript(process.env['WELLSPRING_ECHO_FAIL'])

await serve({
  name: 'echo',
  version: '1.0.0',
  service: EchoService,
  errors: EchoErrorSchema,
  handlers: {
    echoImage: ({ context, image, previous }, call) =>
      echo(context, call, () => ({ digest: digestOf(image?.sha256 ?? '', previous) })),
    echoImageOnce: ({ context, image, previous }, call) =>
      echo(context, call, () => ({ digest: digestOf(image?.sha256 ?? '', previous) })),
    echoSite: ({ context, members }, call) => echo(context, call, () => echoOf(members)),
    echoWell: ({ context, members }, call) => echo(context, call, () => echoOf(members)),
    echoPlate: ({ context, members, holes }, call) =>
      echo(context, call, () => ({
        ...echoOf(members),
        digest: digestOf(...texts(members), ...holes),
      })),
  },
})

async function echo<T>(context: CallContext | undefined, call: Call, answer: () => T): Promise<T> {
  const start = Date.now()
  let outcome = 'aborted'
  try {
    if (delayMs > 0) await sleep(delayMs, undefined, { signal: call.signal })
    const reason = context === undefined ? undefined : scripted(context)
    outcome = reason ?? 'ok'
    if (reason !== undefined) throw call.fail(reason, `asked to fail with ${reason}`)
    return answer()
  } finally {
    if (logPath !== undefined && context !== undefined) {
      const { entity, step, attempt, effectKey: key } = context
      const { pid } = process
      const line = { key, attempt, entity, step, start, end: Date.now(), outcome, pid }
      appendFileSync(logPath, `${JSON.stringify(line)}\n`)
    }
  }
}

function echoOf(members: readonly EchoMember[]): { digest: string; members: number } {
  return { digest: digestOf(...texts(members)), members: members.length }
}

function texts(members: readonly EchoMember[]): string[] {
  return members.map(({ name, digest }) => `${name}=${digest}`)
}

function digestOf(...parts: readonly string[]): string {
  return createHash('sha256').update(parts.join('\n')).digest('hex')
}

type Script = { readonly part: string; readonly reason: string; readonly times: number }

/** {"B02/t0/s1": {"reason": "NOT_YET", "times": 2}}: a matching entity's first executions of a step fail. */
function readScript(text: string | undefined): readonly Script[] {
  if (text === undefined || text === '') return []
  const parsed = JSON.parse(text) as Record<string, { reason: string; times?: number }>
  return Object.entries(parsed).map(([part, { reason, times }]) => ({
    part,
    reason,
    times: times ?? Number.POSITIVE_INFINITY,
  }))
}

/** The reason that an execution fails with by the script; counts from the process's start, per entity and step. */
function scripted({ entity, step }: CallContext): string | undefined {
  for (const { part, reason, times } of script) {
    if (!entity.includes(part)) continue
    const counter = `${part}\n${entity}\n${step}`
    const count = failures.get(counter) ?? 0
    if (count >= times) continue
    failures.set(counter, count + 1)
    return reason
  }
  return undefined
}
