// Real processes on a real broker: coordinators and echo services, to be killed, and inputs from a plan.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { create, toBinary } from '@bufbuild/protobuf'
import { durationFromMs } from '@bufbuild/protobuf/wkt'
import { ChannelKind, IdentitySchema } from '#proto/wellspring/lab/v1/identity_pb.ts'
import { PlatePlanSchema, type PlatePlan } from '#proto/wellspring/lab/v1/plan_pb.ts'
import { CommandSchema, ImageAcquiredSchema } from '#proto/wellspring/record/v1/input_pb.ts'
import { EchoService } from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import { audit, type AuditReport } from '../../cli/audit.ts'
import type { TopicRecord } from '../../cli/ledger.ts'
import { loadPipeline } from '../../coordinator/core/pipeline/check.ts'
import { entityKey, partitionKey } from '@wellspring/lab/entity.ts'
import { hex, sha256 } from '../../coordinator/core/keys.ts'
import { wellAt } from '@wellspring/lab/wells.ts'
import type { PipelineSpec } from '../../coordinator/core/pipeline/pipeline.ts'
import { openClient, type Client, type OutgoingRecord } from '@wellspring/kafka/client.ts'
import { createTopics } from '@wellspring/kafka/topics.ts'
import { brokerForTests } from '../../dev/broker.ts'
import { startGuard, startProgram, type Running } from '../../dev/child.ts'

const root = new URL('../../', import.meta.url).pathname

export type Stage = {
  readonly brokers: readonly string[]
  readonly topicPrefix: string
  readonly dir: string
  readonly client: Client
  readonly services: string
  /** `dataBytesMax`: memory that the system gives it, which what Node reserves and never touches counts for as well. */
  coordinator(
    name: string,
    env?: Readonly<Record<string, string>>,
    dataBytesMax?: number,
  ): Promise<Running>
  /** Any other program of ours, stopped with the rest; its output is in <dir>/<name>.log. */
  program(name: string, file: string, env: Readonly<Record<string, string>>): Promise<Running>
  /** What the topics say now. */
  audit(): Promise<AuditReport>
  /** Waits until the audit is clean and everything planned has ended. Throws with the report when time is up. */
  untilDone(withinMs: number): Promise<AuditReport>
  close(): Promise<void>
}

export type StageOptions = {
  /** Module below test/pipelines. */
  readonly pipeline: string
  readonly tasks: number
  readonly echo?: Readonly<Record<string, string>>
  /** Broker of its own; default: the shared one of the test run. */
  readonly brokers?: readonly string[]
}

