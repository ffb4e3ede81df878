// npm start as a person has it: real Kafka, real processes, kill -9.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { spawn, type ChildProcess } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { openClient } from '@wellspring/kafka/client.ts'
import { brokerForTests, javaConsume } from '../../dev/broker.ts'
import { isRunning, readLocal, type Local } from '../../dev/local.ts'
import type { Summary } from '../../dev/summary.ts'

const root = join(import.meta.dirname, '..', '..')
let dir = ''
before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'wellspring-start-'))
})
const children: ChildProcess[] = []
after(async () => {
  // A test that failed has not ended what it started; a supervisor that is killed takes its children along.
  for (const child of children)
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
  await rm(dir, { recursive: true, force: true, maxRetries: 3 })
})

type Started = {
  readonly child: ChildProcess
  readonly output: () => string
  readonly until: (text: string) => Promise<void>
}

function start(args: readonly string[], env: Readonly<Record<string, string>> = {}): Started {
  const { KAFKA_BROKERS: _given, ...rest } = process.env
  const child = spawn(process.execPath, ['dev/start.ts', ...args], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...rest, ...env },
  })
  children.push(child)
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (part: Buffer) => {
      output += part.toString()
    })
  return {
    child,
    output: () => output,
    async until(text) {
      while (!output.includes(text)) {
        assert.equal(child.exitCode, null, `it ended before it said "${text}":\n${output}`)
        await sleep(50)
      }
    },
  }
}

async function ended({ child, output }: Started): Promise<number> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  assert.notEqual(child.exitCode, null, `it was ended by ${child.signalCode}:\n${output()}`)
  return child.exitCode ?? -1
}

async function localOf(state: string): Promise<Local> {
  const local = await readLocal(state)
  assert.ok(local, 'local.json is there')
  return local
}

async function goneAll(pids: readonly number[]): Promise<void> {
  const late = AbortSignal.timeout(10_000)
  while (pids.some(isRunning)) {
    if (late.aborted) assert.fail(`left behind: ${pids.filter(isRunning).join(', ')}`)
    await sleep(50)
  }
}

/** The process of a part once it is another than this. */
async function replaced(state: string, name: string, pid: number): Promise<number> {
  for (;;) {
    const now = (await localOf(state)).processes.find((one) => one.name === name)
    if (now && now.pid !== pid) return now.pid
    await sleep(100)
  }
}

/** The local.json that names so many parts. */
async function wholeAgain(state: string, parts: number): Promise<Local> {
  const late = AbortSignal.timeout(60_000)
  for (;;) {
    const local = await localOf(state)
    if (local.processes.length === parts) return local
    assert.ok(!late.aborted, `only ${local.processes.map(({ name }) => name).join(', ')} came back`)
    await sleep(100)
  }
}

test(
  'the demo ends well though the coordinator is killed with -9 in the middle',
  { timeout: 220_000 },
  async () => {
    const { brokers } = await brokerForTests()
    const state = join(dir, 'demo')
    const file = join(dir, 'summary.json')
    const flags = ['--until-done', '--summary', file, '--state', state, '--port-base', '24092']
    const run = start(flags, { KAFKA_BROKERS: brokers.join(',') })
    await run.until('kill -9 image-quality')
    const coordinator = (await localOf(state)).processes.find(({ name }) => name === 'coordinator')
    assert.ok(coordinator)
    process.kill(coordinator.pid, 'SIGKILL')
    assert.equal(await ended(run), 0, run.output())
    const summary = JSON.parse(await readFile(file, 'utf8')) as Summary
    assert.deepEqual(summary.audit, { missing: 0, duplicate: 0, unplanned: 0 })
    assert.equal(summary.faults.length, 7)
    assert.deepEqual(
      summary.faults.filter(({ ok }) => !ok),
      [],
    )
    const restarted = new Set(summary.restarts.map(({ name }) => name))
    assert.deepEqual(restarted, new Set(['image-quality', 'coordinator']))
    assert.equal(await readLocal(state), undefined)

    const client = openClient({ brokers, topicPrefix: 'wellspring.' })
    const ours: string[] = []
    for await (const { key } of client.readAll('results.v1')) ours.push(key?.toString() ?? '')
    await client.close()
    const java = await javaConsume({ brokers, topic: 'wellspring.results.v1' })
    const keys = java.map(({ key }) => key)
    assert.equal(keys.length, ours.length)
    assert.deepEqual(new Set(keys), new Set(ours))
    assert.equal(new Set(keys).size, keys.length, 'every key once')
  },
)

