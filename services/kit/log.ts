// One JSON line on standard error for what a person must know; text is cut, so that a program's outburst stays one line.
import { jsonText } from '../../proto/plain-text.ts'

const textMax = 1_000

/** The one line on standard output that says that the service is ready, and where. */
export function sayReady(name: string, address: string): void {
  process.stdout.write(`${jsonText({ ready: name, address })}\n`)
}

export function logError(message: string, fields: Readonly<Record<string, unknown>> = {}): void {
  const cut = Object.entries(fields).map(([name, value]) => [
    name,
    typeof value === 'string' ? value.slice(0, textMax) : value,
  ])
  const line = {
    time: new Date().toISOString(),
    level: 'error',
    message: message.slice(0, textMax),
  }
  process.stderr.write(`${jsonText({ ...line, ...Object.fromEntries(cut) })}\n`)
}
