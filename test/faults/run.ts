// One run: broker, services and coordinators are started, plates are imaged at a steady pace, faults are injected by
// the schedule; then everything is made good, must come to rest, and is judged by what it left behind.
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { AuditReport } from '../../cli/audit.ts'
import { audit, isClean } from '../../cli/audit.ts'
import type { TopicRecord } from '../../cli/ledger.ts'
import { loadPipeline } from '../../coordinator/core/check.ts'
import type { Pipeline, PipelineSpec } from '../../coordinator/core/pipeline.ts'
import type { Client, OutgoingRecord } from '../../coordinator/log/client.ts'
import { openClient } from '../../coordinator/log/client.ts'
import { createKafka } from '../../coordinator/log/connection.ts'
import { createTopics } from '../../coordinator/log/topics.ts'
import { startGuard } from '../../dev/child.ts'
import { root } from '../../dev/tools.ts'
import { judgeAll } from './checks/all.ts'
import { collect } from './collect.ts'
import type { CrewEvent } from './crew.ts'
import { openCrew } from './crew.ts'
import type { CallLine, JudgedPipeline } from './evidence.ts'
import { injector, nameOf, startServed } from './inject.ts'
import { plateStream, POISON_HEADER } from './plates.ts'
import { openProxy } from './proxy.ts'
import type { Planned } from './schedule.ts'
import { schedule } from './schedule.ts'
import { openServices } from './services.ts'

const limits = {
  feedEveryMs: 250,
  /** From the end of the faults to rest: a missing site is given up after 20 s of quiet, a call after 60 s. */
  restWithinMs: 150_000,
  restLookMs: 2_000,
} as const