test('what dies is started again, and nothing is left behind', { timeout: 120_000 }, async (t) => {
  // As a run before this version left it, in a shell without a umask.
  const umask = process.umask(0)
  t.after(() => process.umask(umask))
  const state = join(dir, '.wellspring')
  mkdirSync(join(state, 'store'), { recursive: true })
  const flags = ['--no-demo', '--state', state, '--port-base', '25092']
  const secrets = { AWS_SECRET_ACCESS_KEY: 's', KAFKA_PASSWORD: 's', A_TOKEN: 's' }
  const run = start(flags, { ...secrets, QUEUE_LENGTH_MAX: '9', LC_TIME: 'C' })
  await run.until('everything stays up')
  isOwnersAlone(state)
  for (const { kind, pid } of (await localOf(state)).processes)
    if (kind === 'legacy' || kind === 'wrapper') hasNoSecrets(pid, Object.keys(secrets), kind)
  // On a Kafka that has just begun a coordinator may have to try twice.
  const before = await wholeAgain(state, 9)
  for (const name of ['kafka', 'well-profile'] as const) {
    const part = before.processes.find((one) => one.name === name)
    assert.ok(part)
    process.kill(part.pid, 'SIGKILL')
    await replaced(state, name, part.pid)
  }
  // Without its Kafka the coordinator may have ended too, and be on its way back.
  const now = await wholeAgain(state, before.processes.length)
  assert.deepEqual(
    now.processes.map(({ name, address }) => [name, address]),
    before.processes.map(({ name, address }) => [name, address]),
  )

  const second = start(flags)
  assert.equal(await ended(second), 1)
  assert.match(second.output(), /npm start runs already in this folder/)

  run.child.kill('SIGINT')
  assert.equal(await ended(run), 0)
  await goneAll(now.processes.map(({ pid }) => pid))

  const again = start(flags)
  await again.until('everything stays up')
  const pids = (await localOf(state)).processes.map(({ pid }) => pid)
  again.child.kill('SIGKILL')
  await goneAll(pids)
})

/** All below the directory and it itself can be read by no other user. */
function isOwnersAlone(state: string): void {
  const entries = readdirSync(state, { recursive: true, encoding: 'utf8' })
  assert.ok(entries.some((name) => name.endsWith('local.json')))
  assert.ok(entries.some((name) => name.endsWith('.log')))
  const open = ['.', ...entries].filter((name) => {
    const status = statSync(join(state, name), { throwIfNoEntry: false })
    return status && (status.mode & 0o077) !== 0
  })
  assert.deepEqual(open, [])
}

/** The environment of a process, where the system shows it. */
function hasNoSecrets(pid: number, secrets: readonly string[], kind: string): void {
  const file = `/proc/${pid}/environ`
  if (!existsSync(file)) return
  const names = new Set(
    readFileSync(file, 'utf8')
      .split('\0')
      .map((one) => one.split('=', 1)[0]),
  )
  for (const secret of secrets) assert.ok(!names.has(secret), `${kind} knows ${secret}`)
  assert.ok(names.has('PATH') && names.has('LC_TIME'))
  assert.equal(names.has('QUEUE_LENGTH_MAX'), kind === 'legacy')
  assert.equal(names.has('KAFKA_BROKERS'), false)
}

test('a taken port, an unreachable cluster and a missing Java each say the way out', async () => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const taken = start(['--no-demo', '--state', join(dir, 'x'), '--port-base', String(port)])
  assert.equal(await ended(taken), 1)
  assert.match(taken.output(), new RegExp(`port ${port} .*is taken.*--port-base`, 's'))
  server.close()

  const away = start(['--no-demo', '--state', join(dir, 'x'), '--port-base', '26092'], {
    KAFKA_BROKERS: '127.0.0.1:1',
  })
  assert.equal(await ended(away), 1)
  assert.match(away.output(), /no Kafka answers at 127.0.0.1:1.*unset KAFKA_BROKERS/s)

  const { KAFKA_BROKERS: _a, WELLSPRING_TEST_BROKERS: _b, JAVA_HOME: _c, ...rest } = process.env
  const run = spawn(process.execPath, ['dev/run.mjs', 'dev/start.ts'], {
    cwd: root,
    env: { ...rest, PATH: '/nowhere' },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let said = ''
  run.stderr.on('data', (part: Buffer) => {
    said += part.toString()
  })
  await once(run, 'close')
  assert.equal(run.exitCode, 1)
  assert.match(said, /Java is missing.*Install a JDK.*KAFKA_BROKERS/s)
})
