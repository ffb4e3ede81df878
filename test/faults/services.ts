// The step services of a run: honest replicas with the kit, one without it that lies when told, and one that is there
// only now and then, with a contract of its own. Each keeps its port and its log of executions over its deaths.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { EchoFileService } from '#proto/wellspring/steps/echo/v1/echo_file_pb.ts'
import { EchoService } from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import { startProgram, type Running } from '../../dev/child.ts'
import { takePort } from '../../dev/broker.ts'
import type { Output, Variant } from './kinds/draw.ts'
import { FAILS_AT_LENGTH } from './kinds/entities.ts'
import type { Lie } from './schedule.ts'
import type { Mode } from './service.ts'

const limits = { workMs: 20, messageChars: 1_024 } as const

/** What is asked for of calls by the name of their plate. */
const failures = {
  [`/${FAILS_AT_LENGTH}`]: { reason: 'NOT_YET', messageChars: limits.messageChars },
} as const

export type Services = {
  /** Of WELLSPRING_SERVICES. */
  readonly addresses: string
  /** Images below it must be there. */
  readonly shareDir: string
  /** kill -9 of an honest replica, back after downMs. */
  kill(which: number, downMs: number): Promise<void>
  /** It takes connections and answers nothing. */
  stop(which: number, forMs: number): Promise<void>
  lie(lie: Lie, forMs: number): void
  /** Outputs that are named and are not what they are said to be. */
  lieAboutOutputs(output: Output, forMs: number): void
  /** A replica more, whose contract is another, until `work` is done. false: there is one already. */
  odd(variant: Variant, work: () => Promise<void>): Promise<boolean>
  /** All back, and honest. */
  heal(): Promise<void>
  /** Logs of executions, one JSON object a line. */
  readonly callLogs: readonly string[]
  pids(): number[]
  close(): Promise<void>
}

type Replica = { readonly name: Name; running: Running | undefined; back: Promise<void> }

/** Program of each. */
const programs = {
  'echo-1': 'services/echo/main.ts',
  'echo-2': 'services/echo/main.ts',
  file: 'services/echo/file.ts',
  liar: 'test/faults/service.ts',
  odd: 'test/faults/odd-service.ts',
} as const
type Name = keyof typeof programs

export async function openServices(dir: string, onChange: () => void): Promise<Services> {
  const modeFile = join(dir, 'liar.mode.json')
  const shareDir = join(dir, 'share')
  mkdirSync(shareDir, { recursive: true })
  const honest: Replica[] = []
  const [liar, file] = await startAll().catch(async (error: unknown) => {
    await Promise.all(honest.flatMap(({ running }) => (running ? [running.stop()] : [])))
    throw error
  })
  const oddAddress = `127.0.0.1:${await takePort(0)}`
  let odd: Running | undefined
  const echoes = [...honest.map(({ running }) => running), liar].flatMap((one) =>
    one ? [one.address] : [],
  )
  const ports = new Map(honest.map(({ name, running }) => [name, running?.address ?? '']))
  const callLogs = Object.keys(programs).map((name) => join(dir, `${name}.calls.jsonl`))
  for (const log of callLogs) writeFileSync(log, '')
  let isClosing = false

  /** The honest ones first; what is started when another fails is there to be ended. */
  async function startAll(): Promise<[Running, Running]> {
    for (const name of ['echo-1', 'echo-2'] as const)
      honest.push({ name, running: await start(name), back: Promise.resolve() })
    const lying = await start('liar')
    try {
      return [lying, await start('file')]
    } catch (error) {
      await lying.stop()
      throw error
    }
  }

  function start(name: Name, listen = '127.0.0.1:0', more = {}): Promise<Running> {
    return startProgram({
      name,
      command: process.execPath,
      args: [programs[name]],
      log: join(dir, `${name}.log`),
      env: {
        WELLSPRING_LISTEN: listen,
        WELLSPRING_STORE: join(dir, 'store'),
        WELLSPRING_ECHO_DELAY_MS: String(limits.workMs),
        WELLSPRING_ECHO_LOG: join(dir, `${name}.calls.jsonl`),
        WELLSPRING_ECHO_FAIL: JSON.stringify(failures),
        WELLSPRING_ECHO_PRESENT_BELOW: pathToFileURL(shareDir).href,
        FAULTS_MODE: modeFile,
        ...more,
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

  const pids = (): number[] =>
    [...honest.map(({ running }) => running), odd, liar, file].flatMap((one) => one?.pid ?? [])

  function told(mode: Mode): void {
    writeFileSync(modeFile, JSON.stringify(mode))
  }

  return {
    addresses: [
      ...[...echoes, oddAddress].map((address) => `${EchoService.typeName}=${address}`),
      ...[file, liar].map(({ address }) => `${EchoFileService.typeName}=${address}`),
    ].join(','),
    shareDir,
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
    lie: (lie, forMs) => told({ lie, untilMs: Date.now() + forMs }),
    lieAboutOutputs: (output, forMs) => told({ output, untilMs: Date.now() + forMs }),
    async odd(variant, work) {
      if (odd || isClosing) return false
      odd = await start('odd', oddAddress, { FAULTS_VARIANT: variant })
      onChange()
      try {
        await work()
      } finally {
        await odd.stop()
        odd = undefined
        onChange()
      }
      return true
    },
    async heal() {
      told({ untilMs: 0 })
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
      const all = [...honest.map(({ running }) => running), odd, liar, file]
      await Promise.all(all.flatMap((one) => (one ? [one.stop()] : [])))
    },
  }
}
