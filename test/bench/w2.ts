// W2: fan-in of plates of 82,944 members (1536 wells, 9 sites, 6 channels) against plates of 384, echo steps on every
// level: throughput, and the time from a plate's last member to its result.
import { rm } from 'node:fs/promises'
import { fromBinary } from '@bufbuild/protobuf'
import { timestampMs } from '@bufbuild/protobuf/wkt'
import { Level } from '#proto/wellspring/contract/v1/options_pb.ts'
import { StepResultSchema } from '#proto/wellspring/record/v1/output_pb.ts'
import { openStage, planRecord, type Layout, type Stage } from '../e2e/stage.ts'
import { benchBrokers } from './brokers.ts'
import { imagesOf, openFeed, plansFor, type Feed } from './feed.ts'
import { median, rounded, setting, type Figures, type Say } from './figures.ts'

/** A plate is in one task, so one task it is for both kinds. */
const TASKS = 1
const SMALL: Layout = { wells: 16, sites: 4, channels: 6 }
const LARGE: Layout = { wells: 1536, sites: 9, channels: 6 }
const SMALL_PLATES = 40
const TARGET = { ratio: 0.8, lastMs: 250 }

export async function w2(say: Say): Promise<Figures> {
  const stage = await openStage({ pipeline: 'echo-levels.ts', tasks: TASKS, ...benchBrokers() })
  await stage.coordinator('bench')
  const feed = await openFeed(stage, TASKS)
  const plates = setting('WELLSPRING_BENCH_PLATES', 2)
  const [small, large, lastMs]: [number[], number[], number[]] = [[], [], []]
  try {
    await round({ stage, feed, name: 'warm', count: SMALL_PLATES, layout: SMALL })
    for (let n = 0; n < plates; n += 1) {
      const few = await round({ stage, feed, name: `s${n}`, count: SMALL_PLATES, layout: SMALL })
      const many = await round({ stage, feed, name: `l${n}`, count: 1, layout: LARGE })
      small.push(few.imagesPerS)
      large.push(many.imagesPerS)
      lastMs.push(...many.lastMs)
      say(
        `w2: 384 members ${few.imagesPerS}/s, 82,944 members ${many.imagesPerS}/s, ` +
          `last member to plate result ${many.lastMs.join(', ')} ms`,
      )
    }
  } finally {
    await feed.close()
    await stage.close()
    await rm(stage.dir, { recursive: true, force: true })
  }
  const ratios = large.map((one, n) => rounded(one / (small[n] ?? NaN)))
  const middle = rounded(median(ratios))
  const lastMaxMs = Math.max(...lastMs)
  say(`  ratio ${middle} (target ${TARGET.ratio}), last ${lastMaxMs} ms (target ${TARGET.lastMs})`)
  return {
    workload: 'w2',
    ok: middle >= TARGET.ratio && lastMaxMs <= TARGET.lastMs,
    plates,
    ratios,
    median: middle,
    target: TARGET,
    small,
    large,
    lastMs,
    lastMaxMs,
  }
}

type Round = {
  readonly stage: Stage
  readonly feed: Feed
  readonly name: string
  readonly count: number
  readonly layout: Layout
}
type Seen = { readonly imagesPerS: number; readonly lastMs: readonly number[] }

/** Images per second from the first to be visible to the last plate's result, read by a consumer. */
async function round({ stage, feed, name, count, layout }: Round): Promise<Seen> {
  const plans = plansFor(name, count, TASKS, layout)
  const images = imagesOf(plans)
  await stage.client.produce(plans.map(planRecord))
  const show = await feed.prepare(images)
  const stop = new AbortController()
  const lasts = new Map<string, number>()
  const lastMs: number[] = []
  const reading = (async () => {
    for await (const record of stage.client.follow('results.v1', {
      from: 'end',
      signal: stop.signal,
    })) {
      if (!record.value || record.headers['wellspring-type'] !== StepResultSchema.typeName) continue
      const key = record.key?.toString() ?? ''
      const plate = key.split('/', 2).join('/')
      const isPlate = key.includes('/echo-plate@')
      if (!isPlate && !key.includes('/echo-image@')) continue
      const { finishedAt, level } = fromBinary(StepResultSchema, record.value)
      if (level === Level.IMAGE) lasts.set(plate, finishedAt ? timestampMs(finishedAt) : NaN)
      else lastMs.push(Date.now() - (lasts.get(plate) ?? NaN))
      if (lastMs.length === count) return performance.now()
    }
    return NaN
  })()
  // The follower looks up where the end is before anything is there.
  await new Promise((resolve) => setTimeout(resolve, 1_500))
  const startMs = performance.now()
  await show()
  const endMs = await reading
  stop.abort()
  return { imagesPerS: rounded((images.length / (endMs - startMs)) * 1000, 0), lastMs }
}
