// One child process of npm start: started, awaited until it says that it is ready, stopped within a bound.
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { oneLine } from '../proto/plain-text.ts'
import { root, toolEnvironment } from './tools.ts'

const limits = { readyMs: 30_000, stopMs: 6_000, tailLines: 8 } as const

/** A part that runs. */
export type Running = {
  readonly pid: number
  /** host:port */
  readonly address: string
  /** The whole ready line. */
  readonly ready: Readonly<Record<string, unknown>>
  /** Resolves when it is gone, with how. */
  readonly exited: Promise<string>
  /** SIGTERM, and SIGKILL to the whole process group when that takes too long. Resolves when it is gone. */
  stop(): Promise<void>
}

export type Program = {
  readonly name: string
  readonly command: string
  readonly args: readonly string[]
  /** What it gets of our own environment; default: all of it. */
  readonly base?: Readonly<NodeJS.ProcessEnv>
  /** Added to that. */
  readonly env?: Readonly<Record<string, string>>
  /** File that its output is appended to. */
  readonly log: string
}

/**
 * Starts a program in a process group of its own (a terminal's Ctrl-C reaches us alone) and waits for its
 * ready line, one JSON object {"ready":"<name>","address":"host:port"} on stdout. Rejects with the end of its
 * output when it ends or stays silent instead.
 */
export async function startProgram(program: Program): Promise<Running> {
  const child = spawn(program.command, program.args, {
    cwd: root,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...(program.base ?? toolEnvironment()), ...program.env },
  })
  const exited = Promise.withResolvers<string>()
  child.once('exit', (code, signal) => exited.resolve(signal ?? `exit code ${code}`))
  child.once('error', (error) => exited.resolve(error.message))
  const stop = (): Promise<void> => stopGroup(child, exited.promise)
  try {
    const ready = await readyLine(program, child, exited.promise)
    const address = typeof ready['address'] === 'string' ? ready['address'] : ''
    return { pid: child.pid ?? 0, address, ready, exited: exited.promise, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

type Ready = Readonly<Record<string, unknown>>

async function readyLine(
  program: Program,
  child: ChildProcess & { stdout: NodeJS.ReadableStream; stderr: NodeJS.ReadableStream },
  exited: Promise<string>,
): Promise<Ready> {
  const file = createWriteStream(program.log, { flags: 'a', mode: 0o600 })
  child.once('close', () => file.end())
  const tail: string[] = []
  const said = Promise.withResolvers<Ready>()
  const closed = once(child, 'close').catch(() => {})
  const keep = (said: string): void => {
    const line = oneLine(said)
    if (!file.writableEnded) file.write(`${line}\n`)
    if (tail.push(line) > limits.tailLines) tail.shift()
  }
  createInterface({ input: child.stderr }).on('line', keep)
  createInterface({ input: child.stdout }).on('line', (line) => {
    keep(line)
    const ready = parseReady(line)
    if (ready !== undefined) said.resolve(ready)
  })
  const late = setTimeout(() => said.reject(new Error('silent')), limits.readyMs)
  try {
    const first = await Promise.race([said.promise, exited.then((how) => ({ how }))])
    if (!('how' in first)) return first
    await closed // the last words are still on their way
    throw startError(program, `it ended (${String(first['how'])})`, tail)
  } catch (error) {
    if (!(error instanceof Error) || error.message !== 'silent') throw error
    throw startError(program, `not ready after ${limits.readyMs / 1000} s`, tail)
  } finally {
    clearTimeout(late)
  }
}

function startError(program: Program, why: string, tail: readonly string[]): Error {
  const words = tail.length > 0 ? `; the end:\n${tail.join('\n')}` : ' (empty)'
  return new Error(`${program.name} did not start: ${why}. Its output is in ${program.log}${words}`)
}

function parseReady(line: string): Ready | undefined {
  if (!line.startsWith('{')) return undefined
  try {
    const value: unknown = JSON.parse(line)
    return typeof value === 'object' && value !== null && 'ready' in value
      ? (value as Ready)
      : undefined
  } catch {
    return undefined
  }
}

async function stopGroup(child: ChildProcess, exited: Promise<string>): Promise<void> {
  killGroup(child.pid, 'SIGTERM')
  const late = setTimeout(() => killGroup(child.pid, 'SIGKILL'), limits.stopMs)
  await exited
  clearTimeout(late)
  killGroup(child.pid, 'SIGKILL') // programs that it had started and left behind
}

/** Signals every process of a group; nobody there is fine. */
export function killGroup(pid: number | undefined, signal: NodeJS.Signals): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, signal)
  } catch {
    // gone already
  }
}

export type Guard = {
  /** The processes to end with us, each with its group. Replaces the list before. */
  watch(pids: readonly number[]): void
  release(): void
}

/**
 * Ends our children when we are killed with -9 and cannot do it ourselves: a shell that reads a pipe which only
 * we hold open, and kills the last list it was told when that pipe ends.
 */
export function startGuard(): Guard {
  // The long form of kill: dash takes no negative id after -9.
  const script =
    'trap "" INT TERM HUP; while read -r line; do all=$line; done; ' +
    'for pid in $all; do kill -s KILL -- "-$pid" || kill -s KILL "$pid"; done 2> /dev/null'
  const shell = spawn('sh', ['-c', script], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  })
  shell.on('error', () => {}) // no sh: an orderly end still stops the children
  shell.stdin.on('error', () => {})
  return {
    watch: (pids) => void shell.stdin.write(`${pids.join(' ')}\n`),
    release: () => void shell.stdin.end('\n'),
  }
}
