// The echo service as another build has it, as a program: a field of its answer has another number. It prints a line
// for each call that it gets.
import { EchoService } from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import { openEchoServer } from '../calls/echo-server.ts'
import { renumbered } from '../calls/other-versions.ts'

const [host = '127.0.0.1', port = '0'] = (process.env['WELLSPRING_LISTEN'] ?? '').split(':')
const server = await openEchoServer({
  host,
  port: Number(port),
  service: renumbered(EchoService, 'EchoImageResponse', 'digest', 7),
  version: '2.0',
  onCall: (entity) => process.stdout.write(`CALLED for ${entity}\n`),
})
process.stdout.write(`${JSON.stringify({ ready: 'odd-echo', address: server.address })}\n`)
process.once('SIGTERM', () => process.exit(0))
