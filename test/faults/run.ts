// One run: broker, services and coordinators are started, plates are imaged at a steady pace, faults are injected by
// the schedule; then everything is made good, must come to rest, and is judged by what it left behind.
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { PlatePlan } from '#proto/wellspring/lab/v1/plan_pb.ts'
import type { AuditReport } from '../../cli/audit.ts'
import { isClean } from '../../cli/audit.ts'
import { loadPipeline } from '../../coordinator/core/check.ts'
import type { PipelineSpec } from '../../coordinator/core/pipeline.ts'
import { openClient } from '../../coordinator/log/client.ts'
import { createKafka } from '../../coordinator/log/connection.ts'
import { createTopics } from '../../coordinator/log/topics.ts'
import { startGuard } from '../../dev/child.ts'
import { root } from '../../dev/tools.ts'
import { judgeAll } from './checks/all.ts'
import type { Series } from './checks/growth.ts'
import { seriesOf } from './checks/growth.ts'
import type { CalmLatency } from './checks/neighbours.ts'
import { calmLatencies } from './checks/neighbours.ts'
import { startCluster } from './cluster.ts'
import { collect } from './collect.ts'
import type { CrewEvent } from './crew.ts'
import { openCrew } from './crew.ts'
import type { Bounds, CallLine, JudgedPipeline, LogSample, Sample } from './evidence.ts'
import { feed, untilRest } from './feed.ts'
import type { Arrival } from './follow.ts'
import { followResults } from './follow.ts'
import { injector, nameOf } from './inject.ts'
import { neighboursOf } from './neighbourhood.ts'
import { POISON_HEADER } from './plates.ts'
import type { Planned } from './schedule.ts'
import { openServices } from './services.ts'
import type { Watch } from './watch.ts'
import { watch } from './watch.ts'

