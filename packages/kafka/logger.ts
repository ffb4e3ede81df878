// Who is told what happened.

/** Takes one line of log. */
export type Logger = (
  level: 'info' | 'warn' | 'error',
  message: string,
  fields: Readonly<Record<string, unknown>>,
) => void
