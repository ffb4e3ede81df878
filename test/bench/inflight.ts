// Calls in flight: how many are held at once by a coordinator whose service takes its time, and how late its event loop
// is while they begin, are held, and end.
import { readFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { EchoService } from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import { openStage, planRecord } from '../e2e/stage.ts'
import { benchBrokers } from './brokers.ts'
import { imagesOf, openFeed, plansFor } from './feed.ts'
import { rounded, setting, type Figures, type Say } from './figures.ts'
import { forked } from './forked.ts'
import type { Delays } from './loop-delay.ts'

const TASKS = 8
const TARGET_MS = 100
const CALLS = 10_000
/** More than anybody promised. */
const TRIED = 50_000
const LAYOUT = { wells: 24, sites: 9, channels: 6 }
const PLATE_IMAGES = LAYOUT.wells * LAYOUT.sites * LAYOUT.channels
const LOOK_EVERY_MS = 500
const LONGEST_MS = 150_000
const SPANS_WITHIN_MS = 20_000
const PRELOAD = new URL('loop-delay.ts', import.meta.url).pathname

export async function inflight(say: Say): Promise<Figures> {
  const held = await hold({ calls: setting('WELLSPRING_BENCH_CALLS', CALLS), workMs: 20_000 }, say)
  const tried = await hold({ calls: setting('WELLSPRING_BENCH_TRIED', TRIED), workMs: 60_000 }, say)
  const ok =
    held.reached >= held.calls &&
    held.missing === 0 &&
    Math.max(held.begin.p99Ms, held.rest.p99Ms) < TARGET_MS
  return { workload: 'inflight', ok, ...held, tried, targetP99Ms: TARGET_MS }
}

type Held = {
  /** While calls begin; while they are held and end. */
  readonly begin: Delays
  readonly rest: Delays
  readonly calls: number
  /** Most calls at the service at once. */
  readonly reached: number
  /** Not answered when time was up. */
  readonly missing: number
  readonly seconds: number
}

/** So many images, each a call of so long. */
async function hold(
  { calls, workMs }: { readonly calls: number; readonly workMs: number },
  say: Say,
): Promise<Held> {
  const service = await forked('patient', { slots: TRIED, workMs, hangs: false })
  const stage = await openStage({ pipeline: 'echo-patient.ts', tasks: TASKS, ...benchBrokers() })
  const delays = join(stage.dir, 'delays.jsonl')
  const profile = process.env['WELLSPRING_BENCH_PROFILE']
  try {
    const { pid } = await stage.coordinator('bench', {
      WELLSPRING_SERVICES: `${EchoService.typeName}=${service.address}`,
      WELLSPRING_CALLS_IN_FLIGHT_MAX: String(calls),
      WELLSPRING_BENCH_DELAYS: delays,
      NODE_OPTIONS: `--import=${PRELOAD}${profile ? ` --cpu-prof --cpu-prof-dir=${profile}` : ''}`,
    })
    const feed = await openFeed(stage, TASKS)
    const plans = plansFor('f', Math.ceil(calls / PLATE_IMAGES), TASKS, LAYOUT)
    await stage.client.produce(plans.map(planRecord))
    const show = await feed.prepare(imagesOf(plans).slice(0, calls))
    process.kill(pid, 'SIGUSR2')
    const startMs = performance.now()
    await show()
    let [reached, answered] = [0, 0]
    let isBegun = false
    while (answered < calls && performance.now() - startMs < LONGEST_MS) {
      await sleep(LOOK_EVERY_MS)
      const happened = await service.set({ slots: TRIED, workMs, hangs: false })
      reached = Math.max(reached, happened.inFlightMax)
      answered += happened.answered
      if (isBegun || (reached < calls && answered === 0)) continue
      isBegun = true
      process.kill(pid, 'SIGUSR2')
    }
    const seconds = rounded((performance.now() - startMs) / 1_000, 1)
    process.kill(pid, 'SIGUSR2')
    await feed.close()
    const [begin, rest] = await seenBy(delays)
    say(
      `inflight: ${reached} of ${calls} calls at once, ${answered} answered in ${seconds} s; event loop late by ` +
        `p99 ${begin.p99Ms} ms while they begin (at most ${begin.maxMs}), ${rest.p99Ms} ms then (${rest.maxMs}); ` +
        `RSS ${begin.residentMb} and ${rest.residentMb} MB`,
    )
    return { calls, reached, missing: calls - answered, seconds, begin, rest }
  } finally {
    service.end()
    await stage.close()
    await rm(stage.dir, { recursive: true, force: true })
  }
}

/** What was seen in the two spans after the first signal; a busy process answers the last one late. */
async function seenBy(file: string): Promise<[Delays, Delays]> {
  for (let tries = 0; tries < SPANS_WITHIN_MS / LOOK_EVERY_MS; tries += 1) {
    const lines = readFileSync(file, 'utf8').trim().split('\n')
    const [, begin, rest] = lines.map((line) => JSON.parse(line) as Delays)
    if (begin && rest) return [begin, rest]
    await sleep(LOOK_EVERY_MS)
  }
  throw new Error('the coordinator does not tell its delays')
}
