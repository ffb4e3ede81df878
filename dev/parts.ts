// What npm start runs: which programs, on which ports, with which settings.
import { existsSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { ExtractFeaturesService } from '#proto/wellspring/steps/features/v1/extract_features_pb.ts'
import { ImageQualityService } from '#proto/wellspring/steps/imagequality/v1/image_quality_pb.ts'
import { SegmentNucleiService } from '#proto/wellspring/steps/nuclei/v1/segment_nuclei_pb.ts'
import { PlateQualityService } from '#proto/wellspring/steps/platequality/v1/plate_quality_pb.ts'
import { WellProfileService } from '#proto/wellspring/steps/wellprofile/v1/well_profile_pb.ts'
import { startBroker } from './broker.ts'
import { startProgram } from './child.ts'
import { isRunning, type ProcessKind } from './local.ts'
import { privateDirectory } from './private.ts'
import { namesGiven, programEnvironment } from '../services/kit/environment.ts'
import { HIDDEN } from '../proto/artifact-file.ts'
import type { Part } from './supervisor.ts'
import { toolEnvironment } from './tools.ts'

export const TOPIC_PREFIX = 'wellspring.'
export const APPLICATION = 'wellspring'
export const TASKS = 8

/** Every part has a port of its own, this far above the base, and keeps it over restarts. */
const PORTS = {
  kafka: 0,
  control: 1,
  otlp: 2,
  'imageqc-http': 3,
  'cellfeat-jobs': 4,
  'image-quality': 5,
  'segment-nuclei': 6,
  'extract-features': 7,
  'well-profile': 8,
  'plate-quality': 9,
} as const

type PortName = keyof typeof PORTS
type StepName =
  | 'image-quality'
  | 'segment-nuclei'
  | 'extract-features'
  | 'well-profile'
  | 'plate-quality'

const SERVICES: Readonly<Record<StepName, string>> = {
  'image-quality': ImageQualityService.typeName,
  'segment-nuclei': SegmentNucleiService.typeName,
  'extract-features': ExtractFeaturesService.typeName,
  'well-profile': WellProfileService.typeName,
  'plate-quality': PlateQualityService.typeName,
}

const limits = { lookMs: 300, portsFreeMs: 3_000, sessionMs: 6_000 } as const

export type Layout = {
  readonly portBase: number
  /** .wellspring */
  readonly stateDir: string
  /** Brokers of a cluster that runs already; undefined: start one. */
  readonly givenBrokers: readonly string[] | undefined
}

export const storeOf = ({ stateDir }: Layout): string => join(stateDir, 'store')
export const imagesOf = ({ stateDir }: Layout): string => join(stateDir, 'images')
export const addressOf = ({ portBase }: Layout, name: PortName): string =>
  `127.0.0.1:${portBase + PORTS[name]}`
export const brokersOf = (layout: Layout): readonly string[] =>
  layout.givenBrokers ?? [addressOf(layout, 'kafka')]

/** The local Kafka. Its data stays in .wellspring/kafka. */
export function kafkaPart(layout: Layout): Part {
  return {
    name: 'kafka',
    kind: 'kafka',
    async start() {
      const broker = await startBroker({
        dir: privateDirectory(join(layout.stateDir, 'kafka')),
        port: layout.portBase + PORTS.kafka,
        log: logOf(layout, 'kafka'),
      })
      const [address = ''] = broker.brokers
      const { pid } = broker
      return { pid, address, ready: {}, exited: gone(pid), stop: () => broker.stop() }
    },
  }
}

/** Resolves when no process has this id any more. */
function gone(pid: number): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>()
  const look = setInterval(() => {
    if (isRunning(pid)) return
    clearInterval(look)
    resolve('gone')
  }, limits.lookMs)
  return promise
}

export function legacyParts(layout: Layout): readonly Part[] {
  return (['imageqc-http', 'cellfeat-jobs'] as const).map((name) =>
    part(
      layout,
      { name, kind: 'legacy', program: `services/legacy/${name}/main.ts` },
      {
        PORT: String(layout.portBase + PORTS[name]),
      },
    ),
  )
}

export function wrapperParts(layout: Layout): readonly Part[] {
  const shared = {
    WELLSPRING_STORE: storeOf(layout),
    ...roots(layout),
    OTEL_EXPORTER_OTLP_ENDPOINT: `http://${addressOf(layout, 'otlp')}`,
    WELLSPRING_IMAGEQC_URL: `http://${addressOf(layout, 'imageqc-http')}`,
    WELLSPRING_CELLFEAT_URL: `http://${addressOf(layout, 'cellfeat-jobs')}`,
    WELLSPRING_NUCSEG: 'node services/legacy/nucseg/main.ts',
  }
  return stepNames().map((name) =>
    part(
      layout,
      { name, kind: 'wrapper', program: `services/${name}/main.ts` },
      {
        ...shared,
        WELLSPRING_LISTEN: addressOf(layout, name),
      },
    ),
  )
}

