// Runs the command line as a person does: the launcher, in a process of its own.
import { spawn } from 'node:child_process'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'

export const LAUNCHER = join(import.meta.dirname, '../../cli/wellspring.mjs')

/** An empty folder: no .wellspring/local.json of somebody answers for us. */
const elsewhere = mkdtempSync(join(tmpdir(), 'wellspring-cli-'))

export type Ran = { readonly code: number | null; readonly stdout: string; readonly stderr: string }

/** Runs `wellspring …`; the environment names no broker and no coordinator unless `env` does. */
export async function wellspring(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  cwd: string = elsewhere,
): Promise<Ran> {
  const { KAFKA_BROKERS: _, WELLSPRING_CONTROL: __, ...rest } = process.env
  const child = spawn(process.execPath, [LAUNCHER, ...args], {
    cwd,
    env: { ...rest, LC_ALL: 'C.UTF-8', WELLSPRING_LOCAL: join(elsewhere, 'none'), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve))
  const [stdout, stderr, code] = await Promise.all([text(child.stdout), text(child.stderr), ended])
  return { code, stdout, stderr }
}
