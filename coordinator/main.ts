// The coordinator: all its parts on one page, and who owns their lifetime.
import { lendBuffer } from './lent-buffer.ts'
import { openGrpcCaller } from './calls/grpc.ts'
import { readConfig } from './config.ts'
import { serveControl } from './control/server.ts'
import { create } from '@bufbuild/protobuf'
import { ServiceStatusSchema } from '#proto/wellspring/control/v1/control_pb.ts'
import { loadPipeline } from './core/pipeline/check.ts'
import { emptyTask, type Task } from './core/state.ts'
import type { PipelineSpec } from './core/pipeline/pipeline.ts'
import { host, type Host } from './task/host.ts'
import { openClient } from '@wellspring/kafka/client.ts'
import { systemClock } from './clock.ts'
import { openKafkaLog } from './log/kafka.ts'
import { limits } from './task/limits.ts'
import { openInputWatch, type InputWatch } from './task/retention.ts'
import { openStandby } from './task/standby.ts'
import { createTopics } from '@wellspring/kafka/topics.ts'
import { jsonLogger, say, sayReady } from './logger.ts'
import { openSpanRelay } from './spans.ts'
import { lookAt, readTo } from './control/look.ts'
import { runningTask } from './task/scope.ts'

/** Longest time from SIGTERM to the end. */
const STOP_WITHIN_MS = 8_000

const config = readConfig(process.env)
const logger = jsonLogger(config.instance)
const clock = systemClock()
const stop = Promise.withResolvers<string>()
process.once('SIGTERM', () => stop.resolve('SIGTERM'))
process.once('SIGINT', () => stop.resolve('SIGINT'))

/** Going on would be wrong: say why and leave, so that the process is started again. */
function fatal(error: Error): never {
  logger('error', error.message, { fatal: true })
  say(error.message)
  process.exit(1)
}

function stackOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}

async function main(): Promise<void> {
  const slower = lendBuffer()
  if (slower !== undefined) logger('warn', 'messages are encoded more slowly', { why: slower })
  const { pipeline: spec } = (await import(config.pipeline)) as { pipeline: PipelineSpec }
  const pipeline = loadPipeline(spec)
  await createTopics({ ...config, clientId: config.instance, logger })
  const { services, roots, artifactBytesMax } = config
  const caller = openGrpcCaller({ services, roots, clock, logger, limits: { artifactBytesMax } })
  await caller.check(pipeline)
  const client = openClient({ ...config, clientId: `${config.instance}-spans`, logger })
  const spans = await openSpanRelay(config, client, logger)
  let tasks: Host | undefined
  process.on('unhandledRejection', (error) => {
    const engine = tasks?.engine(runningTask() ?? -1)
    if (engine) engine.fail(error)
    else if (tasks)
      logger('error', 'something failed that nobody waited for', { error: stackOf(error) })
    else fatal(error instanceof Error ? error : new Error(String(error)))
  })
  let watch: InputWatch | undefined
  let owners = (): ReadonlyMap<number, string> => new Map()
  const control = await serveControl({
    listen: config.control,
    hosts: config.hosts,
    model: {
      instance: config.instance,
      pipeline,
      tasks: config.tasks,
      application: config.application,
      topicPrefix: config.topicPrefix,
      owned: () =>
        new Map(
          tasks?.running().flatMap((one) => (one.state ? [[one.task, one.state] as const] : [])),
        ),
      assigned: () => tasks?.engines().map(lookAt) ?? [],
      inputs: async (task) => {
        const engine = tasks?.engine(task)
        return (engine && (await watch?.look(task, readTo(engine)))) ?? []
      },
      services: () => caller.status().map((status) => create(ServiceStatusSchema, status)),
      nowMs: () => clock.nowMs(),
    },
    owners: () => owners(),
    logger,
  })
  const log = await openKafkaLog({ ...config, controlAddress: control.address, logger })
  owners = () => log.owners()
  const bounds = {
    ...limits,
    callsInFlightMax: config.callsInFlightMax,
    retireAfterMs: config.retireAfterMs,
    deathsPerRecordMax: config.deathsPerRecordMax,
  }
  const follower = config.withStandby
    ? await openKafkaLog({ ...config, controlAddress: '', logger })
    : undefined
  const empty = (): Task => emptyTask(config.application, pipeline, bounds)
  const standby = follower && openStandby({ log: follower, empty, clock, logger })
  tasks = host({
    log,
    standby,
    caller,
    pipeline,
    owner: {
      application: config.application,
      instance: config.instance,
      controlAddress: control.address,
    },
    clock,
    random: Math.random,
    limits: bounds,
    stateDigestEvery: config.stateDigestEvery,
    logger,
    fatal,
  })
  const engines = tasks
  watch = openInputWatch({
    log,
    clock,
    logger,
    tasks: () => engines.engines().map((one) => ({ task: one.task, next: readTo(one) })),
  })
  await log.join(tasks)
  const ready = {
    ready: 'coordinator',
    address: new URL(control.address).host,
    control: control.address,
    otlp: spans.address,
  }
  sayReady(ready)

  logger('info', 'stopping', { signal: await stop.promise })
  setTimeout(() => process.exit(0), STOP_WITHIN_MS).unref()
  standby?.close()
  watch.close()
  await tasks.close()
  await Promise.all([log.close(), follower?.close()])
  await Promise.all([control.close(), spans.close(), caller.close()])
  await client.close()
}

main().then(
  () => process.exit(0),
  (error: unknown) => fatal(error instanceof Error ? error : new Error(String(error))),
)
