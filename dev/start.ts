// `npm start`: a whole Wellspring on this machine, and a virtual microscope that acquires a demo experiment.
import { writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { createTopics } from '@wellspring/kafka/topics.ts'
import { runDemo } from './demo-run.ts'
import { isRunning, readLocal, removeLocal, writeLocal } from './local.ts'
import {
  addressOf,
  APPLICATION,
  brokersOf,
  checkPorts,
  coordinatorPart,
  imagesOf,
  kafkaPart,
  legacyParts,
  storeOf,
  TASKS,
  TOPIC_PREFIX,
  wrapperParts,
  type Layout,
} from './parts.ts'
import { privateDirectory, stateDirectory, writeForOurselves } from './private.ts'
import { checkBrokers } from './reach.ts'
import { complain, say } from './say.ts'
import { complaints } from './summary.ts'
import { supervise, type Part, type Supervisor } from './supervisor.ts'
import { inSeconds, stateDir } from './tools.ts'

const HELP = `npm start -- [options]
  --until-done       end when the demo is over: 0 when everything was handled as it should be
  --summary FILE     write what became of the demo as JSON
  --seed TEXT        draw another experiment (default 1)
  --no-demo          start everything but the microscope
  --state DIR        keep everything there (default .wellspring)
  --port-base N      first of ten ports in a row (default 19092, Kafka's)
KAFKA_BROKERS=host:port,… uses that cluster instead of a local Kafka.
`
const limits = { signalAgainMs: 1_000, launcherMs: 500 } as const

const options = readOptions()
const layout: Layout = {
  portBase: options.portBase,
  stateDir: options.stateDir,
  givenBrokers: process.env['KAFKA_BROKERS']?.split(',').map((broker) => broker.trim()),
}
const stopping = new AbortController()
const supervisor = supervise(() => writeState())
let writing: Promise<void> = Promise.resolve()
listenForEnd()
process.exitCode = await main().catch(report)
stopping.abort()
await supervisor.stop()
await writing
await removeLocal(layout.stateDir)
process.exit()

async function main(): Promise<number> {
  writeForOurselves()
  stateDirectory(layout.stateDir)
  await refuseSecond()
  const from = performance.now()
  await startEverything(supervisor)
  say(
    `all ${supervisor.processes().length} parts run, after ${inSeconds(performance.now() - from)}`,
  )
  say(
    `Kafka ${brokersOf(layout).join(',')}, control http://${addressOf(layout, 'control')}; logs in ${join(layout.stateDir, 'logs')}`,
  )
  if (options.demo) {
    const summary = await runDemo({
      seed: options.seed,
      brokers: brokersOf(layout),
      topicPrefix: TOPIC_PREFIX,
      application: APPLICATION,
      control: `http://${addressOf(layout, 'control')}`,
      images: imagesOf(layout),
      supervisor,
      signal: stopping.signal,
    })
    if (options.summary) await writeFile(options.summary, `${JSON.stringify(summary, null, 2)}\n`)
    const bad = complaints(summary)
    for (const complaint of bad) complain(`not as it should be: ${complaint}`)
    if (options.untilDone) return bad.length === 0 ? 0 : 1
  }
  say('everything stays up; Ctrl-C stops it')
  await new Promise<void>((resolve) => stopping.signal.addEventListener('abort', () => resolve()))
  return 0
}

/** Whoever calls is started after whom it calls. */
async function startEverything(children: Supervisor): Promise<void> {
  const start = (part: Part) => children.start(part)
  await checkPorts(layout)
  for (const dir of [storeOf(layout), imagesOf(layout)]) privateDirectory(dir)
  if (layout.givenBrokers) await checkBrokers(layout.givenBrokers)
  else {
    say('starting Kafka (the first time its jars are fetched, some 45 MB) …')
    await start(kafkaPart(layout))
  }
  stopping.signal.throwIfAborted()
  await createTopics({ brokers: brokersOf(layout), topicPrefix: TOPIC_PREFIX, tasks: TASKS })
  say('starting services …')
  await Promise.all([...legacyParts(layout), ...wrapperParts(layout)].map(start))
  stopping.signal.throwIfAborted()
  await start(coordinatorPart(layout))
}

/** Two runs on the same state would fight over it. */
async function refuseSecond(): Promise<void> {
  const running =
    (await readLocal(layout.stateDir))?.processes.filter(({ pid }) => isRunning(pid)) ?? []
  const [first] = running
  if (first)
    throw new Error(
      `npm start runs already in this folder (${first.name} is process ${first.pid}).\n` +
        'Stop that one first (Ctrl-C), or look at it: npx wellspring plates',
    )
}

function writeState(): void {
  const local = {
    brokers: brokersOf(layout),
    topicPrefix: TOPIC_PREFIX,
    application: APPLICATION,
    otlp: `http://${addressOf(layout, 'otlp')}`,
    control: `http://${addressOf(layout, 'control')}`,
    store: storeOf(layout),
    processes: supervisor.processes(),
  }
  writing = writing.then(() => writeLocal(layout.stateDir, local))
}

/** Ctrl-C, SIGTERM, or the end of the npm that started us: stop in order. A later second signal stops at once. */
function listenForEnd(): void {
  const end = (): void => {
    if (stopping.signal.aborted) return
    say('stopping …')
    stopping.abort()
    // npm and the terminal each send their own signal for one Ctrl-C.
    const again = (): void => process.exit(130)
    setTimeout(() => {
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, again)
    }, limits.signalAgainMs).unref()
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, end)
  const launcher = Number(process.env['WELLSPRING_LAUNCHER'] ?? 0)
  if (launcher === process.ppid)
    setInterval(() => process.ppid === launcher || end(), limits.launcherMs).unref()
}

function report(error: unknown): number {
  if (stopping.signal.aborted) return options.untilDone ? 130 : 0
  complain(`wellspring: ${error instanceof Error ? error.message : String(error)}`)
  return 1
}

function readOptions() {
  try {
    const { values } = parseArgs({
      options: {
        'until-done': { type: 'boolean', default: false },
        summary: { type: 'string' },
        seed: { type: 'string', default: '1' },
        'no-demo': { type: 'boolean', default: false },
        state: { type: 'string', default: stateDir },
        'port-base': { type: 'string', default: '19092' },
        help: { type: 'boolean', short: 'h', default: false },
      },
    })
    if (values.help) {
      say(HELP)
      process.exit(0)
    }
    const portBase = Number(values['port-base'])
    if (!Number.isInteger(portBase) || portBase < 1024 || portBase > 65_000)
      throw new Error(`--port-base ${values['port-base']}: want a number from 1024 to 65000`)
    // npm runs us in the repository and says where the person stands.
    const here = (path: string): string => resolve(process.env['INIT_CWD'] ?? '.', path)
    return {
      untilDone: values['until-done'],
      summary: values.summary && here(values.summary),
      stateDir: here(values.state),
      seed: values.seed,
      demo: !values['no-demo'],
      portBase,
    }
  } catch (error) {
    complain(`wellspring: ${error instanceof Error ? error.message : String(error)}\n${HELP}`)
    process.exit(2)
  }
}
