// Asks a program that speaks HTTP and JSON: bounded time and text, every end a value.

export type FetchOptions = {
  readonly signal: AbortSignal
  /** Sent as the traceparent header. */
  readonly traceparent: string
  readonly method?: string
  /** Sent as JSON. */
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
  readonly timeoutMs?: number
  /** Default 1 MiB. */
  readonly answerBytesMax?: number
}

export type FetchResult =
  | {
      readonly kind: 'answer'
      readonly status: number
      /** Parsed JSON; undefined for an empty body. */
      readonly body: unknown
      /** From Retry-After, when the program sent one. */
      readonly retryAfterMs?: number
    }
  | {
      readonly kind: 'not-json'
      readonly status: number
      readonly text: string
      readonly retryAfterMs?: number
    }
  | { readonly kind: 'too-large'; readonly status: number }
  | { readonly kind: 'timed-out' }
  /** isCut: it was reached, and the connection ended before its answer did. */
  | { readonly kind: 'unreachable'; readonly why: string; readonly isCut: boolean }

export type TextResult =
  | Exclude<FetchResult, { readonly kind: 'answer' | 'not-json' }>
  | {
      readonly kind: 'text'
      readonly status: number
      readonly text: string
      readonly retryAfterMs?: number
    }

/** Sends a request and reads its answer as JSON, whatever its status. Rejects only when the signal aborts. */
export async function fetchJson(url: string, options: FetchOptions): Promise<FetchResult> {
  const answer = await fetchText(url, options)
  if (answer.kind !== 'text') return answer
  const { status, text, kind: _, ...retry } = answer
  const parsed = parse(text)
  return parsed.ok
    ? { kind: 'answer', status, body: parsed.body, ...retry }
    : { kind: 'not-json', status, text: text.slice(0, 512), ...retry }
}

/**
 * Sends a request and reads its answer as text, whatever its status. A redirection is an answer: the program is where
 * it was said to be, and sends us nowhere else. Rejects only when the signal aborts.
 */
export async function fetchText(url: string, options: FetchOptions): Promise<TextResult> {
  const { signal, timeoutMs, answerBytesMax = 1024 * 1024 } = options
  signal.throwIfAborted()
  const limit = timeoutMs === undefined ? undefined : AbortSignal.timeout(timeoutMs)
  try {
    const response = await fetch(url, {
      method: options.method ?? (options.body === undefined ? 'GET' : 'POST'),
      headers: {
        accept: 'application/json',
        ...(options.body === undefined ? {} : { 'content-type': 'application/json' }),
        ...options.headers,
        traceparent: options.traceparent,
      },
      ...(options.body === undefined ? {} : { body: JSON.stringify(options.body) }),
      redirect: 'manual',
      signal: limit === undefined ? signal : AbortSignal.any([signal, limit]),
    })
    const { status } = response
    const text = await readText(response, answerBytesMax)
    if (text === undefined) return { kind: 'too-large', status }
    return { kind: 'text', status, text, ...retryAfter(response.headers.get('retry-after')) }
  } catch (error) {
    signal.throwIfAborted()
    if (limit?.aborted) return { kind: 'timed-out' }
    return { kind: 'unreachable', why: reasonOf(error), isCut: isCut(error) }
  }
}

async function readText(response: Response, bytesMax: number): Promise<string | undefined> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length
    if (bytes > bytesMax) return undefined // leaving the loop cancels the rest of the body
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function parse(text: string): { ok: true; body: unknown } | { ok: false } {
  if (text === '') return { ok: true, body: undefined }
  try {
    return { ok: true, body: JSON.parse(text) }
  } catch {
    return { ok: false }
  }
}

/** Retry-After in seconds; its date form is not worth the trouble here. */
function retryAfter(header: string | null): { retryAfterMs?: number } {
  return header !== null && /^[0-9]{1,6}$/.test(header)
    ? { retryAfterMs: Number(header) * 1000 }
    : {}
}

/** fetch hides the reason ("connect ECONNREFUSED …") in the cause. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error.cause instanceof Error ? error.cause.message : error.message
}

/** Codes of Node and undici for a connection that was there. */
const CUT: ReadonlySet<unknown> = new Set(['ECONNRESET', 'EPIPE', 'UND_ERR_SOCKET'])

function isCut(error: unknown): boolean {
  const cause = error instanceof Error ? error.cause : undefined
  return cause instanceof Error && 'code' in cause && CUT.has(cause.code)
}
