// Restore: taking tasks over whose state holds many open plates, as a coordinator does that begins alone, against
// fetching the same partitions without doing anything with the records, in turn in the same minute.
import type { Producer } from 'kafkajs'
import { create, toBinary, type DescMethod } from '@bufbuild/protobuf'
import { loadPipeline } from '../../coordinator/core/pipeline/check.ts'
import { hex, sha256 } from '../../coordinator/core/keys.ts'
import { allRecords, emptyTask } from '../../coordinator/core/state.ts'
import { createKafka } from '@wellspring/kafka/connection.ts'
import { openKafkaLog } from '../../coordinator/log/kafka.ts'
import type { Log } from '../../coordinator/log/port.ts'
import { limits } from '../../coordinator/task/limits.ts'
import { nothingRead, takeOver } from '../../coordinator/task/restore.ts'
import { createTopics } from '@wellspring/kafka/topics.ts'
import { brokerForTests } from '../../dev/broker.ts'
import { imageRecords, planRecord, type Layout } from '../e2e/stage.ts'
import { pipeline as levels } from '../pipelines/echo-levels.ts'
import { benchBrokers } from './brokers.ts'
import { openEngine } from './engine.ts'
import { plansFor } from './feed.ts'
import { rounded, setting, type Figures, type Say } from './figures.ts'

const TASKS = 8
/** A tenth of the 600 plates that a coordinator must hold; WELLSPRING_BENCH_PLATES=600 takes 2 GB of disk. */
const PLATES = 60
/** 9,342 images: 600 plates are 5.6 M. */
const LAYOUT: Layout = { wells: 173, sites: 9, channels: 6 }
const SEND_RECORDS = 200
const TARGET = { recordsPerSecond: 100_000, gigabytes: 4, seconds: 120 }
const pipeline = loadPipeline(levels)

type State = readonly (readonly [key: string, bytes: Uint8Array])[]

export async function restore(say: Say): Promise<Figures> {
  const plates = setting('WELLSPRING_BENCH_PLATES', PLATES)
  const brokers = benchBrokers().brokers ?? (await brokerForTests()).brokers
  const application = `restore${process.pid}`
  const base = { brokers, topicPrefix: `${application}.`, tasks: TASKS, logger: (): void => {} }
  await createTopics({ ...base, clientId: 'bench' })
  const { records, images } = await fill({ ...base, application }, plates, await plateState())
  say(`restore: ${records} state records of ${plates} open plates with ${images} images`)
  const log = await openKafkaLog({
    ...base,
    application,
    instance: 'bench',
    controlAddress: '',
    sessionTimeoutMs: 10_000,
  })
  const tasks = Array.from({ length: TASKS }, (_, task) => task)
  globalThis.gc?.()
  const before = process.memoryUsage().rss
  const restored = await timed(() =>
    Promise.all(
      tasks.map((task) =>
        takeOver({
          log,
          task,
          back: nothingRead(emptyTask(application, pipeline, limits)),
          owner: { application, instance: 'bench', controlAddress: '' },
          isWanted: () => true,
          nowMs: Date.now,
        }),
      ),
    ),
  )
  const rss = process.memoryUsage().rss - before
  const sites = restored.result.reduce((sum, { state }) => sum + state.sites.size(), 0)
  const bare = await timed(() => Promise.all(tasks.map((task) => fetchAll(log, task))))
  await Promise.all(restored.result.map(({ writer }) => writer.close()))
  await log.close()
  const perSecond = rounded(records / restored.seconds, 0)
  const barePerSecond = rounded(records / bare.seconds, 0)
  const cpuMicros = rounded((restored.cpuSeconds / records) * 1e6, 1)
  const bareCpuMicros = rounded((bare.cpuSeconds / records) * 1e6, 1)
  const gigabytes = rounded(rss / 1e9, 2)
  say(`  restored ${sites} sites in ${restored.seconds} s: ${perSecond} records/s, ${gigabytes} GB`)
  say(`  bare fetch ${barePerSecond} records/s: ${rounded(perSecond / barePerSecond, 2)}`)
  say(`  CPU of this process: ${cpuMicros} and ${bareCpuMicros} µs a record`)
  return {
    workload: 'restore',
    ok:
      perSecond >= TARGET.recordsPerSecond &&
      gigabytes < TARGET.gigabytes &&
      restored.seconds < TARGET.seconds,
    plates,
    images,
    records,
    sites,
    seconds: restored.seconds,
    recordsPerSecond: perSecond,
    bareRecordsPerSecond: barePerSecond,
    ratio: rounded(perSecond / barePerSecond),
    cpuMicrosPerRecord: [cpuMicros, bareCpuMicros],
    residentGigabytes: gigabytes,
    bytesPerImage: rounded(rss / images, 0),
    target: TARGET,
  }
}

/** What the production tasks keep of one open plate, all but its last well done. */
async function plateState(): Promise<State> {
  let answers = 0
  const answer = (method: DescMethod): Uint8Array => {
    answers += 1
    const digest = hex(sha256(Buffer.from(String(answers))))
    return toBinary(method.output, create(method.output, { digest }))
  }
  const engine = await openEngine({ tasks: 1, pipeline, answer })
  const [plan] = plansFor('made', 1, 1, LAYOUT)
  if (!plan) throw new Error('no plan')
  await engine.take([planRecord(plan)])
  await engine.take(imageRecords(plan).slice(0, -LAYOUT.sites * LAYOUT.channels))
  const state = engine.host.running()[0]?.state
  if (!state) throw new Error('the task does not run')
  const kept = allRecords(state)
  await engine.close()
  return kept
}

/**
 * The same plate under many names, in turn over the tasks, in transactions as their owners write it: a broker that has
 * never seen one makes its topic for them first, which is no part of a restore.
 */
async function fill(
  base: {
    readonly brokers: readonly string[]
    readonly topicPrefix: string
    readonly application: string
  },
  plates: number,
  state: State,
): Promise<{ records: number; images: number }> {
  const producers: Producer[] = []
  for (let task = 0; task < TASKS; task += 1) {
    const transactionalId = `${base.application}-plate-${task}`
    const producer = createKafka(base).producer({ transactionalId, maxInFlightRequests: 1 })
    await producer.connect()
    producers.push(producer)
  }
  for (let plate = 0; plate < plates; plate += 1) {
    const transaction = await producers[plate % TASKS]?.transaction()
    const messages = state.map(([key, bytes]) => ({
      key: key.replace(/^[^/]*\/[^/]*/, `E/p${plate}`),
      value: Buffer.from(bytes),
      partition: plate % TASKS,
    }))
    for (let at = 0; at < messages.length; at += SEND_RECORDS)
      await transaction?.send({
        topic: `${base.topicPrefix}state.v1`,
        acks: -1,
        messages: messages.slice(at, at + SEND_RECORDS),
      })
    await transaction?.commit()
  }
  for (const producer of producers) await producer.disconnect()
  const images = plates * (LAYOUT.wells - 1) * LAYOUT.sites * LAYOUT.channels
  return { records: plates * state.length, images }
}

async function fetchAll(log: Log, task: number): Promise<void> {
  await log.readState(task, 0, () => false)
}

type Timed<T> = { readonly result: T; readonly seconds: number; readonly cpuSeconds: number }

async function timed<T>(work: () => Promise<T>): Promise<Timed<T>> {
  const [startMs, cpu] = [performance.now(), process.cpuUsage()]
  const result = await work()
  const { user, system } = process.cpuUsage(cpu)
  return {
    result,
    seconds: rounded((performance.now() - startMs) / 1000, 2),
    cpuSeconds: (user + system) / 1e6,
  }
}
