// One run: broker, services and coordinators are started, plates are imaged at a steady pace, faults are injected by
// the schedule; then everything is made good, must come to rest, and is judged by what it left behind.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { isClean, type AuditReport } from '../../cli/audit.ts'
import type { CrewEvent } from './crew.ts'
import type { Bounds, JudgedPipeline, LogSample, Sample } from './evidence.ts'
import { feed, untilRest, type Rest } from './feed.ts'
import { followResults, type Arrival } from './follow.ts'
import { injector, nameOf } from './inject.ts'
import type { Kind } from './kinds/draw.ts'
import { openGround, prepare } from './kinds/prepare.ts'
import type { Phases, Planned } from './schedule.ts'
import { openSetting } from './setting.ts'
import { spansRead } from './sink.ts'
import { judge, type Judged } from './verdict.ts'
import { watch, type Watch } from './watch.ts'

const limits = {
  /** From the end of the faults to rest: a missing site is given up after 20 s of quiet, a call after 60 s. */
  restWithinMs: 150_000,
  retiredWithinMs: 60_000,
  lookMs: 500,
  ownedWithinMs: 30_000,
  tellEveryMs: 600_000,
  namesMax: 10,
} as const

export type RunOptions = {
  readonly seed: number
  readonly minutes: number
  readonly coordinators: number
  /** 1 or 3. */
  readonly brokers: number
  /** Module below test/pipelines. */
  readonly pipeline: string
  readonly judged: JudgedPipeline
  readonly tasks: number
  readonly imagesPerSecond: number
  readonly sessionTimeoutMs: number
  readonly faults: readonly Planned[]
  /** Kinds of trouble that come in among them; default: none. */
  readonly kinds?: readonly Kind[]
  /** When memory is compared. */
  readonly phases?: Phases | undefined
  readonly bounds: Bounds
  readonly sampleEveryMs: number
  /** Finished plates are retired after so long, and state.v1 compacts; undefined: neither, all of it can be judged. */
  readonly retireAfterMs?: number
  /** The coordinators log the digest of their state at every n-th flush (T3). */
  readonly digestEvery: number
  readonly say: (line: string) => void
}

/** A fault and what became of it; times by this process's clock. */
export type Injected = Planned & {
  readonly fromMs: number
  readonly toMs: number
  readonly hit: boolean
}

export type RunResult = Judged & {
  readonly injected: readonly Injected[]
  /** How often each point was hit. */
  readonly hits: ReadonlyMap<string, number>
  readonly events: readonly CrewEvent[]
  readonly arrivals: readonly Arrival[]
  readonly samples: readonly Sample[]
  readonly log: readonly LogSample[]
  readonly report: AuditReport
  readonly restMs: number | undefined
  readonly complaints: readonly string[]
}

export async function run(options: RunOptions): Promise<RunResult> {
  const { tasks, say, kinds = [] } = options
  const bombs = await prepare(kinds)
  const setting = await openSetting(options)
  const { crew, services, cluster, client, topicPrefix } = setting
  const { brokers } = cluster
  try {
    for (let at = 0; at < options.coordinators; at += 1) crew.start(nameOf(at))
    const ending = new AbortController()
    const { arrivals, followed } = followResults(client, ending.signal)
    setting.beforeClose(async () => {
      ending.abort()
      await followed
    })
    const watching = watch({
      processes: () => crew.processes(),
      brokers,
      topicPrefix,
      client,
      dataDir: cluster.dataDir,
      everyMs: options.sampleEveryMs,
    })
    setting.beforeClose(() => watching.close())
    const telling = setInterval(() => say(lastLook(watching)), limits.tellEveryMs)
    setting.beforeClose(async () => clearInterval(telling))

    await untilOwned(crew.events, tasks)
    const startedMs = Date.now()
    let isEnough = false
    const feeding = feed(client, options, () => isEnough)
    feeding.catch(() => {})
    const { shareDir } = services
    const given = { brokers, topicPrefix, tasks, crew, services, bombs, shareDir }
    const ground = openGround(client, given)
    const inject = injector({ crew, services, cluster, topicPrefix, tasks, ground })
    const injected = await injectAll(options, startedMs, inject)
    isEnough = true
    await inject.heal()
    for (let at = 0; at < options.coordinators; at += 1) crew.control(nameOf(at), calm)
    const fed = await feeding
    say(`faults are over; ${fed} input records; waiting for rest`)
    const healedMs = Date.now()
    const rest = await untilRest(client, setting.pipeline, healedMs + limits.restWithinMs)
    const restMs = rest.isAtRest ? Date.now() - healedMs : undefined
    if (options.retireAfterMs !== undefined)
      await untilRetired(watching.log, options.retireAfterMs + limits.retiredWithinMs)
    const groupId = `${setting.id}-otlp`
    const spans = kinds.includes('null-header')
      ? await spansRead(brokers, { topicPrefix, groupId })
      : undefined
    await watching.close()
    await crew.close()
    say('reading what the run left behind')
    const judged = await judge({
      options,
      setting,
      watching,
      injected,
      notes: ground.notes,
      spansRead: spans,
      faults: { fromMs: startedMs, toMs: healedMs },
    })
    return {
      ...judged,
      injected,
      hits: hitsIn(join(setting.dir, 'hits.txt')),
      events: crew.events,
      arrivals,
      samples: watching.samples,
      log: watching.log,
      report: rest.report,
      restMs,
      complaints: [...missed(kinds, injected), ...complaintsOf(rest, judged.verdicts)],
    }
  } finally {
    await setting.close()
  }
}