export function coordinatorPart(layout: Layout): Part {
  const services = stepNames().map((name) => `${SERVICES[name]}=${addressOf(layout, name)}`)
  return part(
    layout,
    { name: 'coordinator', kind: 'coordinator', program: 'coordinator/main.ts' },
    {
      KAFKA_BROKERS: brokersOf(layout).join(','),
      WELLSPRING_APPLICATION: APPLICATION,
      WELLSPRING_TOPIC_PREFIX: TOPIC_PREFIX,
      WELLSPRING_TASKS: String(TASKS),
      WELLSPRING_SERVICES: services.join(','),
      WELLSPRING_CONTROL: addressOf(layout, 'control'),
      WELLSPRING_OTLP: addressOf(layout, 'otlp'),
      WELLSPRING_STORE: storeOf(layout),
      // Outputs are in the store; what services read is no business of the coordinator's.
      WELLSPRING_ROOTS: process.env['WELLSPRING_ROOTS'] ?? '',
      // Beside its own work, it looks at files that others put there: a share that hangs holds some threads.
      UV_THREADPOOL_SIZE: '16',
      // A laptop pauses less than a cluster's nodes do, and a killed coordinator should be back soon.
      WELLSPRING_SESSION_TIMEOUT_MS: String(limits.sessionMs),
    },
  )
}

/** Of the system and of no microscope. */
const SYSTEM = ['/etc', '/proc', '/sys', '/dev', '/run', '/boot', '/var', '/usr', '/bin', '/sbin']

/**
 * On a laptop images may lie anywhere: the services may read what their user may, but nothing of the system and nothing
 * hidden (keys, settings). WELLSPRING_ROOTS says instead where images are.
 */
function roots(layout: Layout): Record<string, string> {
  const { WELLSPRING_ROOTS: given, WELLSPRING_ROOTS_EXCEPT: except } = process.env
  const all = given ? [given] : ['/', ...[tmpdir(), '/var/tmp', '/run/media'].filter(existsSync)]
  return {
    WELLSPRING_ROOTS: [...all, imagesOf(layout)].join(delimiter),
    WELLSPRING_ROOTS_EXCEPT: except ?? (given ? '' : [...SYSTEM, HIDDEN].join(delimiter)),
  }
}

/** What a part gets of our environment. What a stand-in program can be told is in its main.ts. */
const PASSED: Readonly<Record<ProcessKind, readonly string[] | undefined>> = {
  kafka: undefined,
  coordinator: undefined,
  wrapper: ['WELLSPRING_*', 'OTEL_RESOURCE_ATTRIBUTES', 'OTEL_SDK_DISABLED', 'OTEL_TRACES_*'],
  legacy: ['QUEUE_LENGTH_MAX', 'WORKERS', 'LAG_MS', 'KEPT_MS'],
}

function environmentOf(kind: ProcessKind): NodeJS.ProcessEnv {
  const all = toolEnvironment()
  const names = PASSED[kind]
  return names ? programEnvironment(all, [...names, ...namesGiven(all)]) : all
}

function stepNames(): readonly StepName[] {
  return Object.keys(SERVICES) as StepName[]
}

function part(
  layout: Layout,
  { name, kind, program }: { name: string; kind: ProcessKind; program: string },
  env: Readonly<Record<string, string>>,
): Part {
  const log = logOf(layout, name)
  const base = environmentOf(kind)
  const child = { name, command: process.execPath, args: [program], base, env, log }
  return { name, kind, start: () => startProgram(child) }
}

function logOf({ stateDir }: Layout, name: string): string {
  return join(privateDirectory(join(stateDir, 'logs')), `${name}.log`)
}

/**
 * Rejects, naming port and part, when a port that we need is taken. Children of a run that was just killed may
 * still hold theirs: a moment is given.
 */
export async function checkPorts(layout: Layout): Promise<void> {
  const names = (Object.keys(PORTS) as PortName[]).filter(
    (name) => name !== 'kafka' || layout.givenBrokers === undefined,
  )
  const until = performance.now() + limits.portsFreeMs
  for (const name of names) {
    const port = layout.portBase + PORTS[name]
    while (!(await isFree(port))) {
      if (performance.now() > until)
        throw new Error(
          `port ${port} (for ${name}) is taken by another program.\n` +
            'If that is an npm start of another folder, or nothing you can end, choose other ports:\n' +
            `  npm start -- --port-base ${layout.portBase + 1_000}`,
        )
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }
}

function isFree(port: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const server = createServer()
  server.once('error', () => resolve(false))
  server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  return promise
}
