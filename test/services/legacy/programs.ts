import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { resolve } from 'node:path'
import { createInterface } from 'node:readline'

/** A program of services/ that runs until it is stopped. */
export type Program = {
  readonly child: ChildProcess
  readonly address: string
  readonly url: string
  /** Resolves once a line of its standard error holds `text`, said already or yet to come. */
  logged(text: string): Promise<void>
  stop(): Promise<void>
}

/** Starts services/<path> and waits for its ready line. */
export async function startProgram(path: string, env: Record<string, string>): Promise<Program> {
  const file = resolve(import.meta.dirname, '../../../services', path)
  const child = spawn(process.execPath, [file], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const log: string[] = []
  const lines = createInterface({ input: child.stderr }).on('line', (line) => log.push(line))
  const exited = once(child, 'exit')
  const ready = once(createInterface({ input: child.stdout }), 'line') as Promise<[string]>
  const died = exited.then(() => Promise.reject(new Error(`${path} ended: ${log.join('\n')}`)))
  died.catch(() => {})
  const [line] = await Promise.race([ready, died])
  const { address } = JSON.parse(line) as { address: string }
  const stop = async () => {
    child.kill('SIGTERM')
    const last = setTimeout(() => child.kill('SIGKILL'), 5_000)
    await exited
    clearTimeout(last)
  }
  const logged = async (text: string) => {
    while (!log.some((entry) => entry.includes(text))) await once(lines, 'line')
  }
  return { child, address, url: `http://${address}`, logged, stop }
}
