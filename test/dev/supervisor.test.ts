import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, test } from 'node:test'
import { startProgram } from '../../dev/child.ts'
import { isRunning } from '../../dev/local.ts'
import { supervise, type Part } from '../../dev/supervisor.ts'

let dir = ''
before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'wellspring-supervisor-'))
})
after(() => rm(dir, { recursive: true, force: true }))

const READY = `console.log(JSON.stringify({ ready: 'x', address: '127.0.0.1:1' }))`
const WAIT = `setInterval(() => {}, 1000)`

function part(name: string, script: string): Part {
  const args = ['-e', script]
  const log = join(dir, `${name}.log`)
  const start = (): ReturnType<typeof startProgram> =>
    startProgram({ name, command: process.execPath, args, log })
  return { name, kind: 'legacy', start }
}

/** A promise that resolves at the next change for which the condition holds. */
function changes(): { tell: () => void; until: (holds: () => boolean) => Promise<void> } {
  const waiting = new Set<() => void>()
  return {
    tell: () => {
      for (const look of waiting) look()
    },
    until: (holds) => {
      const done = Promise.withResolvers<void>()
      const look = (): void => {
        if (!holds()) return
        waiting.delete(look)
        done.resolve()
      }
      waiting.add(look)
      look()
      return done.promise
    },
  }
}

test('a part killed with -9 is started again, and the list names the new process', async () => {
  const change = changes()
  const supervisor = supervise(change.tell)
  const first = await supervisor.start(part('steady', `${READY};${WAIT}`))
  supervisor.crash('steady')
  await change.until(() => supervisor.restarts().some(({ newPid }) => newPid > 0))
  const [now] = supervisor.processes()
  assert.ok(now)
  assert.notEqual(now.pid, first.pid)
  assert.ok(isRunning(now.pid))
  assert.equal(supervisor.restarts()[0]?.how, 'SIGKILL')
  await supervisor.stop()
  assert.equal(isRunning(now.pid), false)
})

test('stopping ends also a part that ignores SIGTERM, and starts nothing again', async () => {
  const supervisor = supervise(() => {})
  const stubborn = await supervisor.start(
    part('stubborn', `process.on('SIGTERM', () => {});${READY};${WAIT}`),
  )
  await supervisor.stop()
  assert.equal(isRunning(stubborn.pid), false)
  assert.equal(supervisor.restarts().length, 0)
})

test('a part that cannot start says why, with its last words', async () => {
  const supervisor = supervise(() => {})
  await assert.rejects(
    supervisor.start(part('broken', `console.error('no such port'); process.exit(3)`)),
    /broken did not start: it ended \(exit code 3\).*broken\.log.*no such port/s,
  )
  await supervisor.stop()
})

test('what a part prints is in its log', async () => {
  const supervisor = supervise(() => {})
  await supervisor.start(part('chatty', `console.error('heard');${READY};${WAIT}`))
  await supervisor.stop()
  assert.match(await readFile(join(dir, 'chatty.log'), 'utf8'), /heard/)
})

test('kill -9 of the supervisor leaves no child behind', async () => {
  const script = join(dir, 'host.ts')
  const dev = join(import.meta.dirname, '..', '..', 'dev')
  await writeFile(
    script,
    `import { startProgram } from ${JSON.stringify(join(dev, 'child.ts'))}
import { supervise } from ${JSON.stringify(join(dev, 'supervisor.ts'))}
const supervisor = supervise(() => {})
const { pid } = await supervisor.start({ name: 'a', kind: 'legacy', start: () => startProgram({
  name: 'a', command: process.execPath, args: ['-e', ${JSON.stringify(`${READY};${WAIT}`)}], log: ${JSON.stringify(join(dir, 'a.log'))} }) })
console.log(pid)
`,
  )
  const host = spawn(process.execPath, [script], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [line] = (await once(createInterface({ input: host.stdout }), 'line')) as [string]
  const child = Number(line)
  assert.ok(isRunning(child))
  host.kill('SIGKILL')
  const gone = AbortSignal.timeout(10_000)
  while (isRunning(child)) {
    gone.throwIfAborted()
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
})
