// Exit codes, the same for every verb, and the one error that carries them.

export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  notFound: 3,
  notAllowed: 4,
  unreachable: 5,
  /** An asserted condition is false, for instance verify. */
  conditionFalse: 10,
  timeout: 124,
  interrupted: 130,
} as const
export type ExitCode = (typeof EXIT)[keyof typeof EXIT]

export const EXIT_HELP = `
Exit codes: 0 ok, 1 failed, 2 usage, 3 not found, 4 not allowed, 5 coordinator or broker unreachable,
10 asserted condition false (verify), 124 timed out, 130 interrupted.
Data goes to stdout, everything else to stderr.`

/** Ends the command with a message for people, lines below it, and an exit code. */
export class CliError extends Error {
  readonly exit: ExitCode
  readonly lines: readonly string[]
  constructor(
    exit: ExitCode,
    message: string,
    options: ErrorOptions & { readonly lines?: readonly string[] } = {},
  ) {
    super(message, options)
    this.name = 'CliError'
    this.exit = exit
    this.lines = options.lines ?? []
  }
}
