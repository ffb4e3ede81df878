// The lab as npm start runs it, on topics of its own: the legacy programs, the five wrappers and a coordinator with
// the screening pipeline, all as processes, on the broker of the test run.
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { ExtractFeaturesService } from '#proto/wellspring/steps/features/v1/extract_features_pb.ts'
import { ImageQualityService } from '#proto/wellspring/steps/imagequality/v1/image_quality_pb.ts'
import { SegmentNucleiService } from '#proto/wellspring/steps/nuclei/v1/segment_nuclei_pb.ts'
import { PlateQualityService } from '#proto/wellspring/steps/platequality/v1/plate_quality_pb.ts'
import { WellProfileService } from '#proto/wellspring/steps/wellprofile/v1/well_profile_pb.ts'
import { openClient, type Client } from '@wellspring/kafka/client.ts'
import { brokerForTests } from '../../dev/broker.ts'
import { startGuard, startProgram, type Running } from '../../dev/child.ts'
import { root } from '../../dev/tools.ts'
import { wellspring, type Ran } from '../cli/process.ts'
import { realSet } from '../ingest/data.ts'

/** Wrappers by the service that they serve. */
const WRAPPERS = {
  'image-quality': ImageQualityService.typeName,
  'segment-nuclei': SegmentNucleiService.typeName,
  'extract-features': ExtractFeaturesService.typeName,
  'well-profile': WellProfileService.typeName,
  'plate-quality': PlateQualityService.typeName,
} as const

const TASKS = 4

export type Lab = {
  readonly application: string
  /** Temporary; the services may read it. Gone when the lab closes. */
  readonly dir: string
  readonly client: Client
  /** Runs `wellspring …` in a process of its own, told by the environment where everything is. */
  cli(...args: string[]): Promise<Ran>
  /** Starts a coordinator, always at the same addresses: end the one before it first. */
  startCoordinator(name: string): Promise<Running>
  /** What a program has said so far, line by line; of nucseg: every run. */
  log(name: string): Promise<string[]>
  /** While broken, nucseg refuses every command line, as after an update that renamed an argument. */
  breakNucseg(isBroken: boolean): Promise<void>
  /** The most resident memory that a program, or a child that it has now, ever had. Linux only. */
  peakMemoryKib(name: string): Promise<number>
  close(): Promise<void>
}

export type LabOptions = {
  /** Backend that the coordinator forwards all spans to. */
  readonly otlpBackend?: string
}

