// .wellspring/local.json: the addresses and process ids of what npm start runs, for people, scripts and the CLI.
import { readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { stateDirectory } from './private.ts'

export type ProcessKind = 'kafka' | 'coordinator' | 'wrapper' | 'legacy'

export type LocalProcess = {
  readonly name: string
  readonly kind: ProcessKind
  readonly pid: number
  /** host:port */
  readonly address: string
}

export type Local = {
  readonly brokers: readonly string[]
  readonly topicPrefix: string
  readonly application: string
  /** OTLP/http receiver of the coordinator. */
  readonly otlp: string
  /** Control API of the coordinator. */
  readonly control: string
  /** Directory of the artifact store. */
  readonly store: string
  readonly processes: readonly LocalProcess[]
}

const FILE = 'local.json'

/** Replaces the file in one step, so that a reader never sees half of it. */
export async function writeLocal(dir: string, local: Local): Promise<void> {
  stateDirectory(dir)
  const half = join(dir, `${FILE}.${process.pid}`)
  await rm(half, { force: true })
  await writeFile(half, `${JSON.stringify(local, null, 2)}\n`, { flag: 'wx', mode: 0o600 })
  await rename(half, join(dir, FILE))
}

/** undefined: nothing was ever started here, or it was stopped in order. */
export async function readLocal(dir: string): Promise<Local | undefined> {
  try {
    return JSON.parse(await readFile(join(dir, FILE), 'utf8')) as Local
  } catch {
    return undefined
  }
}

export async function removeLocal(dir: string): Promise<void> {
  await rm(join(dir, FILE), { force: true })
}

/** Whether a process with this id exists (signal 0 reaches it, or it is somebody else's). */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
