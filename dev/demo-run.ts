// One demo experiment from first exposure to summary, watched on the topics.
import { setTimeout as sleep } from 'node:timers/promises'
import { createClient } from '@connectrpc/connect'
import { createConnectTransport } from '@connectrpc/connect-node'
import { ControlService } from '#proto/wellspring/control/v1/control_pb.ts'
import type { StepFailure } from '#proto/wellspring/step/v1/failure_pb.ts'
import { isClean, report } from '../cli/audit.ts'
import { openLedger } from '../cli/ledger.ts'
import { shown } from '../cli/output.ts'
import { closedWord, verdictWord } from '../cli/states.ts'
import { openTopics } from '../cli/topics.ts'
import { auditPipeline } from '../cli/verify.ts'
import { openClient, type Client } from '@wellspring/kafka/client.ts'
import { bounded } from '@wellspring/kafka/connection.ts'
import { pipeline } from '../coordinator/pipelines/screening.ts'
import type { Announcer } from '../ingest/announce.ts'
import { planDemo, type Demo } from './demo.ts'
import { judgeFaults } from './faults.ts'
import { acquire, fileName } from './microscope.ts'
import { emptyObserved, observe, type Observed } from './observe.ts'
import { complain, say } from './say.ts'
import { firstVerdictWords, openScreen, type Screen, type View } from './screen.ts'
import { summarisePlates, summaryText, type Audit, type Summary } from './summary.ts'
import type { Supervisor } from './supervisor.ts'

/** The service that dies on purpose when half is imaged. */
const RESTARTED = 'image-quality'

const limits = {
  paceMs: 290,
  frameMs: 500,
  /** Nothing new for so long, and all closed: over. */
  stillMs: 3_000,
  /** After the last image; far beyond every deadline of the demo. */
  closeMs: 180_000,
  announceAgainMs: 500,
  copyMs: 6_000,
  copyMaxMs: 40_000,
  askMs: 3_000,
  letGoMs: 1_000,
} as const

export type DemoOptions = {
  readonly seed: string
  readonly brokers: readonly string[]
  readonly topicPrefix: string
  readonly application: string
  /** Base URL of the control API. */
  readonly control: string
  /** Folder for the images. */
  readonly images: string
  readonly supervisor: Supervisor
  readonly signal: AbortSignal
}

/** What is known while it runs. */
type Progress = {
  readonly demo: Demo
  seen: Observed
  readonly from: number
  shots: number
  firstVerdict: View['firstVerdict']
  /** Notes that were made. */
  readonly said: Set<string>
}

/** Runs the demo to its end. Rejects when stopped. Plates that never close are in the summary as OPEN. */
export async function runDemo(options: DemoOptions): Promise<Summary> {
  const { signal, supervisor } = options
  const demo = planDemo(options.seed, experimentId(new Date()), RESTARTED)
  const progress: Progress = {
    demo,
    seen: emptyObserved(),
    from: performance.now(),
    shots: 0,
    firstVerdict: undefined,
    said: new Set(),
  }
  const screen = openScreen()
  screen.note(`experiment ${demo.experiment}: 2 plates, ${demo.shots.length} images, 7 faults`)
  const watching = new AbortController()
  const stop = AbortSignal.any([signal, watching.signal])
  const observing = observe(
    demo.experiment,
    () => open(options),
    stop,
    (seen) => {
      progress.seen = seen
      notice(progress, screen)
    },
  )
  const drawing = setInterval(() => screen.show(viewOf(progress, supervisor)), limits.frameMs)
  try {
    await image(progress, options, screen)
    await untilClosed(progress, signal)
    const audit = await auditOf(demo, options)
    screen.show(viewOf(progress, supervisor))
    screen.close()
    const target = demo.faults.find(({ kind }) => kind === 'half-copied')?.target ?? ''
    const copyFailures = await failuresOf(options.control, target)
    const summary: Summary = {
      experiment: demo.experiment,
      seed: demo.seed,
      seconds: Math.round((performance.now() - progress.from) / 100) / 10,
      plates: summarisePlates(demo, progress.seen),
      audit,
      faults: judgeFaults({
        demo,
        seen: progress.seen,
        restarts: supervisor.restarts(),
        copyFailures,
      }),
      restarts: supervisor.restarts(),
    }
    say(summaryText(shown(summary), exampleImage(demo)))
    return summary
  } finally {
    clearInterval(drawing)
    watching.abort()
    await bounded(observing, limits.letGoMs) // a reader may be waiting for a broker that is gone
  }
}

/** demo-20261122-173005: a new one for every run, so that kept state never collides. */
function experimentId(now: Date): string {
  const digits = now.toISOString().replaceAll(/[-:]/g, '')
  return `demo-${digits.slice(0, 8)}-${digits.slice(9, 15)}`
}

function open({ brokers, topicPrefix }: DemoOptions): Client {
  return openClient({ brokers, topicPrefix, clientId: 'wellspring-start' })
}

async function image(progress: Progress, options: DemoOptions, screen: Screen): Promise<void> {
  const { supervisor, signal, application } = options
  const client = open(options)
  try {
    await acquire(progress.demo, {
      announcer: untilAnnounced(client, signal),
      dir: options.images,
      application,
      paceMs: limits.paceMs,
      copied: (entity) => untilCopied(options, entity),
      signal,
      onShot(done, of) {
        progress.shots = done
        if (done !== Math.floor(of / 2)) return
        screen.note(`kill -9 ${RESTARTED}, as a crash would`)
        supervisor.crash(RESTARTED)
      },
    })
  } finally {
    await client.close()
  }
}

