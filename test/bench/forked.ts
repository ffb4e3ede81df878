// A step service in a process of its own, set by its parent.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import type { Happened, Kind, Setting } from './pressed.ts'

export type Forked = {
  readonly address: string
  /** Sets it, and tells what happened since it was last set. */
  set(setting: Setting): Promise<Happened>
  end(): void
}

export async function forked(kind: Kind, first: Setting): Promise<Forked> {
  const child = fork(new URL('pressed.ts', import.meta.url), [kind], { execPath: process.execPath })
  const [{ address }] = (await once(child, 'message')) as [{ address: string }]
  const set = async (setting: Setting): Promise<Happened> => {
    const answered = once(child, 'message')
    child.send(setting)
    const [happened] = (await answered) as [Happened]
    return happened
  }
  await set(first)
  return { address, set, end: () => child.disconnect() }
}