export type RunOptions = {
  readonly seed: number
  readonly minutes: number
  readonly coordinators: number
  /** Module below test/pipelines. */
  readonly pipeline: string
  readonly judged: JudgedPipeline
  readonly tasks: number
  readonly imagesPerSecond: number
  readonly sessionTimeoutMs: number
  readonly withBrokerKills: boolean
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

export type Arrival = { readonly partition: number; readonly atMs: number }

export type RunResult = {
  readonly injected: readonly Injected[]
  /** How often each point was hit. */
  readonly hits: ReadonlyMap<string, number>
  readonly events: readonly CrewEvent[]
  readonly arrivals: readonly Arrival[]
  readonly calls: readonly CallLine[]
  /** Complaints of the judges, by invariant. */
  readonly verdicts: ReadonlyMap<string, readonly string[]>
  readonly report: AuditReport
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
    const proxy = await openProxy()
    closers.unshift(() => proxy.close())
    const broker = { current: await startServed(dir, proxy) }
    closers.unshift(() => broker.current.kill())
    const { brokers } = broker.current
    const logger = (): void => {}
    await createTopics({ brokers, topicPrefix, tasks, clientId: 'faults', logger })
    await keepWholeLog(brokers, topicPrefix)
    const watch = (): void => guard.watch([...services.pids(), ...(crew?.pids() ?? [])])
    let crew: ReturnType<typeof openCrew> | undefined
    const services = await openServices(dir, () => watch())
    closers.unshift(() => services.close())
    crew = openCrew({
      dir,
      onChange: watch,
      env: {
        KAFKA_BROKERS: `127.0.0.1:${proxy.port}`,
        WELLSPRING_STATE_DIGEST: String(options.digestEvery),
        WELLSPRING_TOPIC_PREFIX: topicPrefix,
        WELLSPRING_APPLICATION: id,
        WELLSPRING_TASKS: String(tasks),
        WELLSPRING_SERVICES: services.addresses,
        WELLSPRING_PIPELINE: module,
        WELLSPRING_STORE: join(dir, 'store'),
        WELLSPRING_SESSION_TIMEOUT_MS: String(options.sessionTimeoutMs),
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

    const startedMs = Date.now()
    let isEnough = false
    const feeding = feed(client, options, () => isEnough)
    feeding.catch(() => {})
    const target = { crew: members, services, broker, proxy, dir, topicPrefix, tasks }
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
    await members.close()
    say('reading what the run left behind')
    const readFromMs = performance.now()
    const evidence = await collect({
      brokers,
      topicPrefix,
      pipeline: options.judged,
      callLogs: services.callLogs,
      circumstances: {
        areClocksStepped: injected.some(({ fault }) => fault.kind === 'clock'),
        digestEvery: options.digestEvery,
        faults: { fromMs: startedMs, toMs: healedMs },
      },
    })
    const { committed } = evidence
    const poisoned = committed.filter(({ headers }) => POISON_HEADER in headers)
    const circumstances = { ...evidence.circumstances, poisoned }
    const judgeFromMs = performance.now()
    const verdicts = judgeAll({ ...evidence, circumstances })
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
      verdicts,
      report: rest.report,
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
async function keepWholeLog(brokers: readonly string[], topicPrefix: string): Promise<void> {
  const admin = createKafka({ brokers }).admin()
  await admin.connect()
  const configEntries = [
    { name: 'cleanup.policy', value: 'delete' },
    { name: 'retention.ms', value: '-1' },
  ]
  const TOPIC = 2
  const resources = ['state.v1', 'status.v1'].map((topic) => ({
    type: TOPIC,
    name: topicPrefix + topic,
    configEntries,
  }))
  await admin.alterConfigs({ validateOnly: false, resources })
  await admin.disconnect()
}

/** Announces images at the pace until enough plates are begun, and ends those. Returns how many records. */
async function feed(
  client: Client,
  { seed, imagesPerSecond }: RunOptions,
  isEnough: () => boolean,
): Promise<number> {
  const perTurn = Math.max(1, Math.round((imagesPerSecond * limits.feedEveryMs) / 1_000))
  let part: OutgoingRecord[] = []
  let count = 0
  const startMs = performance.now()
  for (const record of plateStream(seed, isEnough)) {
    part.push(record)
    count += 1
    if (part.length < perTurn) continue
    await surely(() => client.produce(part))
    part = []
    const dueMs = startMs + (count * 1_000) / imagesPerSecond
    await sleep(Math.max(0, dueMs - performance.now()))
  }
  await surely(() => client.produce(part))
  return count
}

/** The broker may be away: a record may be there twice then, and must not be missing. */
async function surely(work: () => Promise<void>): Promise<void> {
  for (;;) {
    try {
      return await work()
    } catch {
      await sleep(limits.feedEveryMs)
    }
  }
}

async function injectAll(
  options: RunOptions,
  startedMs: number,
  inject: ReturnType<typeof injector>,
): Promise<Injected[]> {
  const injected: Injected[] = []
  const open: Promise<void>[] = []
  for (const planned of schedule(options)) {
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

/** When results were to be seen, by a reader that outlives the broker. */
function followResults(
  client: Client,
  signal: AbortSignal,
): { arrivals: Arrival[]; followed: Promise<void> } {
  const arrivals: Arrival[] = []
  const seen = new Map<number, number>()
  const follow = async (): Promise<void> => {
    while (!signal.aborted) {
      try {
        for await (const { partition, offset } of client.follow('results.v1', {
          from: 'start',
          signal,
        })) {
          if (offset <= (seen.get(partition) ?? -1)) continue
          seen.set(partition, offset)
          arrivals.push({ partition, atMs: Date.now() })
        }
      } catch {
        await sleep(limits.feedEveryMs)
      }
    }
  }
  return { arrivals, followed: follow() }
}

/** Until everything planned has ended, or the time is up. */
async function untilRest(
  client: Client,
  pipeline: Pipeline,
  endsMs: number,
): Promise<{ report: AuditReport; isAtRest: boolean }> {
  for (;;) {
    const report = await auditOf(client, pipeline)
    if (report.planned > 0 && report.missing === 0) return { report, isAtRest: true }
    if (Date.now() > endsMs) return { report, isAtRest: false }
    await sleep(limits.restLookMs)
  }
}

async function auditOf(client: Client, pipeline: Pipeline): Promise<AuditReport> {
  const records: TopicRecord[] = []
  for (const topic of ['commands.v1', 'results.v1', 'dead-letters.v1'] as const)
    for await (const { partition, offset, key, value, headers } of client.readAll(topic)) {
      const type = headers['wellspring-type'] ?? ''
      const bytes = value ?? Buffer.alloc(0)
      records.push({ topic, partition, offset, key: key?.toString() ?? '', type, value: bytes })
    }
  const steps = pipeline.steps.map(({ name, policy }) => ({ name, level: policy.level }))
  return audit(records, { label: pipeline.label, steps })
}

function hitsIn(file: string): Map<string, number> {
  const hits = new Map<string, number>()
  const lines = existsSync(file) ? readFileSync(file, 'utf8').split('\n') : []
  for (const line of lines) if (line !== '') hits.set(line, (hits.get(line) ?? 0) + 1)
  return hits
}