/** Starts everything but the coordinator. */
export async function openLab(options: LabOptions = {}): Promise<Lab> {
  const { brokers } = await brokerForTests()
  const application = `lab${process.pid}${Date.now().toString(36)}`
  const topicPrefix = `${application}.`
  const dir = await mkdtemp(join(tmpdir(), 'wellspring-lab-'))
  const [control, otlp] = await Promise.all([freeAddress(), freeAddress()])
  const guard = startGuard()
  const running = new Map<string, Running>()
  const starting: Promise<Running>[] = []
  const client = openClient({ brokers, topicPrefix, clientId: 'lab', logger: () => {} })
  const shared = {
    WELLSPRING_STORE: join(dir, 'store'),
    WELLSPRING_ROOTS: [realSet('.').path, dir].join(delimiter),
  }
  const place = {
    KAFKA_BROKERS: brokers.join(','),
    WELLSPRING_TOPIC_PREFIX: topicPrefix,
    WELLSPRING_APPLICATION: application,
    WELLSPRING_CONTROL: control,
  }

  async function start(
    name: string,
    file: string,
    env: Readonly<Record<string, string>>,
  ): Promise<Running> {
    const log = join(dir, `${name}.log`)
    const begun = startProgram({ name, command: process.execPath, args: [file], env, log })
    starting.push(begun)
    const one = await begun
    running.set(name, one)
    guard.watch([...running.values()].map(({ pid }) => pid))
    return one
  }

  async function close(): Promise<void> {
    // One that failed to start must not leave its neighbours behind that were still starting.
    const begun = await Promise.allSettled(starting)
    await Promise.all(
      begun.flatMap((one) => (one.status === 'fulfilled' ? [one.value.stop()] : [])),
    )
    guard.release()
    await client.close()
    await rm(dir, { recursive: true, force: true, maxRetries: 3 })
  }

  try {
    const services = await startServices(start, { ...shared, dir, otlp })
    return {
      application,
      dir,
      client,
      cli: (...args) => wellspring(args, place),
      startCoordinator: (name) =>
        start(name, 'coordinator/main.ts', {
          ...shared,
          ...place,
          WELLSPRING_TASKS: String(TASKS),
          WELLSPRING_SERVICES: services.join(','),
          WELLSPRING_OTLP: otlp,
          WELLSPRING_INSTANCE: name,
          WELLSPRING_SESSION_TIMEOUT_MS: '6000',
          ...(options.otlpBackend && { OTEL_EXPORTER_OTLP_ENDPOINT: options.otlpBackend }),
        }),
      log: async (name) => (await readFile(join(dir, `${name}.log`), 'utf8')).split('\n'),
      breakNucseg: (isBroken) =>
        isBroken ? writeFile(brokenMark(dir), '') : rm(brokenMark(dir), { force: true }),
      peakMemoryKib: (name) => peakMemoryKib(running.get(name)?.pid ?? 0),
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}

type Start = (name: string, file: string, env: Readonly<Record<string, string>>) => Promise<Running>

/** WELLSPRING_SERVICES' entries. */
async function startServices(
  start: Start,
  { dir, otlp, ...shared }: Readonly<Record<string, string>> & { dir: string; otlp: string },
): Promise<string[]> {
  const [imageqc, cellfeat, nucseg] = await Promise.all([
    start('imageqc-http', 'services/legacy/imageqc-http/main.ts', { PORT: '0' }),
    start('cellfeat-jobs', 'services/legacy/cellfeat-jobs/main.ts', { PORT: '0' }),
    writeNucseg(dir),
  ])
  const env = {
    ...shared,
    WELLSPRING_LISTEN: '127.0.0.1:0',
    WELLSPRING_IMAGEQC_URL: `http://${imageqc.address}`,
    WELLSPRING_CELLFEAT_URL: `http://${cellfeat.address}`,
    WELLSPRING_NUCSEG: nucseg,
    OTEL_EXPORTER_OTLP_ENDPOINT: `http://${otlp}`,
    OTEL_BSP_SCHEDULE_DELAY: '200',
  }
  return Promise.all(
    Object.entries(WRAPPERS).map(async ([name, service]) => {
      const { address } = await start(name, `services/${name}/main.ts`, env)
      return `${service}=${address}`
    }),
  )
}

const brokenMark = (dir: string): string => join(dir, 'nucseg.broken')

/** The real program behind a script that keeps what it says, as a lab's own wrapper scripts do. */
async function writeNucseg(dir: string): Promise<string> {
  const program = join(root, 'services/legacy/nucseg/main.ts')
  const script = join(dir, 'nucseg.sh')
  const log = join(dir, 'nucseg.log')
  await writeFile(
    script,
    `if [ -e '${brokenMark(dir)}' ]; then echo 'nucseg: unknown option -i' >&2; exit 2; fi\n` +
      `exec '${process.execPath}' '${program}' "$@" 2>> '${log}'\n`,
  )
  return `/bin/sh ${script}`
}

/** host:port that was free a moment ago. */
async function freeAddress(): Promise<string> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return `127.0.0.1:${port}`
}

async function peakMemoryKib(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  const own = Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1])
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')
  const pids = children.split(' ').filter((text) => text !== '')
  return Math.max(own, ...(await Promise.all(pids.map((child) => peakMemoryKib(Number(child))))))
}
