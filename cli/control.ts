// The coordinator's control API.
import { Code, ConnectError, createClient, type Client } from '@connectrpc/connect'
import { createConnectTransport } from '@connectrpc/connect-node'
import { ControlService } from '#proto/wellspring/control/v1/control_pb.ts'
import { controlAddress, type WhereFlags } from './environment.ts'
import { CliError, EXIT, type ExitCode } from './exit.ts'

const callTimeoutMs = 10_000

/** Asks the coordinator. Rejects with CliError: unreachable, not found, usage (ambiguous), timed out. */
export async function ask<T>(
  flags: WhereFlags,
  question: (control: Client<typeof ControlService>) => Promise<T>,
): Promise<T> {
  const baseUrl = controlAddress(flags)
  try {
    const transport = createConnectTransport({
      baseUrl,
      httpVersion: '1.1',
      defaultTimeoutMs: callTimeoutMs,
    })
    return await question(createClient(ControlService, transport))
  } catch (error) {
    throw asCliError(error, baseUrl)
  }
}

const BY_CODE: ReadonlyMap<Code, ExitCode> = new Map([
  [Code.NotFound, EXIT.notFound],
  [Code.InvalidArgument, EXIT.usage],
  [Code.Unauthenticated, EXIT.notAllowed],
  [Code.PermissionDenied, EXIT.notAllowed],
  [Code.Unavailable, EXIT.unreachable],
  [Code.DeadlineExceeded, EXIT.timeout],
])

/** What a failed call to the coordinator means for the person who typed the command. */
function asCliError(error: unknown, address: string): CliError {
  if (error instanceof CliError) return error
  const failed = ConnectError.from(error)
  const exit = BY_CODE.get(failed.code) ?? EXIT.failed
  // A coordinator that answers says itself what is unavailable; a socket's error has a cause.
  const message =
    exit === EXIT.unreachable && failed.cause !== undefined
      ? `the coordinator at ${address} cannot be reached (${failed.rawMessage}): is it running? try: npm start`
      : failed.rawMessage
  return new CliError(exit, message, { cause: error })
}
