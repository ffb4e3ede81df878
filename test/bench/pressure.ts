// Pressure: one of two independent services is cut to a tenth of what it can do, then hangs, then is back; and one of
// two replicas hangs. What the other one does meanwhile, against a second coordinator beside it that has no trouble.
import { readFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { fromBinary } from '@bufbuild/protobuf'
import { StepResultSchema } from '#proto/wellspring/record/v1/output_pb.ts'
import { EchoService } from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import { ImageQualityService } from '#proto/wellspring/steps/imagequality/v1/image_quality_pb.ts'
import type { OutgoingRecord } from '@wellspring/kafka/client.ts'
import { openStage, planRecord, type Stage } from '../e2e/stage.ts'
import { benchBrokers } from './brokers.ts'
import { imagesOf, plansFor } from './feed.ts'
import { rounded, setting as numberOf, type Figures, type Say } from './figures.ts'
import { forked, type Forked } from './forked.ts'
import type { Happened, Setting } from './pressed.ts'

const TASKS = 4
const TARGET = 0.95
/** How much more memory may grow in a phase than it does without trouble. */
const FLAT = 1.15
const WARM_UP_MS = 10_000
const CAUGHT_UP_MS = 90_000
const FEED_EVERY_MS = 100
/** What arrives: four fifths of what either service can do. */
const IMAGES_PER_SECOND = 40
/** The real bound, 10,000, is met after minutes; this one within a phase. */
const CALLS_IN_FLIGHT_MAX = 300
const LAYOUT = { wells: 2, sites: 9, channels: 6 }
/** Two replicas of four slots, as the contract allows: 50/s. */
const STEADY: Setting = { slots: 4, workMs: 160, hangs: false }
const PRESSED: Setting = { slots: 10, workMs: 200, hangs: false }
/** Calls in a second after the return over what the service can do: refusals while its limit is found again. */
const STORM = 1.5
const SEND_RECORDS = 200

type Side = {
  readonly stage: Stage
  readonly steady: readonly [Forked, Forked]
  readonly pressed: Forked
  readonly pid: number
}

type Phase = {
  readonly name: string
  /** The service that is pressed, and the second replica of the other one. */
  readonly pressed: Setting
  readonly replica: Setting
}

const PHASES: readonly Phase[] = [
  { name: 'before', pressed: PRESSED, replica: STEADY },
  { name: 'cut', pressed: { ...PRESSED, slots: PRESSED.slots / 10 }, replica: STEADY },
  { name: 'hung', pressed: { ...PRESSED, hangs: true }, replica: STEADY },
  { name: 'back', pressed: PRESSED, replica: STEADY },
  { name: 'replica hung', pressed: PRESSED, replica: { ...STEADY, hangs: true } },
]

type Measured = {
  /** Calls answered by the other service, and beside it without trouble. */
  readonly steady: readonly [number, number]
  readonly pressed: Happened
  readonly pressedCalm: Happened
  /** Resident memory at the end over that at the start, and beside it. */
  readonly memory: readonly [number, number]
}

export async function pressure(say: Say): Promise<Figures> {
  const seconds = numberOf('WELLSPRING_BENCH_SECONDS', 15)
  const sides: Side[] = []
  const stop = new AbortController()
  const found = new Map<string, Measured>()
  try {
    sides.push(await openSide(), await openSide())
    const [troubled, calm] = sides as [Side, Side]
    say(
      `pressure: ${IMAGES_PER_SECOND} images/s to each of two coordinators, phases of ${seconds} s`,
    )
    const feeds = sides.map((side) => feed(side, (PHASES.length + 2) * seconds, stop.signal))
    await sleep(WARM_UP_MS)
    for (const phase of PHASES) {
      const measured = await measure(phase, { troubled, calm, seconds })
      found.set(phase.name, measured)
      const { steady, pressed, pressedCalm, memory } = measured
      say(
        `  ${phase.name}: the other service answered ${steady.join(' of ')}, this one ` +
          `${pressed.answered} of ${pressedCalm.answered}, refused ${pressed.refused}, repeated ` +
          `${pressed.repeated}, at once ${pressed.inFlightMax}, in a second ${pressed.perSecondMax}; ` +
          `memory × ${memory.join(' and ')}`,
      )
    }
    await troubled.steady[1].set(STEADY)
    stop.abort()
    await Promise.all(feeds)
    const missing = await missingOf(troubled.stage)
    const { spent, parked } = await spentOf(troubled.stage)
    say(`  in the end ${missing} missing, ${spent} attempts spent, ${parked} parked`)
    return figuresOf(found, { seconds, spent, parked, missing })
  } finally {
    stop.abort()
    for (const side of sides) await close(side)
  }
}

async function measure(
  { pressed, replica }: Phase,
  { troubled, calm, seconds }: { troubled: Side; calm: Side; seconds: number },
): Promise<Measured> {
  const all = [troubled.steady[0], troubled.steady[1], ...calm.steady]
  await Promise.all(all.map((one) => one.set(STEADY)))
  await calm.pressed.set(PRESSED)
  await Promise.all([troubled.pressed.set(pressed), troubled.steady[1].set(replica)])
  const before = [residentKilobytes(troubled.pid), residentKilobytes(calm.pid)] as const
  await sleep(seconds * 1_000)
  const memory = [
    rounded(residentKilobytes(troubled.pid) / before[0]),
    rounded(residentKilobytes(calm.pid) / before[1]),
  ] as const
  const [happened, happenedCalm] = await Promise.all([
    troubled.pressed.set(pressed),
    calm.pressed.set(PRESSED),
  ])
  const [one, two, three, four] = await Promise.all(
    all.map(async (forked) => {
      const { answered } = await forked.set(forked === troubled.steady[1] ? replica : STEADY)
      return answered
    }),
  )
  return {
    steady: [(one ?? 0) + (two ?? 0), (three ?? 0) + (four ?? 0)],
    pressed: happened,
    pressedCalm: happenedCalm,
    memory,
  }
}

function figuresOf(
  found: ReadonlyMap<string, Measured>,
  { seconds, ...end }: { seconds: number; spent: number; parked: number; missing: number },
): Figures {
  const each = <T>(take: (one: Measured, name: string) => T): Record<string, T> =>
    Object.fromEntries([...found].map(([name, one]) => [name, take(one, name)]))
  // What either catches up of an earlier phase is not owed by the other.
  const arrived = seconds * IMAGES_PER_SECOND
  const ratio = ([is, calm]: readonly [number, number]): number =>
    rounded(is / Math.min(calm, arrived))
  const other = each(({ steady }) => ratio(steady))
  const memory = each((one) => one.memory)
  const cut = found.get('cut')
  const back = found.get('back')
  const hung = found.get('replica hung')
  const slots = PRESSED.slots / 10
  const goodput = rounded(
    (cut?.pressed.answered ?? 0) / ((slots * seconds * 1_000) / PRESSED.workMs),
  )
  // One replica of the two can do so much; the service of the others is what must not be touched.
  const replicaCan = Math.min(
    hung?.steady[1] ?? 0,
    (STEADY.slots * seconds * 1_000) / STEADY.workMs,
  )
  const withOneReplica = rounded((hung?.steady[0] ?? 0) / replicaCan)
  const othersOfReplica = ratio([hung?.pressed.answered ?? 0, hung?.pressedCalm.answered ?? NaN])
  const inFlightOverLimit = rounded((back?.pressed.inFlightMax ?? 0) / PRESSED.slots)
  const perSecondOverLimit = rounded(
    (back?.pressed.perSecondMax ?? 0) / ((PRESSED.slots * 1_000) / PRESSED.workMs),
  )
  const troubles = [other['cut'], other['hung'], other['back'], othersOfReplica]
  const ok =
    troubles.every((one) => (one ?? 0) >= TARGET) &&
    goodput >= TARGET &&
    cut?.pressed.repeated === 0 &&
    end.parked === 0 &&
    end.missing === 0 &&
    Object.values(memory).every(([is, calm]) => is <= FLAT * Math.max(1, calm)) &&
    perSecondOverLimit <= STORM
  return {
    workload: 'pressure',
    ok,
    otherService: other,
    goodputWhileCut: goodput,
    memory,
    attempts: { spentWhileCut: cut?.pressed.repeated, spentInAll: end.spent, parked: end.parked },
    missing: end.missing,
    afterReturn: { inFlightOverLimit, perSecondOverLimit },
    replicaHung: { otherService: othersOfReplica, sameService: withOneReplica },
    target: TARGET,
  }
}

/** Images at a steady rate, in turn over the plates, until told to stop or for so long. */
async function feed({ stage }: Side, seconds: number, stop: AbortSignal): Promise<void> {
  const images = seconds * IMAGES_PER_SECOND
  const plateImages = LAYOUT.wells * LAYOUT.sites * LAYOUT.channels
  const plans = plansFor('p', Math.ceil(images / plateImages), TASKS, LAYOUT)
  await stage.client.produce(plans.slice(0, TASKS).map(planRecord))
  const startMs = performance.now()
  let [sent, planned] = [0, TASKS]
  const waiting: OutgoingRecord[] = []
  while (!stop.aborted && sent < images) {
    const due = Math.min(images, ((performance.now() - startMs) / 1_000) * IMAGES_PER_SECOND)
    const now: OutgoingRecord[] = []
    for (; sent < due; sent += 1) {
      if (waiting.length === 0) {
        // So many plates at a time, one of each task.
        const group = plans.slice(planned - TASKS, planned).map((plan) => imagesOf([plan]))
        for (let at = 0; at < plateImages; at += 1)
          waiting.push(...group.flatMap((one) => one.slice(at, at + 1)))
        waiting.reverse()
        planned += TASKS
        now.push(...plans.slice(planned - TASKS, planned).map(planRecord))
      }
      const next = waiting.pop()
      if (next) now.push(next)
    }
    if (now.length > 0) await stage.client.produce(now)
    await sleep(FEED_EVERY_MS)
  }
  // What was begun is ended, so that every plan can be.
  while (waiting.length > 0) await stage.client.produce(waiting.splice(-SEND_RECORDS).reverse())
}

/** What of the planned has no end, when there is time to catch up. */
async function missingOf(stage: Stage): Promise<number> {
  const endMs = performance.now() + CAUGHT_UP_MS
  for (;;) {
    const { missing } = await stage.audit()
    if (missing === 0 || performance.now() > endMs) return missing
    await sleep(2_000)
  }
}

/** Attempts beyond the first of each result, and dead letters. */
async function spentOf(stage: Stage): Promise<{ spent: number; parked: number }> {
  let [spent, parked] = [0, 0]
  for await (const { value, headers } of stage.client.readAll('results.v1'))
    if (value && headers['wellspring-type'] === StepResultSchema.typeName)
      spent += fromBinary(StepResultSchema, value).attempts - 1
  for await (const { value } of stage.client.readAll('dead-letters.v1')) if (value) parked += 1
  return { spent, parked }
}

async function openSide(): Promise<Side> {
  const steady = [await forked('quality', STEADY), await forked('quality', STEADY)] as const
  const pressed = await forked('echo', PRESSED)
  const stage = await openStage({ pipeline: 'two-services.ts', tasks: TASKS, ...benchBrokers() })
  const services = [
    ...steady.map(({ address }) => `${ImageQualityService.typeName}=${address}`),
    `${EchoService.typeName}=${pressed.address}`,
  ]
  const { pid } = await stage.coordinator('bench', {
    WELLSPRING_SERVICES: services.join(','),
    WELLSPRING_CALLS_IN_FLIGHT_MAX: String(CALLS_IN_FLIGHT_MAX),
  })
  return { stage, steady, pressed, pid }
}

async function close({ stage, steady, pressed }: Side): Promise<void> {
  for (const one of [...steady, pressed]) one.end()
  await stage.close()
  await rm(stage.dir, { recursive: true, force: true })
}

function residentKilobytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1])
}
