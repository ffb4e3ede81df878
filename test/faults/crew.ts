// The coordinators of a run: real processes, started again when they die, as a supervisor would; killed, stopped,
// told to die at a point or to step their clock.
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createWriteStream, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { startProgram } from '../../dev/child.ts'
import { root } from '../../dev/tools.ts'
import type { Control } from './points.ts'

const limits = { restartMs: 300, stopMs: 10_000 } as const

/** What became of the processes, by this process's clock. */
export type CrewEvent =
  | {
      readonly kind: 'started' | 'killed' | 'terminated'
      readonly atMs: number
      readonly name: string
    }
  | {
      readonly kind: 'ended'
      readonly atMs: number
      readonly name: string
      readonly how: string
      /** Somebody wanted it. */
      readonly isMeant: boolean
    }
  | { readonly kind: 'owner'; readonly atMs: number; readonly name: string; readonly task: number }

export type Crew = {
  readonly events: readonly CrewEvent[]
  /** Names of all that ever ran. */
  names(): readonly string[]
  /** Keeps one running from now on. */
  start(name: string): void
  /** SIGTERM, and not again until start(). Resolves when it is gone. */
  stop(name: string): Promise<void>
  /** What runs at this moment; vitals: the file of vitals.ts. */
  processes(): { name: string; pid: number; vitals: string }[]
  /** undefined: it does not run at this moment. */
  pid(name: string): number | undefined
  /** host:port of its OTLP receiver; undefined: it does not run, or has not said it yet. */
  otlp(name: string): string | undefined
  /** http://host:port of the control API of one that runs; undefined: none has said it yet. */
  api(): string | undefined
  kill(name: string): boolean
  control(name: string, change: Control): void
  /** Starts one of another application beside them, and ends it. undefined: it got ready; else how it ended instead. */
  probe(topicPrefix: string): Promise<string | undefined>
  /** Process ids that must not outlive us. */
  pids(): number[]
  close(): Promise<void>
}

export type CrewOptions = {
  readonly dir: string
  readonly env: Readonly<Record<string, string>>
  /** Told whenever a process id changed. */
  readonly onChange: () => void
}

/** URLs that it tells when it is ready. */
type Ready = { readonly otlp?: string; readonly control?: string }

type Member = {
  readonly name: string
  isWanted: boolean
  control: Control
  child: ChildProcess | undefined
  ready: Ready
  /** It was told to go. */
  isTold: boolean
  running: Promise<void> | undefined
}

