// The step services of a run: two honest replicas with the kit, one without it that lies when told. Each keeps its
// port and its log of executions over its deaths.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { EchoService } from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import type { Running } from '../../dev/child.ts'
import { startProgram } from '../../dev/child.ts'
import type { Lie } from './schedule.ts'
import type { Mode } from './service.ts'

const limits = { workMs: 20 } as const

export type Services = {
  /** Of WELLSPRING_SERVICES. */
  readonly addresses: string
  /** kill -9 of an honest replica, back after downMs. */
  kill(which: number, downMs: number): Promise<void>
  /** It takes connections and answers nothing. */
  stop(which: number, forMs: number): Promise<void>
  lie(lie: Lie, forMs: number): void
  /** All back, and honest. */
  heal(): Promise<void>
  /** Logs of executions, one JSON object a line. */
  readonly callLogs: readonly string[]
  pids(): number[]
  close(): Promise<void>
}

type Replica = { readonly name: string; running: Running | undefined; back: Promise<void> }

export async function openServices(dir: string, onChange: () => void): Promise<Services> {
  const modeFile = join(dir, 'liar.mode.json')
  const honest: Replica[] = []
  for (const name of ['echo-1', 'echo-2'])
    honest.push({ name, running: await start(name), back: Promise.resolve() })
  const liar = await start('liar')
  const addresses = [...honest.map(({ running }) => running), liar].flatMap((one) =>
    one ? [one.address] : [],
  )
  const ports = new Map(honest.map(({ name, running }) => [name, running?.address ?? '']))
  const callLogs = ['echo-1', 'echo-2', 'liar'].map((name) => join(dir, `${name}.calls.jsonl`))
  for (const file of callLogs) writeFileSync(file, '')
  let isClosing = false

  function start(name: string, listen = '127.0.0.1:0'): Promise<Running> {
    return startProgram({
      name,
      command: process.execPath,
      args: [name === 'liar' ? 'test/faults/service.ts' : 'services/echo/main.ts'],
      log: join(dir, `${name}.log`),
      env: {
        WELLSPRING_LISTEN: listen,
        WELLSPRING_STORE: join(dir, 'store'),
        WELLSPRING_ECHO_DELAY_MS: String(limits.workMs),
        WELLSPRING_ECHO_LOG: join(dir, `${name}.calls.jsonl`),
        FAULTS_MODE: modeFile,
      },
    })
  }

  function signal(replica: Replica | undefined, name: 'SIGSTOP' | 'SIGCONT' | 'SIGKILL'): void {
    try {
      if (replica?.running) process.kill(replica.running.pid, name)
    } catch {
      // gone already
    }
  }

  const pids = (): number[] => [...honest.flatMap(({ running }) => running?.pid ?? []), liar.pid]

  return {
    addresses: addresses.map((address) => `${EchoService.typeName}=${address}`).join(','),
    async kill(which, downMs) {
      const replica = honest[which]
      if (!replica?.running) return
      signal(replica, 'SIGKILL')
      await replica.running.exited
      replica.running = undefined
      onChange()
      replica.back = sleep(downMs).then(async () => {
        if (isClosing) return
        replica.running = await start(replica.name, ports.get(replica.name))
        onChange()
      })
      await replica.back
    },
    async stop(which, forMs) {
      const replica = honest[which]
      signal(replica, 'SIGSTOP')
      await sleep(forMs)
      signal(replica, 'SIGCONT')
    },
    lie(lie, forMs) {
      const mode: Mode = { lie, untilMs: Date.now() + forMs }
      writeFileSync(modeFile, JSON.stringify(mode))
    },
    async heal() {
      writeFileSync(modeFile, '{}')
      for (const replica of honest) {
        signal(replica, 'SIGCONT')
        await replica.back
      }
    },
    callLogs,
    pids,
    async close() {
      isClosing = true
      for (const replica of honest) signal(replica, 'SIGCONT')
      await Promise.all(honest.map(({ back }) => back.catch(() => {})))
      await Promise.all([...honest.map(({ running }) => running?.stop()), liar.stop()])
    },
  }
}
