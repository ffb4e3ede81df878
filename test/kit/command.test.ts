import assert from 'node:assert/strict'
import { existsSync, readFileSync, watch } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { create } from '@bufbuild/protobuf'
import { status } from '@grpc/grpc-js'
import { EchoService } from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import {
  CancelRequestSchema,
  StepIntrospectionService,
} from '#proto/wellspring/step/v1/introspection_pb.ts'
import { runCommand, type CommandOptions } from '../../services/kit/command.ts'
import { begin, contextOf, digest, echoRequest, refusal, scratch, startEcho } from './support.ts'

const { signal } = new AbortController()
const traceparent = `00-${'1'.repeat(32)}-${'2'.repeat(16)}-01`

function shell(script: string, more: Partial<CommandOptions> = {}): CommandOptions {
  return { command: 'sh', args: ['-c', script], signal, traceparent, ...more }
}

/** Whether a process runs: not gone, and not a zombie that nobody has waited for yet. */
function runs(pid: number): boolean {
  const path = `/proc/${pid}/stat`
  return existsSync(path) && !/^\d+ \(.*\) Z/.test(readFileSync(path, 'utf8'))
}

/** Resolves when a process is gone: the kernel takes a moment over a kill, and tells only the parent. */
async function gone(pid: number): Promise<void> {
  const until = performance.now() + 2_000
  while (runs(pid)) {
    assert.ok(performance.now() < until, `process ${pid} still runs`)
    await sleep(2)
  }
}

/** The process ids in a file, once a program has written `count` of them. */
async function pidsIn(directory: string, count: number): Promise<number[]> {
  const read = (): number[] => {
    const path = join(directory, 'pids')
    return existsSync(path) ? readFileSync(path, 'utf8').split('\n').slice(0, -1).map(Number) : []
  }
  const watcher = watch(directory)
  try {
    while (read().length < count)
      await new Promise<void>((resolve) => watcher.once('change', () => resolve()))
    return read()
  } finally {
    watcher.close()
  }
}

test('a program gets its input, its environment and the trace context', async () => {
  const script = 'cat; printf " %s %s" "$TRACEPARENT" "$EXTRA"; echo grumble >&2; exit 3'
  const result = await runCommand(shell(script, { stdin: 'input', env: { EXTRA: 'e' } }))
  assert.deepEqual(result, {
    kind: 'exited',
    code: 3,
    stdout: `input ${traceparent} e`,
    stderr: 'grumble\n',
  })
})

test('a program gets none of what its wrapper knows, but what is named for it', async (t) => {
  const secrets = [
    'KAFKA_PASSWORD',
    'AWS_SECRET_ACCESS_KEY',
    'OTEL_EXPORTER_OTLP_HEADERS',
    'WELLSPRING_STORE',
    'GITHUB_TOKEN',
    'NODE_OPTIONS',
    'LD_PRELOAD',
    'https_proxy',
    'PATH_TO_KEY',
  ]
  const plain = { LC_TIME: 'C', TZ: 'UTC', HOME: '/h', CUDA_VISIBLE_DEVICES: '1', OMP_THREADS: '2' }
  const before = { ...process.env }
  t.after(() => {
    process.env = before
  })
  for (const name of secrets) process.env[name] = name === 'NODE_OPTIONS' ? '' : 'secret'
  delete process.env['LD_PRELOAD']
  Object.assign(process.env, plain, { WELLSPRING_PROGRAM_ENV: 'CUDA_VISIBLE_DEVICES, *' })
  const ran = await runCommand({ ...shell('env'), passEnv: ['OMP_*'] })
  assert.ok(ran.kind === 'exited')
  const names = new Set(ran.stdout.split('\n').map((line) => line.split('=', 1)[0] ?? ''))
  for (const name of secrets) assert.ok(!names.has(name), name)
  for (const name of ['PATH', 'TRACEPARENT', ...Object.keys(plain)])
    assert.ok(names.has(name), name)
  assert.ok(!ran.stdout.includes('secret'))
})

test('a program that is not there, crashes or writes too much is a result', async () => {
  const missing = await runCommand({ ...shell(''), command: '/nonexistent/program' })
  assert.equal(missing.kind, 'not-started')
  const crashed = await runCommand(shell('kill -SEGV $$'))
  assert.equal(crashed.kind === 'killed' && crashed.signal, 'SIGSEGV')
  const endless = await runCommand(shell('while :; do echo xxxxxxxxxxxxxxxx; done'))
  assert.equal(endless.kind, 'too-much-output')
})

test('of standard error the end is kept', async () => {
  const script = 'i=0; while [ $i -lt 2000 ]; do echo "line $i" >&2; i=$((i+1)); done'
  const result = await runCommand(shell(script, { stderrBytesMax: 100 }))
  assert.ok(result.kind === 'exited' && result.stderr.length === 100)
  assert.match(result.stderr, /line 1999\n$/)
})

test('the time limit ends a program and what it started', async (t) => {
  const directory = scratch(t)
  const script = 'sleep 1000 & echo $! >> pids; echo $$ >> pids; wait'
  const result = await runCommand(shell(script, { cwd: directory, timeoutMs: 200 }))
  assert.equal(result.kind, 'timed-out')
  for (const pid of await pidsIn(directory, 2)) await gone(pid)
})

test('a program that ends leaves nothing running that holds its output open', async (t) => {
  const directory = scratch(t)
  const result = await runCommand(shell('sleep 1000 & echo $! >> pids', { cwd: directory }))
  assert.equal(result.kind, 'exited')
  const [pid = 0] = await pidsIn(directory, 1)
  await gone(pid)
})

test('Cancel of a key ends the whole process group and answers its caller', async (t) => {
  const directory = scratch(t)
  const script = 'sleep 1000 & echo $! >> pids; echo $$ >> pids; wait'
  const ended = Promise.withResolvers<unknown>()
  const { client } = await startEcho(t, async (_, call) => {
    const options = shell(script, { cwd: directory, signal: call.signal })
    await runCommand(options).catch((error: unknown) => {
      ended.resolve(error)
      throw error
    })
    return { digest }
  })
  const { answer } = begin(client, EchoService.method.echoImage, echoRequest('1'))
  const pids = await pidsIn(directory, 2)
  for (const pid of pids) assert.equal(runs(pid), true)
  const request = create(CancelRequestSchema, { idempotencyKey: contextOf('1').idempotencyKey })
  const { cancel } = StepIntrospectionService.method
  assert.equal((await begin(client, cancel, request).answer).wasRunning, true)
  assert.equal((await refusal(answer)).code, status.CANCELLED)
  await ended.promise
  for (const pid of pids) await gone(pid)
})