const limits = {
  /** From the end of the faults to rest: a missing site is given up after 20 s of quiet, a call after 60 s. */
  restWithinMs: 150_000,
  retiredWithinMs: 60_000,
  lookMs: 500,
  tellEveryMs: 600_000,
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

export type RunResult = {
  readonly injected: readonly Injected[]
  /** How often each point was hit. */
  readonly hits: ReadonlyMap<string, number>
  readonly events: readonly CrewEvent[]
  readonly arrivals: readonly Arrival[]
  readonly calls: readonly CallLine[]
  readonly samples: readonly Sample[]
  readonly log: readonly LogSample[]
  /** Complaints of the judges, by invariant; one that could not be judged is not there. */
  readonly verdicts: ReadonlyMap<string, readonly string[]>
  readonly report: AuditReport
  /** While only some images were disturbed, how long those of others took (I13). */
  readonly calm: readonly CalmLatency[]
  /** Trends of the run (I12), if its bounds ask for them. */
  readonly series: readonly Series[]
  readonly restMs: number | undefined
  /** What it took to judge: all evidence is held in memory. */
  readonly judging: {
    readonly records: number
    readonly readMs: number
    readonly judgeMs: number
    readonly rssBytes: number
  }
  readonly complaints: readonly string[]
}

export async function run(options: RunOptions): Promise<RunResult> {
  const { tasks, say } = options
  const dir = mkdtempSync(join(tmpdir(), 'wellspring-faults-'))
  const id = `f${process.pid}${Date.now().toString(36)}`
  const topicPrefix = `${id}.`
  const module = join(root, 'test/pipelines', options.pipeline)
  const { pipeline: spec } = (await import(module)) as { pipeline: PipelineSpec }
  const pipeline = loadPipeline(spec)
  const guard = startGuard()
  const closers: (() => Promise<unknown>)[] = []
  try {
    const cluster = await startCluster(dir, options.brokers)
    closers.unshift(() => cluster.close())
    const { brokers } = cluster
    const logger = (): void => {}
    await createTopics({ brokers, topicPrefix, tasks, clientId: 'faults', logger })
    const { retireAfterMs } = options
    await cleanUp(brokers, topicPrefix, retireAfterMs === undefined ? wholeLog : compactSoon)
    const onChange = (): void => guard.watch([...services.pids(), ...(crew?.pids() ?? [])])
    let crew: ReturnType<typeof openCrew> | undefined
    const services = await openServices(dir, onChange)
    closers.unshift(() => services.close())
    crew = openCrew({
      dir,
      onChange,
      env: {
        KAFKA_BROKERS: cluster.proxied.join(','),
        WELLSPRING_STATE_DIGEST: String(options.digestEvery),
        // Who kills on purpose every few seconds would have good records set aside: test/e2e/deadly.test.ts has that.
        WELLSPRING_DEATHS_PER_RECORD_MAX: '20',
        WELLSPRING_TOPIC_PREFIX: topicPrefix,
        WELLSPRING_APPLICATION: id,
        WELLSPRING_TASKS: String(tasks),
        WELLSPRING_SERVICES: services.addresses,
        WELLSPRING_PIPELINE: module,
        WELLSPRING_STORE: join(dir, 'store'),
        WELLSPRING_SESSION_TIMEOUT_MS: String(options.sessionTimeoutMs),
        ...(retireAfterMs === undefined
          ? {}
          : { WELLSPRING_RETIRE_AFTER_MS: String(retireAfterMs) }),
      },
    })
    const members = crew
    closers.unshift(() => members.close())
    const client = openClient({ brokers, topicPrefix, clientId: 'faults', logger })
    closers.unshift(() => client.close())
    for (let at = 0; at < options.coordinators; at += 1) members.start(nameOf(at))
    const ending = new AbortController()
    const { arrivals, followed } = followResults(client, ending.signal)
    closers.unshift(async () => {
      ending.abort()
      await followed
    })
    const watching = watch({
      processes: () => members.processes(),
      brokers,
      topicPrefix,
      client,
      dataDir: cluster.dataDir,
      everyMs: options.sampleEveryMs,
    })
    closers.unshift(() => watching.close())
    const telling = setInterval(() => say(lastLook(watching)), limits.tellEveryMs)
    closers.unshift(async () => clearInterval(telling))

    const startedMs = Date.now()
    let isEnough = false
    const feeding = feed(client, options, () => isEnough)
    feeding.catch(() => {})
    const target = { crew: members, services, cluster, topicPrefix, tasks }
    const inject = injector(target)
    const injected = await injectAll(options, startedMs, inject)
    isEnough = true
    await inject.heal()
    for (let at = 0; at < options.coordinators; at += 1) members.control(nameOf(at), calm)
    const fed = await feeding
    say(`faults are over; ${fed} input records; waiting for rest`)
    const healedMs = Date.now()
    const rest = await untilRest(client, pipeline, healedMs + limits.restWithinMs)
    const restMs = rest.isAtRest ? Date.now() - healedMs : undefined
    if (retireAfterMs !== undefined)
      await untilRetired(watching.log, retireAfterMs + limits.retiredWithinMs)
    await watching.close()
    await members.close()
    say('reading what the run left behind')
    const readFromMs = performance.now()
    const evidence = await collect({
      brokers,
      topicPrefix,
      pipeline: options.judged,
      callLogs: services.callLogs,
      // Nobody judges the spans of a compacted log, and they are half of all bytes.
      leaveOut: retireAfterMs === undefined ? [] : ['spans.v1'],
      circumstances: {
        areClocksStepped: injected.some(({ fault }) => fault.kind === 'clock'),
        digestEvery: options.digestEvery,
        isCompacted: retireAfterMs !== undefined,
        samples: watching.samples,
        log: watching.log,
        bounds: options.bounds,
        faults: { fromMs: startedMs, toMs: healedMs },
      },
    })
    const { committed, plans } = evidence
    const poisoned = committed.filter(({ headers }) => POISON_HEADER in headers)
    const circumstances = {
      ...evidence.circumstances,
      poisoned,
      neighbours: neighboursOf(injected, evidence.calls),
      retired: retireAfterMs === undefined ? [] : plans.map(plateKey),
    }
    const judgeFromMs = performance.now()
    const told = { ...evidence, circumstances }
    const verdicts = judgeAll(told)
    const judging = {
      records: committed.length,
      readMs: judgeFromMs - readFromMs,
      judgeMs: performance.now() - judgeFromMs,
      rssBytes: process.memoryUsage.rss(),
    }
    return {
      injected,
      hits: hitsIn(join(dir, 'hits.txt')),
      events: members.events,
      arrivals,
      calls: evidence.calls,
      samples: watching.samples,
      log: watching.log,
      verdicts,
      report: rest.report,
      calm: calmLatencies(told),
      series: options.bounds.growth ? seriesOf(told, options.bounds.growth) : [],
      restMs,
      judging,
      complaints: complaintsOf(rest, verdicts),
    }
  } finally {
    for (const close of closers) await close()
    guard.release()
    if (process.env['FAULTS_KEEP'] === undefined)
      rmSync(dir, { recursive: true, force: true, maxRetries: 3 })
    else appendFileSync(process.env['FAULTS_KEEP'], `${dir}\n`)
  }
}

function complaintsOf(
  { isAtRest, report }: { isAtRest: boolean; report: AuditReport },
  verdicts: RunResult['verdicts'],
): string[] {
  const { missing, duplicate, unplanned, names } = report
  const audited = isAtRest && isClean({ missing, duplicate, unplanned })
  return [
    ...(audited ? [] : [`the audit is not clean at the end: ${JSON.stringify(names)}`]),
    ...[...verdicts].flatMap(([name, all]) => all.map((complaint) => `${name} ${complaint}`)),
  ]
}

const calm = { clockShiftMs: 0 } as const

/** T1-T4 are judged on a log that nothing was compacted away from. */
const wholeLog = { 'cleanup.policy': 'delete', 'retention.ms': '-1' } as const
/** Production keeps an hour in a segment, and tombstones for a day. */
const compactSoon = {
  'cleanup.policy': 'compact',
  'segment.ms': '5000',
  'min.cleanable.dirty.ratio': '0.2',
  'max.compaction.lag.ms': '10000',
  'delete.retention.ms': '0',
} as const

async function cleanUp(
  brokers: readonly string[],
  topicPrefix: string,
  config: Readonly<Record<string, string>>,
): Promise<void> {
  const admin = createKafka({ brokers }).admin()
  await admin.connect()
  const configEntries = Object.entries(config).map(([name, value]) => ({ name, value }))
  const TOPIC = 2
  const resources = ['state.v1', 'status.v1'].map((topic) => ({
    type: TOPIC,
    name: topicPrefix + topic,
    configEntries,
  }))
  await admin.alterConfigs({ validateOnly: false, resources })
  await admin.disconnect()
}

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

const plateKey = ({ experiment, plate, acquisition }: PlatePlan): string =>
  `${experiment}/${plate}/${acquisition}`

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
