// W1: three chained steps per image, Kafka in and out and tracing on, against the raw grpc-js loop in the same minute.
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { openStage, planRecord, type Stage } from '../e2e/stage.ts'
import { benchBrokers } from './brokers.ts'
import { cpuMs } from './cpu.ts'
import { openEnds, type Ends } from './ends.ts'
import { imagesOf, openFeed, plansFor, type Feed } from './feed.ts'
import { median, rounded, setting, spread, type Figures, type Say } from './figures.ts'
import type { RawAnswer, RawOrder } from './raw.ts'

const TASKS = 8
const IN_FLIGHT = 64
const REST_MS = 2_000

type Kind = { readonly stepMs: number; readonly target: number; readonly plates: number }

/** 8 wells of 8 sites of 6 channels a plate. */
const LAYOUT = { wells: 8, sites: 8, channels: 6 }
const PLATE_IMAGES = LAYOUT.wells * LAYOUT.sites * LAYOUT.channels
export const NO_OP: Kind = { stepMs: 0, target: 0.6, plates: 32 }
const SLOW: Kind = { stepMs: 100, target: 0.95, plates: 8 }

export async function w1(say: Say): Promise<Figures> {
  const raw = fork(new URL('raw.ts', import.meta.url), { execPath: process.execPath })
  try {
    const noOp = await measure(NO_OP, raw, say)
    const slow = await measure(SLOW, raw, say)
    return { workload: 'w1', inFlight: IN_FLIGHT, ...noOp, slow, ok: noOp.ok && slow.ok }
  } finally {
    raw.disconnect()
  }
}

export async function measure(kind: Kind, raw: ChildProcess, say: Say) {
  const { stepMs, target, plates } = kind
  const stage = await openStage({
    pipeline: 'echo-chain.ts',
    tasks: TASKS,
    echo: { WELLSPRING_ECHO_DELAY_MS: String(stepMs) },
    ...benchBrokers(),
  })
  const profile = process.env['WELLSPRING_BENCH_PROFILE']
  const coordinator = await stage.coordinator('bench', {
    WELLSPRING_CALLS_IN_FLIGHT_MAX: String(IN_FLIGHT),
    ...(profile ? { NODE_OPTIONS: `--cpu-prof --cpu-prof-dir=${profile}` } : {}),
  })
  const feed = await openFeed(stage, TASKS)
  const ends = openEnds(stage, TASKS)
  const images = plates * PLATE_IMAGES
  const [engine, rawLoop, ratios]: [number[], number[], number[]] = [[], [], []]
  const cpu = { coordinator: [] as number[], raw: [] as number[] }
  const address = stage.services.split('=')[1] ?? ''
  const rounds = setting('WELLSPRING_BENCH_ROUNDS', 5)
  say(`w1, steps of ${stepMs} ms: ${rounds} rounds of ${images} images in ${plates} plates`)
  try {
    for (let round = 0; round <= rounds; round += 1) {
      const before = [cpuMs(coordinator.pid), cpuMs(raw.pid)] as const
      const engineMs = await engineRound({ stage, feed, ends, plates, round })
      const { ms } = await rawRound(raw, { address, images, inFlight: IN_FLIGHT })
      if (round === 0) continue // the first warms both up
      engine.push(rounded((images / engineMs) * 1000, 0))
      rawLoop.push(rounded((images / ms) * 1000, 0))
      ratios.push(rounded(ms / engineMs))
      cpu.coordinator.push(rounded((cpuMs(coordinator.pid) - before[0]) / images))
      cpu.raw.push(rounded((cpuMs(raw.pid) - before[1]) / images))
      say(
        `  engine ${engine.at(-1)}/s, raw ${rawLoop.at(-1)}/s: ${ratios.at(-1)} ` +
          `(CPU ${cpu.coordinator.at(-1)} and ${cpu.raw.at(-1)} ms per image)`,
      )
    }
  } finally {
    await Promise.all([feed.close(), ends.close()])
    await stage.close()
    await rm(stage.dir, { recursive: true, force: true })
  }
  const middle = rounded(median(ratios))
  say(`  median ${middle}, spread ${rounded(spread(ratios))}, target ${target}`)
  return {
    ok: middle >= target,
    stepMs,
    images,
    ratios,
    median: middle,
    spread: rounded(spread(ratios)),
    target,
    engine,
    raw: rawLoop,
    cpuMsPerImage: cpu,
  }
}

type Round = {
  readonly stage: Stage
  readonly feed: Feed
  readonly ends: Ends
  readonly plates: number
  readonly round: number
}

/** Milliseconds from the moment the images are visible to the last result on results.v1. */
async function engineRound({ stage, feed, ends, plates, round }: Round): Promise<number> {
  const plans = plansFor(`r${round}`, plates, TASKS, LAYOUT)
  await stage.client.produce(plans.map(planRecord))
  const show = await feed.prepare(imagesOf(plans))
  await sleep(REST_MS)
  const images = plates * PLATE_IMAGES
  const resultsBefore = await ends.end('results.v1')
  const spansBefore = await ends.end('spans.v1')
  const startMs = performance.now()
  await show()
  const keys: string[] = []
  let endMs = startMs
  // A busy machine can look like rest: what counts is that every image has its three results.
  while (keys.filter((key) => key.includes('/echo-')).length < 3 * images) {
    endMs = await ends.rest('results.v1', resultsBefore + 3 * images, REST_MS)
    for (const record of await ends.news('results.v1')) keys.push(record.key?.toString() ?? '')
  }
  if (new Set(keys).size !== keys.length) throw new Error('a result is there twice')
  const spans = (await ends.end('spans.v1')) - spansBefore
  if (spans < images) throw new Error(`only ${spans} records on spans.v1`)
  return endMs - startMs
}

async function rawRound(raw: ChildProcess, order: RawOrder): Promise<RawAnswer> {
  raw.send(order)
  const [answer] = (await once(raw, 'message')) as [RawAnswer]
  return answer
}
