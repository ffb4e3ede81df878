// The operator's and the console's API: Connect over HTTP/1.1. Reads only; whatever changes something goes through
// commands.v1.
import { Code, ConnectError, type Interceptor } from '@connectrpc/connect'
import { connectNodeAdapter } from '@connectrpc/connect-node'
import { ControlService } from '#proto/wellspring/control/v1/control_pb.ts'
import type { Logger } from '@wellspring/kafka/logger.ts'
import { listenHttp, type Listening } from '../listen.ts'
import { controlAnswers } from './answers.ts'
import type { Model } from './model.ts'
import { openPeers } from './peers.ts'

const readBytesMax = 64 * 1024

export type ControlOptions = {
  /** host:port; a port alone means loopback; port 0 takes any. */
  readonly listen: string
  /** Names by which others may ask (WELLSPRING_HOSTS). */
  readonly hosts?: readonly string[]
  readonly model: Model
  /** Control addresses of the coordinators that own the other tasks, by task. */
  readonly owners: () => ReadonlyMap<number, string>
  readonly logger: Logger
}

/** Serves ControlService. Rejects if it cannot listen. */
export async function serveControl(options: ControlOptions): Promise<Listening> {
  const { model, owners, logger, listen } = options
  const answers = controlAnswers(model, openPeers(model, owners))
  const handler = connectNodeAdapter({
    routes: (router) => void router.service(ControlService, answers),
    interceptors: [withLog(logger)],
    grpc: false,
    grpcWeb: false,
    readMaxBytes: readBytesMax,
  })
  const place = /^[0-9]+$/.test(listen) ? `127.0.0.1:${listen}` : listen
  const onRefused = (why: string): void => logger('warn', 'a request was refused', { why })
  return listenHttp(handler, { listen: place, hosts: options.hosts, onRefused })
}

/** Our own mistakes are logged with their cause; the caller is told the message alone. */
function withLog(logger: Logger): Interceptor {
  return (next) => async (request) => {
    try {
      return await next(request)
    } catch (cause) {
      if (cause instanceof ConnectError) throw cause
      const error = cause instanceof Error ? (cause.stack ?? cause.message) : String(cause)
      logger('error', `control: ${request.method.name} failed`, { error })
      throw new ConnectError(
        `${request.method.name} failed: see the coordinator's log`,
        Code.Internal,
      )
    }
  }
}
