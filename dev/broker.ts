// A real Apache Kafka (a KRaft node, alone or one of a few) as a child process, for laptops and tests.
// Production brings its own cluster: KAFKA_BROKERS.
import { spawn, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import {
  createWriteStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fetchJars, findJava, JVM_FLAGS, runJava } from './broker/java.ts'
import { serverProperties } from './broker/properties.ts'
import { oneLine } from '../proto/plain-text.ts'

export { javaConsume } from './broker/judge.ts'

const limits = { startMs: 60_000, stopMs: 20_000 } as const

export type BrokerOptions = {
  /** Holds all data; an empty or missing directory is formatted, a formatted one is continued. */
  readonly dir: string
  /** Port on 127.0.0.1; 0 or nothing = any free one. A restart with the same port keeps clients going. */
  readonly port?: number
  /** File the broker's output is appended to; default `<dir>/broker.log`. */
  readonly log?: string
  /** Port of a proxy on 127.0.0.1: clients that come through it are sent back to it. It leads to `proxiedPort`. */
  readonly proxyPort?: number
  /** Its place among several nodes, which serve when most of them run; default: it is the only one. */
  readonly node?: ClusterNode
}

export type ClusterNode = {
  /** From 1. */
  readonly id: number
  readonly clusterId: string
  /** Of all nodes, by id. */
  readonly controllerPorts: readonly number[]
}

export type Broker = {
  readonly brokers: string[]
  readonly pid: number
  readonly port: number
  /** Where the proxy of the options leads to; chosen anew at each start. */
  readonly proxiedPort: number | undefined
  /** Clean shutdown; SIGKILL after 20 s. */
  stop(): Promise<void>
  /** SIGKILL, as a crash would. */
  kill(): Promise<void>
}

/**
 * Starts Kafka and resolves when it serves requests (3–5 s; the first time jars are fetched: + 10 s).
 * It ends when this process ends, however that happens. Rejects with one message that says what to do.
 */
export async function startBroker(options: BrokerOptions): Promise<Broker> {
  const port = await takePort(options.port ?? 0)
  const node = options.node ?? {
    id: 1,
    clusterId: clusterId(),
    controllerPorts: [await takePort(0)],
  }
  const { proxyPort } = options
  const proxiedPort = proxyPort === undefined ? undefined : await takePort(0)
  const proxied =
    proxyPort === undefined || proxiedPort === undefined
      ? undefined
      : { port: proxiedPort, advertisedPort: proxyPort }
  const java = await findJava()
  const classPath = await fetchJars('kafka-libs')
  const dataDir = join(options.dir, 'data')
  mkdirSync(dataDir, { recursive: true })
  const config = join(options.dir, 'server.properties')
  const { id: nodeId, controllerPorts } = node
  writeFileSync(config, serverProperties({ port, dataDir, controllerPorts, nodeId, proxied }))
  if (!existsSync(join(dataDir, 'meta.properties'))) {
    await runJava([
      '-cp',
      classPath,
      'kafka.tools.StorageTool',
      'format',
      '-t',
      node.clusterId,
      '-c',
      config,
    ])
  }
  const child = spawn(java, [...JVM_FLAGS, '-cp', classPath, 'kafka.Kafka', config], {
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true, // a terminal's Ctrl-C must not end it before those that write to it
  })
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const endGuard = guard(child)
  await started(child, options.log ?? join(options.dir, 'broker.log'))
  const end = async (signal: 'SIGTERM' | 'SIGKILL'): Promise<void> => {
    child.kill(signal)
    const late = setTimeout(() => child.kill('SIGKILL'), limits.stopMs)
    await exited
    clearTimeout(late)
    endGuard()
  }
  return {
    brokers: [`127.0.0.1:${port}`],
    pid: child.pid ?? 0,
    port,
    proxiedPort,
    stop: () => end('SIGTERM'),
    kill: () => end('SIGKILL'),
  }
}

let shared: Promise<{ readonly brokers: string[] }> | undefined

/**
 * The broker of this test process, started at first use in a temporary directory and gone with the process;
 * or the one named in WELLSPRING_TEST_BROKERS. Take a new topic prefix, group and application id per test.
 */
export function brokerForTests(): Promise<{ readonly brokers: string[] }> {
  shared ??= startShared()
  return shared
}

async function startShared(): Promise<{ readonly brokers: string[] }> {
  const given = process.env['WELLSPRING_TEST_BROKERS']
  if (given !== undefined && given !== '') return { brokers: given.split(',') }
  const dir = mkdtempSync(join(tmpdir(), 'wellspring-broker-'))
  process.on('exit', () => rmSync(dir, { recursive: true, force: true, maxRetries: 3 }))
  return startBroker({ dir })
}

/** Resolves when the broker serves; rejects with the end of its output when it does not. */
async function started(child: ChildProcess, log: string): Promise<void> {
  const file = createWriteStream(log, { flags: 'a', mode: 0o600 })
  const tail: string[] = []
  const { stdout, stderr } = child
  if (stdout === null || stderr === null) throw new Error('the broker has no output')
  const done = Promise.withResolvers<void>()
  const read = (line: string): void => {
    file.write(`${oneLine(line)}\n`)
    if (!line.startsWith('\tat ') && tail.push(oneLine(line)) > 8) tail.shift()
    if (line.includes('Kafka Server started')) done.resolve()
  }
  createInterface({ input: stdout }).on('line', read)
  createInterface({ input: stderr }).on('line', read)
  const fail = (why: string): void =>
    done.reject(
      new Error(
        `Kafka did not start: ${why}. Its output is in ${log}; the end:\n${tail.join('\n')}`,
      ),
    )
  child.once('error', (error) => fail(error.message))
  child.once('close', (code) => {
    file.end()
    fail(`it ended with code ${code}`)
  })
  const late = setTimeout(() => {
    fail(`not ready after ${limits.startMs / 1000} s`)
    child.kill('SIGKILL')
  }, limits.startMs)
  try {
    await done.promise
  } finally {
    clearTimeout(late)
  }
  // The broker must not keep the process alive that merely started it: `exit` ends the broker.
  child.unref()
  for (const stream of [stdout, stderr])
    if ('unref' in stream) (stream as unknown as { unref(): void }).unref()
}

/**
 * Ends the broker with this process, even when that is killed: a shell waits for the end of a pipe that only
 * we hold open.
 */
function guard(child: ChildProcess): () => void {
  const onExit = (): void => void child.kill('SIGKILL')
  process.once('exit', onExit)
  const script = 'trap "" INT TERM; cat > /dev/null; kill -9 "$1" 2> /dev/null'
  const shell = spawn('sh', ['-c', script, 'guard', String(child.pid)], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  })
  shell.on('error', () => {}) // no `sh`: `exit` still ends the broker
  shell.unref()
  const pipe = shell.stdin as unknown as { unref(): void }
  pipe.unref()
  return () => {
    process.off('exit', onExit)
    shell.kill('SIGKILL')
  }
}

/** The port itself when free, a free one for 0. */
export async function takePort(port: number): Promise<number> {
  const server = createServer()
  server.listen(port, '127.0.0.1')
  await Promise.race([
    once(server, 'listening'),
    once(server, 'error').then(([error]) => Promise.reject(error)),
  ]).catch((error: unknown) => {
    throw new Error(
      `Port ${port} of 127.0.0.1 is taken (${String(error)}): end the program that listens there ` +
        `(\`ss -ltnp 'sport = :${port}'\` shows it) or choose another port.`,
    )
  })
  const taken = (server.address() as AddressInfo).port
  server.close()
  await once(server, 'close')
  return taken
}

/** Kafka's text form of a random UUID; a leading dash would read as an option. */
export function clusterId(): string {
  for (;;) {
    const id = randomBytes(16).toString('base64url')
    if (!id.startsWith('-')) return id
  }
}
