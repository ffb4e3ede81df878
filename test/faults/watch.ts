// Looks at a run every few seconds, from outside: memory and handles of the coordinators by /proc, how far their
// committed checkpoints are behind the inputs, and how much state.v1 holds.
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fromBinary } from '@bufbuild/protobuf'
import { CheckpointSchema } from '#proto/wellspring/journal/v1/state_pb.ts'
import type { Client } from '@wellspring/kafka/client.ts'
import { createKafka } from '@wellspring/kafka/connection.ts'
import type { LogSample, Sample } from './evidence.ts'
import { followTopic } from './follow.ts'
import type { Vitals } from './vitals.ts'

const INPUTS = ['images.v1', 'commands.v1'] as const

/** proc(5), /proc/pid/clear_refs. */
const RESET_PEAK = '5'

export type Watched = {
  /** Coordinators that run at this moment; the file is the one of vitals.ts. */
  readonly processes: () => readonly { name: string; pid: number; vitals: string }[]
  readonly brokers: readonly string[]
  readonly topicPrefix: string
  readonly client: Client
  /** Where the broker keeps its segment files. */
  readonly dataDir: string
  readonly everyMs: number
}

export type Watch = {
  readonly samples: readonly Sample[]
  readonly log: readonly LogSample[]
  close(): Promise<void>
}

/** Without it memory and handles cannot be seen from outside. */
export const canSeeProcesses = existsSync('/proc/self/status')

export function watch(watched: Watched): Watch {
  const samples: Sample[] = []
  const log: LogSample[] = []
  const ending = new AbortController()
  const state = followState(watched.client, ending.signal)

  async function look(): Promise<void> {
    const atMs = Date.now()
    if (canSeeProcesses)
      for (const { name, pid, vitals } of watched.processes())
        samples.push(...sampleOf({ name, pid, atMs }, vitals))
    const ends = await endsOf(watched).catch(() => undefined)
    // The broker is away: nobody can be behind what cannot be written.
    if (ends === undefined) return
    let lagRecords = 0
    for (const [place, end] of ends) lagRecords += Math.max(0, end - state.next(place))
    const stateBytes = bytesOf(watched.dataDir, `${watched.topicPrefix}state.v1-`)
    log.push({ atMs, lagRecords, openKeys: state.openKeys(), stateBytes })
  }

  const looking = (async () => {
    while (!ending.signal.aborted) {
      await look()
      await sleep(watched.everyMs, undefined, { signal: ending.signal }).catch(() => {})
    }
  })()
  return {
    samples,
    log,
    async close() {
      ending.abort()
      await Promise.all([looking, state.followed])
    },
  }
}

/** None of a process that has just ended. */
function sampleOf(who: Pick<Sample, 'name' | 'pid' | 'atMs'>, vitals: string): Sample[] {
  try {
    const status = readFileSync(`/proc/${who.pid}/status`, 'utf8')
    const rssBytes = Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1_024
    if (Number.isNaN(rssBytes)) return []
    const peakBytes = Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) * 1_024
    // The kernel begins anew with what there is now: the next look sees the most since this one.
    writeFileSync(`/proc/${who.pid}/clear_refs`, RESET_PEAK)
    const handles = readdirSync(`/proc/${who.pid}/fd`).length
    return [{ ...who, rssBytes, peakBytes, handles, ...vitalsOf(vitals, who.pid) }]
  } catch {
    return []
  }
}

function vitalsOf(file: string, pid: number): Partial<Vitals> {
  try {
    const vitals = JSON.parse(readFileSync(file, 'utf8')) as Vitals
    return vitals.pid === pid ? vitals : {}
  } catch {
    return {} // it has told nothing yet, or is writing
  }
}

/** Next offset of every input partition, by <topic>/<partition>. */
async function endsOf({ brokers, topicPrefix }: Watched): Promise<Map<string, number>> {
  const admin = createKafka({ brokers, clientId: 'faults', logger: () => {} }).admin()
  const ends = new Map<string, number>()
  try {
    await admin.connect()
    for (const topic of INPUTS)
      for (const { partition, high } of await admin.fetchTopicOffsets(topicPrefix + topic))
        ends.set(`${topic}/${partition}`, Number(high))
    return ends
  } finally {
    await admin.disconnect()
  }
}

/** What the committed records of state.v1 say: how far the inputs were taken in, and which keys have a value. */
function followState(client: Client, signal: AbortSignal) {
  const next = new Map<string, number>()
  const open = new Set<string>()
  const followed = followTopic(client, 'state.v1', signal, ({ partition, key, value }) => {
    const name = key?.toString() ?? ''
    if (name === '#ckpt' && value !== null)
      for (const one of fromBinary(CheckpointSchema, value).next)
        next.set(`${one.topic}/${partition}`, one.next)
    // A plate keeps its summary for ever: <experiment>/<plate>/<acquisition>.
    if (name.startsWith('#') || (name.split('/').length === 3 && !name.includes('#'))) return
    if (value === null) open.delete(name)
    else open.add(name)
  })
  return {
    followed,
    next: (place: string): number => next.get(place) ?? 0,
    openKeys: (): number => open.size,
  }
}

/** A segment that is compacted away meanwhile counts as nothing. */
function bytesOf(dataDir: string, prefix: string): number {
  let bytes = 0
  for (const partition of readdirSync(dataDir))
    if (partition.startsWith(prefix) && !partition.endsWith('-delete'))
      for (const file of readdirSync(join(dataDir, partition)))
        if (file.endsWith('.log'))
          bytes += statSync(join(dataDir, partition, file), { throwIfNoEntry: false })?.size ?? 0
  return bytes
}