/** Every task has an owner, so that what comes first meets somebody; on a machine that others use up it takes a while. */
async function untilOwned(events: readonly CrewEvent[], tasks: number): Promise<void> {
  for (const endsMs = Date.now() + limits.ownedWithinMs; Date.now() < endsMs;) {
    const owned = events.flatMap((one) => (one.kind === 'owner' ? [one.task] : []))
    if (new Set(owned).size === tasks) return
    await sleep(limits.lookMs)
  }
}

/** A kind that came and met nobody proves nothing. */
function missed(kinds: readonly Kind[], injected: readonly Injected[]): string[] {
  return kinds.flatMap((kind) => {
    const came = injected.filter(({ fault }) => fault.kind === kind)
    const isMissed = came.length > 0 && came.every(({ hit }) => !hit)
    return isMissed ? [`${kind} came ${came.length} times and hit nobody`] : []
  })
}

function complaintsOf(
  { isAtRest, report, problem }: Rest,
  verdicts: RunResult['verdicts'],
): string[] {
  const { missing, duplicate, unplanned, names } = report
  const audited = isAtRest && isClean({ missing, duplicate, unplanned })
  return [
    ...(problem === undefined ? [] : [`the topics cannot be read: ${problem}`]),
    ...(audited ? [] : [`the audit is not clean at the end: ${JSON.stringify(firstOf(names))}`]),
    ...[...verdicts].flatMap(([name, all]) => all.map((complaint) => `${name} ${complaint}`)),
  ]
}

function firstOf(names: AuditReport['names']): object {
  return Object.fromEntries(
    Object.entries(names).map(([what, all]) => [what, all.slice(0, limits.namesMax)]),
  )
}

const calm = { clockShiftMs: 0 } as const

function lastLook({ samples, log }: Watch): string {
  const names = [...new Set(samples.map(({ name }) => name))]
  const processes = names.flatMap((name) => samples.findLast((one) => one.name === name) ?? [])
  const held = processes.map(
    ({ name, rssBytes }) => `${name} ${Math.round(rssBytes / 1_048_576)} MB`,
  )
  const { lagRecords = 0, openKeys = 0 } = log.at(-1) ?? {}
  return [...held, `${lagRecords} input records behind`, `${openKeys} open keys`].join(', ')
}

/** Returns when only summaries are left, or when the time is up: judges tell which. */
async function untilRetired(log: readonly LogSample[], withinMs: number): Promise<void> {
  const endsMs = Date.now() + withinMs
  while ((log.at(-1)?.openKeys ?? 1) > 0 && Date.now() < endsMs) await sleep(limits.lookMs)
}

async function injectAll(
  options: RunOptions,
  startedMs: number,
  inject: ReturnType<typeof injector>,
): Promise<Injected[]> {
  const injected: Injected[] = []
  const open: Promise<void>[] = []
  for (const planned of options.faults) {
    await sleep(Math.max(0, startedMs + planned.atMs - Date.now()))
    const fromMs = Date.now()
    options.say(`${((fromMs - startedMs) / 1_000).toFixed(1).padStart(6)} s  ${textOf(planned)}`)
    open.push(
      inject.inject(planned.fault).then((hit) => {
        injected.push({ ...planned, fromMs, toMs: Date.now(), hit })
      }),
    )
  }
  await sleep(Math.max(0, startedMs + options.minutes * 60_000 - Date.now()))
  await Promise.all(open)
  return injected.toSorted((a, b) => a.fromMs - b.fromMs)
}

function textOf({ fault }: Planned): string {
  const { kind, ...more } = fault
  return [kind, ...Object.entries(more).map(([name, value]) => `${name}=${value}`)].join(' ')
}

function hitsIn(file: string): Map<string, number> {
  const hits = new Map<string, number>()
  const lines = existsSync(file) ? readFileSync(file, 'utf8').split('\n') : []
  for (const line of lines) if (line !== '') hits.set(line, (hits.get(line) ?? 0) + 1)
  return hits
}
