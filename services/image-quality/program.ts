import { fetchJson, type FetchResult } from '../kit/http.ts'
import { withinTime } from '../kit/images.ts'
import type { Call } from '../kit/serve.ts'
import { classify } from './classify.ts'

const url = process.env['WELLSPRING_IMAGEQC_URL'] ?? 'http://127.0.0.1:8080'
const busyRetryMs = 500

/** What the program wants to know. Its names, not ours. */
export type Question = {
  readonly path: string
  readonly channel_kind: string
  /** Grey level at which the detector saturates, 0 for the pixel type's maximum. */
  readonly ceiling: number
  /** Grey level to subtract first. */
  readonly offset?: number
}

/** Asks the program about one image. Its many ways to say no become the contract's reasons. */
export async function ask(question: Question, call: Call): Promise<Record<string, unknown>> {
  const result = await call.legacy('http assess', { 'url.full': `${url}/assess` }, (traceparent) =>
    fetchJson(`${url}/assess`, {
      signal: call.signal,
      traceparent,
      timeoutMs: call.remainingMs(),
      body: question,
    }),
  )
  return await answerOf(result, question.path, call)
}

async function answerOf(
  result: FetchResult,
  path: string,
  call: Call,
): Promise<Record<string, unknown>> {
  if (result.kind === 'unreachable') {
    const endedProgram = result.isCut ? 'shared' : undefined
    throw call.fail('BACKEND_DOWN', `${url}: ${result.why}`, { endedProgram })
  }
  if (result.kind === 'timed-out') throw call.fail('BACKEND_DOWN', `${url} did not answer in time`)
  if (result.status === 503) {
    throw call.fail('BUSY', 'the program is busy', { retryAfterMs: busyRetryMs })
  }
  if (result.status >= 500) throw call.fail('BACKEND_DOWN', `${url} answered ${result.status}`)
  const body = result.kind === 'answer' && typeof result.body === 'object' ? { ...result.body } : {}
  const answer: Record<string, unknown> = body
  const { error } = answer
  if (result.status === 422) {
    const text = String(error)
    const reason = await withinTime(path, call, () => classify(path, text, call.signal))
    throw call.fail(reason, `the decoder says: ${text}`)
  }
  if (String(error).startsWith('file not found')) {
    throw call.fail('ARTIFACT_NOT_READY', `the program sees no ${path}`)
  }
  if (result.status === 200 && error === undefined) return answer
  throw call.fail('BAD_ANSWER', `${url} answered ${result.status}: ${String(error)}`)
}
