import { setTimeout as sleep } from 'node:timers/promises'
import { fetchJson, fetchText, type FetchResult } from '../kit/http.ts'
import { isUnsupportedKind } from '../kit/images.ts'
import type { Call } from '../kit/serve.ts'

export type Job = {
  readonly labels: string
  readonly images: readonly {
    readonly channel: string
    readonly path: string
    /** Grey level to subtract first. */
    readonly offset?: number
  }[]
}

const poll = { firstMs: 50, maxMs: 1_000, growth: 1.5 }
const busyRetryMs = 1_000
const csvBytesMax = 64 * 1024 * 1024

/** Runs a job on the server at `url` to its end: submit, poll with back-off, fetch. Failures are the contract's. */
export async function runJob(
  url: string,
  job: Job,
  { call, traceparent }: { readonly call: Call; readonly traceparent: string },
): Promise<{ readonly csv: string; readonly rows: number }> {
  const ask = async (path: string, step: 'submitting' | 'waiting', body?: Job) => {
    const timeoutMs = Math.min(10_000, call.remainingMs())
    const result = await fetchJson(url + path, {
      signal: call.signal,
      traceparent,
      timeoutMs,
      body,
    })
    return bodyOf(result, step, call)
  }
  const { id } = await ask('/jobs', 'submitting', job)
  const place = `/jobs/${encodeURIComponent(String(id))}`
  for (let waitMs = poll.firstMs; ; waitMs = Math.min(waitMs * poll.growth, poll.maxMs)) {
    await sleep(waitMs, undefined, { signal: call.signal })
    const { state, rows, error } = await ask(place, 'waiting')
    if (state === 'done') {
      const csv = await fetchCsv(`${url}${place}/result`, { call, traceparent })
      return { csv, rows: Number(rows) }
    }
    if (state === 'failed') {
      const reason = reasonOf(String(error))
      // Its one worker has one job at a time.
      const endedProgram = reason === 'JOB_FAILED' ? 'own' : undefined
      throw call.fail(reason, String(error), { endedProgram })
    }
  }
}

/** Only a dead worker is the server's fault; every other text names a file. */
function reasonOf(error: string): string {
  if (error.startsWith('worker died')) return 'JOB_FAILED'
  return isUnsupportedKind(error) ? 'UNSUPPORTED_KIND' : 'BAD_INPUT'
}

function bodyOf(
  result: FetchResult,
  step: 'submitting' | 'waiting',
  call: Call,
): Record<string, unknown> {
  if (result.kind === 'unreachable') {
    // A server that took the job and is gone, or cut the connection, went down with it.
    const endedProgram = result.isCut || step === 'waiting' ? 'shared' : undefined
    throw call.fail('BACKEND_DOWN', result.why, { endedProgram })
  }
  if (result.kind === 'timed-out') throw call.fail('BACKEND_DOWN', 'no answer in time')
  failOnStatus(result.status, call, step)
  if (result.kind === 'answer' && typeof result.body === 'object') return { ...result.body }
  throw call.fail('BACKEND_DOWN', 'the answer is no JSON object')
}

function failOnStatus(
  status: number,
  call: Call,
  step: 'submitting' | 'waiting' = 'waiting',
): void {
  if (status === 429) {
    throw call.fail('BUSY', 'the queue is full', { retryAfterMs: busyRetryMs })
  }
  if (status === 404) {
    // The server ended, and what it had in memory with it.
    const words = 'the server does not know the job any more'
    throw call.fail('JOB_LOST', words, { endedProgram: step === 'waiting' ? 'shared' : undefined })
  }
  if (status === 410) throw call.fail('JOB_LOST', 'the job has expired')
  if (status === 400) throw call.fail('SHORT_RESULT', 'the server refuses the form of the job')
  if (status >= 300) throw call.fail('BACKEND_DOWN', `the server answered ${status}`)
}

async function fetchCsv(
  url: string,
  { call, traceparent }: { readonly call: Call; readonly traceparent: string },
): Promise<string> {
  const answer = await fetchText(url, {
    signal: call.signal,
    traceparent,
    headers: { accept: 'text/csv' },
    timeoutMs: call.remainingMs(),
    answerBytesMax: csvBytesMax,
  })
  if (answer.kind === 'unreachable') throw call.fail('BACKEND_DOWN', `${url}: ${answer.why}`)
  if (answer.kind === 'timed-out') throw call.fail('BACKEND_DOWN', `${url} did not answer in time`)
  failOnStatus(answer.status, call)
  if (answer.kind === 'too-large')
    throw call.fail('SHORT_RESULT', `more than ${csvBytesMax} bytes of CSV`)
  return answer.text
}
