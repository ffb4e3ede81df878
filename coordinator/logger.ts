// Logs as JSON lines on stderr: what happened, with fields, for people and for machines.
import type { Logger } from '@wellspring/kafka/logger.ts'
import { jsonText, lines } from '../proto/plain-text.ts'

export function jsonLogger(name: string, write = toStderr): Logger {
  return (level, message, fields) =>
    write(`${jsonText({ at: new Date().toISOString(), level, name, message, ...fields })}\n`)
}

function toStderr(line: string): void {
  process.stderr.write(line)
}

/** A line on stderr for people at a terminal; it may be several lines of ours. */
export function say(text: string): void {
  process.stderr.write(`${lines(text)}\n`)
}

/** The one line on standard output that says that the coordinator is ready, and where. */
export function sayReady(ready: Readonly<Record<string, string>>): void {
  process.stdout.write(`${jsonText(ready)}\n`)
}
