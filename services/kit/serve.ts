// Serves a step: everything a wrapper gets for free, in the order in which a call meets it.
import type { DescEnum, DescService } from '@bufbuild/protobuf'
import type { Handlers } from './call.ts'

export type { Call, PublishFile } from './call.ts'
export { StepError } from './call.ts'

export type ServeOptions<Service extends DescService> = {
  /** Step name, for the ready line and the spans' service.name. */
  readonly name: string
  /** Version of the wrapper and the program behind it, for people. */
  readonly version: string
  readonly service: Service
  /** The enum whose values are the service's error reasons. */
  readonly errors: DescEnum
  readonly handlers: Handlers<Service>
}

export type Serving = {
  /** host:port */
  readonly address: string
  /** Refuses new calls, waits for running ones at most drainMs, ends the rest, flushes spans. */
  drain(): Promise<void>
}

/** Serves until SIGTERM or SIGINT, then drains and returns. Prints one JSON line when ready. */
export async function serve<Service extends DescService>(
  options: ServeOptions<Service>,
): Promise<void> {
  const serving = await start(options)
  process.stdout.write(`${JSON.stringify({ ready: options.name, address: serving.address })}\n`)
}

/** Starts serving; the caller decides when to drain. Throws when the environment or contract is wrong. */
export async function start<Service extends DescService>(
  options: ServeOptions<Service>,
  environment: NodeJS.ProcessEnv = process.env,
): Promise<Serving> {
  throw new Error(`not served yet: ${options.name} ${String(environment['WELLSPRING_LISTEN'])}`)
}