export async function openStage(options: StageOptions): Promise<Stage> {
  const brokers = options.brokers ?? (await brokerForTests()).brokers
  const id = `t${process.pid}${Date.now().toString(36)}`
  const topicPrefix = `${id}.`
  const dir = await mkdtemp(join(tmpdir(), 'wellspring-stage-'))
  const logger = (): void => {}
  const { tasks } = options
  await createTopics({ brokers, topicPrefix, tasks, clientId: 'stage', logger })
  const client = openClient({ brokers, topicPrefix, clientId: 'stage', logger })
  const module = join(root, 'test/pipelines', options.pipeline)
  const { pipeline: spec } = (await import(module)) as { pipeline: PipelineSpec }
  const pipeline = loadPipeline(spec)
  const guard = startGuard()
  const running: Running[] = []
  const echo = await program('echo', 'services/echo/main.ts', {
    WELLSPRING_LISTEN: '127.0.0.1:0',
    WELLSPRING_STORE: join(dir, 'store'),
    ...options.echo,
  }).catch(async (error: unknown) => {
    await close()
    throw error
  })
  const services = `${EchoService.typeName}=${echo.address}`

  async function program(
    name: string,
    file: string,
    env: Readonly<Record<string, string>>,
    dataBytesMax?: number,
  ): Promise<Running> {
    const log = join(dir, `${name}.log`)
    const node = { command: process.execPath, args: [file] }
    const limited = (bytes: number) => ({
      command: 'sh',
      args: [
        '-c',
        `ulimit -d ${Math.floor(bytes / 1024)} && exec "$0" "$@"`,
        process.execPath,
        file,
      ],
    })
    const run = dataBytesMax === undefined ? node : limited(dataBytesMax)
    const one = await startProgram({ name, ...run, env, log })
    running.push(one)
    guard.watch(running.map(({ pid }) => pid))
    return one
  }

  async function close(): Promise<void> {
    await Promise.all(running.map((one) => one.stop()))
    guard.release()
    await client.close()
    await rm(dir, { recursive: true, force: true, maxRetries: 3 })
  }

  async function report(): Promise<AuditReport> {
    const records: TopicRecord[] = []
    for (const topic of ['commands.v1', 'results.v1', 'dead-letters.v1'] as const)
      for await (const { partition, offset, key, value, headers } of client.readAll(topic)) {
        if (value === null) continue
        const type = headers['wellspring-type'] ?? ''
        records.push({
          topic,
          partition,
          offset,
          key: key?.toString() ?? '',
          type,
          value,
        })
      }
    const steps = pipeline.steps.map(({ name, policy }) => ({ name, level: policy.level }))
    return audit(records, { label: pipeline.label, steps })
  }

  return {
    brokers,
    topicPrefix,
    dir,
    client,
    services,
    coordinator(name, env = {}, dataBytesMax) {
      const all = {
        KAFKA_BROKERS: brokers.join(','),
        WELLSPRING_TOPIC_PREFIX: topicPrefix,
        WELLSPRING_APPLICATION: id,
        WELLSPRING_TASKS: String(tasks),
        WELLSPRING_SERVICES: services,
        WELLSPRING_PIPELINE: module,
        WELLSPRING_INSTANCE: name,
        WELLSPRING_STORE: join(dir, 'store'),
        WELLSPRING_SESSION_TIMEOUT_MS: '6000',
        ...env,
      }
      return program(name, 'coordinator/main.ts', all, dataBytesMax)
    },
    program,
    audit: report,
    async untilDone(withinMs) {
      const endsMs = Date.now() + withinMs
      for (;;) {
        const found = await report()
        if (found.planned > 0 && found.missing === 0) return found
        if (Date.now() > endsMs)
          throw new Error(`not done after ${withinMs} ms: ${JSON.stringify(found)}`)
        await new Promise((resolve) => setTimeout(resolve, 300))
      }
    },
    close,
  }
}

export type Layout = { readonly wells: number; readonly sites: number; readonly channels: number }

export function planOf(plate: string, { wells, sites, channels }: Layout): PlatePlan {
  return create(PlatePlanSchema, {
    experiment: 'E',
    plate,
    acquisition: 'a1',
    wells: Array.from({ length: wells }, (_, at) => ({
      well: wellAt(1 + Math.floor(at / 24), 1 + (at % 24)),
    })),
    sites: Array.from({ length: sites }, (_, at) => at + 1),
    timePoints: [0],
    zPlanes: [0],
    channels: Array.from({ length: channels }, (_, at) => ({
      name: `w${at + 1}`,
      kind: ChannelKind.FLUORESCENCE,
    })),
    completeness: {
      quorum: 0.5,
      quorumAfter: durationFromMs(10_000),
      deadline: durationFromMs(20_000),
    },
  })
}

export function planRecord(plan: PlatePlan): OutgoingRecord {
  return {
    topic: 'commands.v1',
    key: `${plan.experiment}/${plan.plate}`,
    value: toBinary(
      CommandSchema,
      create(CommandSchema, { action: { case: 'plan', value: plan } }),
    ),
    headers: { 'wellspring-type': CommandSchema.typeName },
  }
}

/** One record per image of a plan, site by site. */
export function imageRecords(plan: PlatePlan): OutgoingRecord[] {
  const { experiment, plate, acquisition } = plan
  return plan.wells.flatMap(({ well }) =>
    plan.sites.flatMap((site) =>
      plan.channels.map((channel): OutgoingRecord => {
        const identity = create(IdentitySchema, {
          experiment,
          plate,
          acquisition,
          well,
          timePoint: 0,
          site,
          z: 0,
          channel: channel.name,
        })
        const key = entityKey(identity)
        const artifact = {
          uri: `file:///images/${key}.tif`,
          sizeBytes: 1,
          sha256: hex(sha256(Buffer.from(key))),
        }
        return {
          topic: 'images.v1',
          key: partitionKey(key),
          value: toBinary(
            ImageAcquiredSchema,
            create(ImageAcquiredSchema, { identity, channel, artifact }),
          ),
          headers: { 'wellspring-type': ImageAcquiredSchema.typeName },
        }
      }),
    ),
  )
}
