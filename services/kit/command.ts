// Runs a command-line program as a step: its own process group, bounded time and text, no child left behind.
import { spawn, type ChildProcess } from 'node:child_process'
import { namesGiven, programEnvironment } from './environment.ts'

export type CommandOptions = {
  readonly command: string
  readonly args: readonly string[]
  /** Ends the whole process group at once; runCommand then rejects with the signal's reason. */
  readonly signal: AbortSignal
  /** Given to the program as TRACEPARENT. */
  readonly traceparent: string
  readonly timeoutMs?: number
  readonly cwd?: string
  /** Added to the environment that every program gets (programEnvironment). */
  readonly env?: Readonly<Record<string, string>>
  /** Variables of this process that this program gets too: names, or beginnings with * behind them. */
  readonly passEnv?: readonly string[]
  /** Written to the program's standard input, which is closed then. */
  readonly stdin?: string | Uint8Array
  /** Of standard output; a program that writes more is ended. Default 1 MiB. */
  readonly stdoutBytesMax?: number
  /** Of standard error, the last bytes of which are kept. Default 8 KiB. */
  readonly stderrBytesMax?: number
}

export type CommandResult =
  | {
      readonly kind: 'exited'
      readonly code: number
      readonly stdout: string
      readonly stderr: string
    }
  /** By a signal that we did not send: crashed, or out of memory. */
  | { readonly kind: 'killed'; readonly signal: string; readonly stderr: string }
  | { readonly kind: 'timed-out'; readonly stderr: string }
  | { readonly kind: 'too-much-output'; readonly stderr: string }
  | { readonly kind: 'not-started'; readonly why: string }

/** Runs a program to its end. Rejects only when the signal aborts; every other end is a result. */
export async function runCommand(options: CommandOptions): Promise<CommandResult> {
  const { signal, timeoutMs, stdoutBytesMax = 1024 * 1024, stderrBytesMax = 8 * 1024 } = options
  signal.throwIfAborted()
  const child = spawn(options.command, options.args, {
    detached: true, // a process group of its own, so that its children die with it
    cwd: options.cwd,
    env: {
      ...programEnvironment(process.env, [...namesGiven(process.env), ...(options.passEnv ?? [])]),
      ...options.env,
      TRACEPARENT: options.traceparent,
    },
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  let ended: 'timed-out' | 'too-much-output' | undefined
  const end = (why: 'timed-out' | 'too-much-output'): void => {
    ended ??= why
    killGroup(child)
  }
  const onAbort = (): void => killGroup(child)
  signal.addEventListener('abort', onAbort, { once: true })
  const timer = timeoutMs === undefined ? undefined : setTimeout(() => end('timed-out'), timeoutMs)
  const stdout = headOf(child, stdoutBytesMax, () => end('too-much-output'))
  const stderr = tailOf(child, stderrBytesMax)
  child.stdin.on('error', () => {}) // a program that does not read its input is its own business
  child.stdin.end(options.stdin)
  try {
    const exit = await exitOf(child)
    signal.throwIfAborted()
    if ('why' in exit) return { kind: 'not-started', why: exit.why }
    if (ended) return { kind: ended, stderr: stderr() }
    if (exit.code === null) return { kind: 'killed', signal: exit.signal, stderr: stderr() }
    return { kind: 'exited', code: exit.code, stdout: stdout(), stderr: stderr() }
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', onAbort)
  }
}

const pipesLingerMs = 1_000

type Exit = { readonly code: number | null; readonly signal: string } | { readonly why: string }

function exitOf(child: ChildProcess): Promise<Exit> {
  return new Promise((resolve) => {
    child.once('error', (error) => resolve({ why: error.message }))
    child.once('exit', (code, signal) => {
      killGroup(child)
      // The program's end counts, not that of its pipes: a grandchild that left the group may hold them open.
      const letGo = setTimeout(() => closePipes(child), pipesLingerMs)
      child.once('close', () => {
        clearTimeout(letGo)
        resolve({ code, signal: signal ?? '' })
      })
    })
  })
}

function closePipes(child: ChildProcess): void {
  child.stdout?.destroy()
  child.stderr?.destroy()
}

/** Ends a child and all that it started. Harmless when they are gone. */
function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return
  try {
    process.kill(-child.pid, 'SIGKILL')
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error
  }
}

function headOf(child: ChildProcess, bytesMax: number, onTooMuch: () => void): () => string {
  const chunks: Buffer[] = []
  let bytes = 0
  child.stdout?.on('data', (chunk: Buffer) => {
    bytes += chunk.length
    if (bytes > bytesMax) onTooMuch()
    else chunks.push(chunk)
  })
  return () => Buffer.concat(chunks).toString('utf8')
}

function tailOf(child: ChildProcess, bytesMax: number): () => string {
  let tail = Buffer.alloc(0)
  child.stderr?.on('data', (chunk: Buffer) => {
    tail = Buffer.concat([tail, chunk]).subarray(-bytesMax)
  })
  return () => tail.toString('utf8')
}