export function openCrew({ dir, env, onChange }: CrewOptions): Crew {
  const members = new Map<string, Member>()
  const events: CrewEvent[] = []
  const controlFile = (name: string): string => join(dir, `${name}.control.json`)
  const vitalsFile = (name: string): string => join(dir, `${name}.vitals.json`)

  function note(kind: 'started' | 'killed' | 'terminated', name: string): void {
    events.push({ kind, name, atMs: Date.now() })
  }

  /** In one step: the process reads it at any moment. */
  function write({ name, control }: Member): void {
    writeFileSync(`${controlFile(name)}.new`, JSON.stringify(control))
    renameSync(`${controlFile(name)}.new`, controlFile(name))
  }

  async function keep(member: Member): Promise<void> {
    const { name } = member
    while (member.isWanted) {
      const child = launch(member)
      member.child = child
      member.isTold = false
      note('started', name)
      onChange()
      const how = await endOf(child)
      member.child = undefined
      member.ready = {}
      const isAtPoint = member.control.killAt !== undefined && how === 'SIGKILL'
      const isMeant = member.isTold || isAtPoint
      events.push({ kind: 'ended', name, atMs: Date.now(), how, isMeant })
      onChange()
      // A point is for one life.
      const { killAt: _, ...rest } = member.control
      member.control = rest
      write(member)
      if (member.isWanted) await sleep(limits.restartMs)
    }
  }

  function launch(member: Member): ChildProcess {
    const { name } = member
    const preloads = ['points.ts', 'vitals.ts'].flatMap((file) => [
      '--import',
      join(root, 'test/faults', file),
    ])
    const args = [...preloads, 'coordinator/main.ts']
    const child = spawn(process.execPath, args, {
      cwd: root,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        ...process.env,
        ...env,
        WELLSPRING_INSTANCE: name,
        FAULTS_CONTROL: controlFile(name),
        FAULTS_HITS: join(dir, 'hits.txt'),
        FAULTS_VITALS: vitalsFile(name),
      },
    })
    const file = createWriteStream(join(dir, `${name}.log`), { flags: 'a' })
    child.once('close', () => file.end())
    createInterface({ input: child.stdout }).on('line', (line) => {
      if (!line.startsWith('{')) return
      member.ready = JSON.parse(line) as Ready
    })
    createInterface({ input: child.stderr }).on('line', (line) => {
      file.write(`${line}\n`)
      if (!line.includes('"task taken over"')) return
      const { task } = JSON.parse(line) as { task: number }
      events.push({ kind: 'owner', name, task, atMs: Date.now() })
    })
    return child
  }

  return {
    events,
    names: () => [...members.keys()],
    start(name) {
      const member = members.get(name) ?? {
        name,
        isWanted: false,
        control: {},
        child: undefined,
        ready: {},
        isTold: false,
        running: undefined,
      }
      members.set(name, member)
      if (member.isWanted) return
      member.isWanted = true
      write(member)
      // One that was told to stop may still be on its way out.
      const before = member.running ?? Promise.resolve()
      member.running = before.then(() => keep(member))
    },
    async stop(name) {
      const member = members.get(name)
      if (!member) return
      member.isWanted = false
      member.isTold = true
      if (member.child) note('terminated', name)
      member.child?.kill('SIGTERM')
      member.child?.kill('SIGCONT')
      const child = member.child
      const late = setTimeout(() => child?.kill('SIGKILL'), limits.stopMs)
      await member.running
      clearTimeout(late)
    },
    processes: () =>
      [...members.values()].flatMap(({ name, child }) =>
        child?.pid === undefined ? [] : [{ name, pid: child.pid, vitals: vitalsFile(name) }],
      ),
    pid: (name) => members.get(name)?.child?.pid,
    otlp(name) {
      const { otlp } = members.get(name)?.ready ?? {}
      return otlp === undefined ? undefined : new URL(otlp).host
    },
    api: () =>
      [...members.values()].find(({ ready }) => ready.control !== undefined)?.ready.control,
    kill(name) {
      const member = members.get(name)
      const child = member?.child
      if (!child) return false
      member.isTold = true
      note('killed', name)
      return child.kill('SIGKILL')
    },
    control(name, change) {
      const member = members.get(name)
      if (!member) return
      member.control = { ...member.control, ...change }
      write(member)
    },
    async probe(topicPrefix) {
      const own = {
        WELLSPRING_TOPIC_PREFIX: topicPrefix,
        WELLSPRING_APPLICATION: topicPrefix,
        WELLSPRING_INSTANCE: 'probe',
      }
      const args = ['coordinator/main.ts']
      const log = join(dir, 'probe.log')
      const program = { name: 'probe', command: process.execPath, args, log }
      try {
        const running = await startProgram({ ...program, env: { ...env, ...own } })
        await running.stop()
        return undefined
      } catch (error) {
        return error instanceof Error ? error.message : String(error)
      }
    },
    pids: () => [...members.values()].flatMap(({ child }) => child?.pid ?? []),
    async close() {
      await Promise.all([...members.keys()].map((name) => this.stop(name)))
    },
  }
}

async function endOf(child: ChildProcess): Promise<string> {
  const [code, signal] = (await once(child, 'exit')) as [number | null, string | null]
  return signal ?? `exit code ${code}`
}
