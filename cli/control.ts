// The coordinator's control API.
import type { Client } from '@connectrpc/connect'
import { createClient } from '@connectrpc/connect'
import { createConnectTransport } from '@connectrpc/connect-node'
import { ControlService } from '#proto/wellspring/control/v1/control_pb.ts'
import type { WhereFlags } from './environment.ts'
import { controlAddress } from './environment.ts'
import { asCliError } from './exit.ts'

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
