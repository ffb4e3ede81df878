// What the echo services have in common: delays, failures and a log of every execution are set by the environment, so
// that tests can judge what happened how often.
import { createHash } from 'node:crypto'
import { appendFileSync, existsSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Artifact } from '#proto/wellspring/lab/v1/artifact_pb.ts'
import type { CallContext } from '#proto/wellspring/step/v1/call_pb.ts'
import type { EchoMember } from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import type { Call } from '../kit/serve.ts'

const delayMs = Number(process.env['WELLSPRING_ECHO_DELAY_MS'] ?? 0)
const logPath = process.env['WELLSPRING_ECHO_LOG']
/** file: URI of a directory: an image below it must be there, others are taken at their word. */
const presentBelow = process.env['WELLSPRING_ECHO_PRESENT_BELOW']
const failures = new Map<string, number>()
const script = readScript(process.env['WELLSPRING_ECHO_FAIL'])

/** Waits, fails if that is wanted of this call, answers, and writes down what it did. */
export async function echo<T>(
  context: CallContext | undefined,
  call: Call,
  answer: () => T | Promise<T>,
): Promise<T> {
  const start = Date.now()
  let outcome = 'aborted'
  try {
    if (delayMs > 0) await sleep(delayMs, undefined, { signal: call.signal })
    const wanted = context === undefined ? undefined : scripted(context)
    if (wanted !== undefined) {
      outcome = wanted.reason
      const words = `asked to fail with ${wanted.reason}`
      throw call.fail(wanted.reason, words.padEnd(wanted.messageChars, '.'))
    }
    const answered = await answer()
    outcome = 'ok'
    return answered
  } finally {
    if (logPath !== undefined && context !== undefined) {
      const { entity, step, attempt, idempotencyKey: key } = context
      const { pid } = process
      const line = { key, attempt, entity, step, start, end: Date.now(), outcome, pid }
      appendFileSync(logPath, `${JSON.stringify(line)}\n`)
    }
  }
}

/** Throws NOT_YET when a file is missing that should be there. */
export function mustBeThere(image: Artifact | undefined, call: Call): void {
  if (presentBelow === undefined || !image?.uri.startsWith(`${presentBelow}/`)) return
  if (!existsSync(fileURLToPath(image.uri))) throw call.fail('NOT_YET', `${image.uri} is not there`)
}

export function texts(members: readonly EchoMember[]): string[] {
  return members.map(({ name, digest }) => `${name}=${digest}`)
}

export function digestOf(...parts: readonly string[]): string {
  return createHash('sha256').update(parts.join('\n')).digest('hex')
}

type Script = {
  readonly part: string
  readonly reason: string
  readonly times: number
  readonly messageChars: number
}

/** {"B02/t0/s1": {"reason": "NOT_YET", "times": 2}}: a matching entity's first executions of a step fail. */
function readScript(text: string | undefined): readonly Script[] {
  if (text === undefined || text === '') return []
  type Wanted = { reason: string; times?: number; messageChars?: number }
  const parsed = JSON.parse(text) as Record<string, Wanted>
  return Object.entries(parsed).map(([part, { reason, times, messageChars = 0 }]) => ({
    part,
    reason,
    times: times ?? Number.POSITIVE_INFINITY,
    messageChars,
  }))
}

/** What an execution fails with by the script; counts from the process's start, per entity and step. */
function scripted({ entity, step }: CallContext): Script | undefined {
  for (const wanted of script) {
    if (!entity.includes(wanted.part)) continue
    const counter = `${wanted.part}\n${entity}\n${step}`
    const count = failures.get(counter) ?? 0
    if (count >= wanted.times) continue
    failures.set(counter, count + 1)
    return wanted
  }
  return undefined
}
