// Logs as JSON lines on stderr: what happened, with fields, for people and for machines.

/** Takes one line of log. */
export type Logger = (
  level: 'info' | 'warn' | 'error',
  message: string,
  fields: Readonly<Record<string, unknown>>,
) => void

export function jsonLogger(name: string, write: (line: string) => void): Logger {
  return (level, message, fields) =>
    write(`${JSON.stringify({ at: new Date().toISOString(), level, name, message, ...fields })}\n`)
}