/**
 * A copy takes 6 s, and longer while nobody has noticed that it is half: a coordinator that was away meanwhile
 * would otherwise find it whole, and the fault would not have happened.
 */
async function untilCopied({ control, signal }: DemoOptions, entity: string): Promise<void> {
  const until = performance.now() + limits.copyMaxMs
  await sleep(limits.copyMs, undefined, { signal })
  while (performance.now() < until && (await failuresOf(control, entity)).length === 0)
    await sleep(limits.frameMs, undefined, { signal })
}

/** Why attempts on an entity failed; nothing while the coordinator cannot be asked. */
async function failuresOf(control: string, entity: string): Promise<readonly StepFailure[]> {
  const transport = createConnectTransport({
    baseUrl: control,
    httpVersion: '1.1',
    defaultTimeoutMs: limits.askMs,
  })
  try {
    const { runs } = await createClient(ControlService, transport).explain({ about: entity })
    return runs.flatMap(({ attempts }) => attempts.flatMap(({ failure }) => failure ?? []))
  } catch {
    return []
  }
}

/** A broker that is away for a while costs time, no image. */
function untilAnnounced(client: Client, signal: AbortSignal): Announcer {
  return {
    async announce(records) {
      for (;;) {
        try {
          return await client.produce(records)
        } catch (error) {
          signal.throwIfAborted()
          if (!(error instanceof Error && 'kind' in error && error.kind === 'unknown')) throw error
          await sleep(limits.announceAgainMs, undefined, { signal })
        }
      }
    },
  }
}

/** Says once what is worth saying once. */
function notice(progress: Progress, screen: Screen): void {
  const { demo, seen, from, shots } = progress
  if (!progress.firstVerdict && seen.verdicts.size > 0) {
    const toBeImaged = 1 - shots / demo.shots.length
    progress.firstVerdict = { afterMs: performance.now() - from, toBeImaged }
    screen.note(firstVerdictWords(progress.firstVerdict) ?? '')
  }
  for (const { experiment, plate, acquisition } of demo.plans) {
    const entity = `${experiment}/${plate}/${acquisition}`
    const status = seen.status.get(entity)
    if (!status?.closedBy || !status.verdict) continue
    const words = `${plate} ${closedWord(status.closedBy)}, revision ${status.revision}: ${verdictWord(status.verdict)}`
    if (progress.said.has(words)) continue
    progress.said.add(words)
    screen.note(words)
  }
}

function viewOf({ demo, seen, from, firstVerdict }: Progress, supervisor: Supervisor): View {
  const plates = demo.plans.map(({ experiment, plate, acquisition }) => ({
    name: plate,
    status: seen.status.get(`${experiment}/${plate}/${acquisition}`),
  }))
  const down = new Set(supervisor.missing())
  const names = [...supervisor.processes().map(({ name }) => name), ...down]
  const services = names.map((name) => ({ name, up: !down.has(name) }))
  return { elapsedMs: performance.now() - from, plates, services, firstVerdict }
}

/** Every plate is closed and judged, and nothing has moved for a while; or patience is over. */
async function untilClosed(progress: Progress, signal: AbortSignal): Promise<void> {
  const { demo } = progress
  const until = performance.now() + limits.closeMs
  while (performance.now() < until) {
    const { seen } = progress
    const closed = demo.plans.every(({ experiment, plate, acquisition }) => {
      const entity = `${experiment}/${plate}/${acquisition}`
      return seen.closes.has(entity) && hasEnded(entity, seen)
    })
    if (closed && Date.now() - seen.lastAt > limits.stillMs) return
    await sleep(limits.frameMs, undefined, { signal })
  }
}

/** The plate's own step ended, one way or the other. */
function hasEnded(plate: string, { results, deadLetters }: Observed): boolean {
  const isOwn = ({ entity }: { readonly entity: string }): boolean => entity === plate
  return results.values().some(isOwn) || deadLetters.values().some(isOwn)
}

/** The audit of this experiment over the topics, as `wellspring verify` makes it. */
async function auditOf(demo: Demo, options: DemoOptions): Promise<Audit> {
  const { brokers, topicPrefix, application } = options
  const topics = await openTopics({ brokers, topicPrefix, application })
  const spec = auditPipeline(pipeline)
  const ledger = openLedger(spec.label)
  try {
    for (const name of ['results.v1', 'dead-letters.v1', 'commands.v1'] as const)
      await topics.read(name, (record) => ledger.add(record))
  } finally {
    await topics.close()
  }
  const found = report(ledger, spec, demo.experiment)
  if (!isClean(found)) complain(`audit: ${JSON.stringify(found.names, null, 2).slice(0, 2_000)}`)
  return { missing: found.missing, duplicate: found.duplicate, unplanned: found.unplanned }
}

/** An image with a story: the truncated one. */
function exampleImage(demo: Demo): string {
  const shot = demo.shots.find(({ faults }) => faults.includes('truncated'))
  return shot ? (fileName(shot).split('/').at(-1) ?? '') : ''
}
