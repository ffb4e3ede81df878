// A program that speaks HTTP, works on several images at once, and ends over each whose name says so.
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'

const numbers = ['mean', 'median', 'std', 'mad', 'min', 'max', 'var_over_mean', 'at_ceiling']
const good = Object.fromEntries(
  [...numbers, 'percent_maximal', 'laplacian_ratio', 'power_slope'].map((name) => [name, 0]),
)
const port = Number(process.env['PORT'] ?? 0)
const server = createServer((request, response) => {
  void text(request).then(async (body) => {
    await sleep(40)
    if (body.includes('ends-it')) process.kill(process.pid, 'SIGSEGV')
    await sleep(20)
    const answer = { ...good, width: 2, height: 2, flag: 'OK', version: 'test' }
    response.writeHead(200).end(JSON.stringify(answer))
  })
})
server.listen(port, '127.0.0.1', () => {
  const { port: bound } = server.address() as AddressInfo
  process.stdout.write(
    `${JSON.stringify({ ready: 'ending-program', address: `127.0.0.1:${bound}` })}\n`,
  )
})
process.once('SIGTERM', () => process.exit(0))
