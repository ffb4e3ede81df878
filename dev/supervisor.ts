// Keeps the parts of npm start running: what dies is started again, and nothing outlives us.
import { setTimeout as sleep } from 'node:timers/promises'
import { startGuard, type Running } from './child.ts'
import type { LocalProcess, ProcessKind } from './local.ts'

const limits = { backoffMs: 200, backoffMaxMs: 5_000, steadyMs: 10_000 } as const

/** Stopped in this order, kind by kind: whoever calls goes before whom it calls. */
const STOP_ORDER: readonly ProcessKind[] = ['coordinator', 'wrapper', 'legacy', 'kafka']

export type Part = {
  readonly name: string
  readonly kind: ProcessKind
  /** Must take the same port every time. */
  readonly start: () => Promise<Running>
}

export type Restart = {
  readonly name: string
  readonly how: string
  readonly at: number
  readonly oldPid: number
  /** 0 while it is not back yet. */
  newPid: number
}

export interface Supervisor {
  /** Starts a part and keeps it running from then on. Rejects when the first start fails. */
  start(part: Part): Promise<Running>
  /** What runs now, in order of start. */
  processes(): readonly LocalProcess[]
  /** Parts that should run but do not at this moment. */
  missing(): readonly string[]
  restarts(): readonly Restart[]
  /** kill -9 of one part, as a crash would; it is started again. */
  crash(name: string): void
  /** Stops everything, bounded in time. */
  stop(): Promise<void>
}

type Kept = { readonly part: Part; running: Running | undefined; ended: Promise<void> }

/** onChange is told whenever a process id changed. */
export function supervise(onChange: () => void): Supervisor {
  const kept: Kept[] = []
  const restarts: Restart[] = []
  const guard = startGuard()
  const stopping = new AbortController()
  const change = (): void => {
    guard.watch(kept.flatMap(({ running }) => (running === undefined ? [] : [running.pid])))
    onChange()
  }

  async function keep(entry: Kept, first: Running): Promise<void> {
    let running = first
    for (;;) {
      const since = performance.now()
      const how = await running.exited
      entry.running = undefined
      change()
      if (stopping.signal.aborted) return
      const steady = performance.now() - since > limits.steadyMs
      const restart = { name: entry.part.name, how, at: Date.now(), oldPid: running.pid, newPid: 0 }
      restarts.push(restart)
      const again = await startAgain(entry.part, steady ? 0 : limits.backoffMs, stopping.signal)
      if (again === undefined) return
      running = again
      entry.running = again
      restart.newPid = again.pid
      change()
    }
  }

  return {
    async start(part) {
      const running = await part.start()
      const entry: Kept = { part, running, ended: Promise.resolve() }
      kept.push(entry)
      change()
      entry.ended = keep(entry, running)
      return running
    },
    processes: () =>
      kept.flatMap(({ part: { name, kind }, running }) =>
        running === undefined ? [] : [{ name, kind, pid: running.pid, address: running.address }],
      ),
    missing: () => kept.filter(({ running }) => running === undefined).map(({ part }) => part.name),
    restarts: () => restarts,
    crash(name) {
      const pid = kept.find(({ part }) => part.name === name)?.running?.pid
      if (pid === undefined) throw new Error(`${name} does not run`)
      process.kill(pid, 'SIGKILL')
    },
    async stop() {
      stopping.abort()
      for (const kind of STOP_ORDER) {
        const ours = kept.filter(({ part }) => part.kind === kind)
        await Promise.all(
          ours.map(async ({ running, ended }) => {
            await running?.stop()
            await ended
          }),
        )
      }
      guard.release()
    },
  }
}

/** Until it starts, or we stop: then undefined. */
async function startAgain(
  part: Part,
  firstMs: number,
  signal: AbortSignal,
): Promise<Running | undefined> {
  let waitMs = firstMs
  for (;;) {
    await sleep(waitMs, undefined, { signal }).catch(() => {})
    if (signal.aborted) return undefined
    waitMs = Math.min(Math.max(waitMs * 2, limits.backoffMs), limits.backoffMaxMs)
    try {
      const running = await part.start()
      if (!signal.aborted) return running
      await running.stop()
      return undefined
    } catch {
      // Its log says why; the screen shows that it is down.
    }
  }
}
