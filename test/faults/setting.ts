// What a run takes place in: a broker or three, topics, services, and coordinators that are not started yet.
import { appendFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { loadPipeline } from '../../coordinator/core/pipeline/check.ts'
import type { Pipeline, PipelineSpec } from '../../coordinator/core/pipeline/pipeline.ts'
import { openClient, type Client } from '@wellspring/kafka/client.ts'
import { createKafka } from '@wellspring/kafka/connection.ts'
import { createTopics } from '@wellspring/kafka/topics.ts'
import { startGuard } from '../../dev/child.ts'
import { root } from '../../dev/tools.ts'
import { startCluster, type Cluster } from './cluster.ts'
import { openCrew, type Crew } from './crew.ts'
import type { RunOptions } from './run.ts'
import { openServices, type Services } from './services.ts'
import { openSink } from './sink.ts'

export type Setting = {
  readonly dir: string
  /** Of the topics, and application id. */
  readonly id: string
  readonly topicPrefix: string
  readonly pipeline: Pipeline
  readonly cluster: Cluster
  readonly services: Services
  readonly crew: Crew
  /** Past the proxies. */
  readonly client: Client
  /** Called before everything else is closed, the last one first. */
  beforeClose(close: () => Promise<unknown>): void
  close(): Promise<void>
}

export async function openSetting(options: RunOptions): Promise<Setting> {
  const { tasks, retireAfterMs } = options
  const dir = mkdtempSync(join(tmpdir(), 'wellspring-faults-'))
  const id = `f${process.pid}${Date.now().toString(36)}`
  const topicPrefix = `${id}.`
  const module = join(root, 'test/pipelines', options.pipeline)
  const { pipeline: spec } = (await import(module)) as { pipeline: PipelineSpec }
  const pipeline = loadPipeline(spec)
  const guard = startGuard()
  const closers: (() => Promise<unknown>)[] = []
  async function close(): Promise<void> {
    for (const one of closers) await one()
    guard.release()
    if (process.env['FAULTS_KEEP'] === undefined)
      rmSync(dir, { recursive: true, force: true, maxRetries: 3 })
    else appendFileSync(process.env['FAULTS_KEEP'], `${dir}\n`)
  }
  try {
    const cluster = await startCluster(dir, options.brokers)
    closers.unshift(() => cluster.close())
    const { brokers } = cluster
    const logger = (): void => {}
    await createTopics({ brokers, topicPrefix, tasks, clientId: 'faults', logger })
    await cleanUp(brokers, topicPrefix, retireAfterMs === undefined ? wholeLog : compactSoon)
    const sink = options.kinds?.includes('null-header') ? await openSink() : undefined
    closers.unshift(async () => sink?.close())
    const onChange = (): void => guard.watch([...services.pids(), ...(crew?.pids() ?? [])])
    let crew: Crew | undefined
    const services = await openServices(dir, onChange)
    closers.unshift(() => services.close())
    const members = openCrew({
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
        ...(sink ? { OTEL_EXPORTER_OTLP_ENDPOINT: sink.endpoint } : {}),
        ...(retireAfterMs === undefined
          ? {}
          : { WELLSPRING_RETIRE_AFTER_MS: String(retireAfterMs) }),
      },
    })
    crew = members
    closers.unshift(() => members.close())
    const client = openClient({ brokers, topicPrefix, clientId: 'faults', logger })
    closers.unshift(() => client.close())
    return {
      dir,
      id,
      topicPrefix,
      pipeline,
      cluster,
      services,
      crew: members,
      client,
      beforeClose: (one) => void closers.unshift(one),
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}

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
