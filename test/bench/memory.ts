// Memory: what the coordinator keeps per open image key, with 1 M images whose image and site steps are done, six
// channels a site, in plates that are still open. The production tasks over a log that forgets.
import { setTimeout as sleep } from 'node:timers/promises'
import { create, toBinary, type DescMethod } from '@bufbuild/protobuf'
import { EchoService } from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import { loadPipeline } from '../../coordinator/core/pipeline/check.ts'
import { hex, sha256 } from '../../coordinator/core/keys.ts'
import type { PlatePlan } from '#proto/wellspring/lab/v1/plan_pb.ts'
import { imageRecords, planRecord, type Layout } from '../e2e/stage.ts'
import { pipeline } from '../pipelines/echo-levels.ts'
import { openEngine, type Engine } from './engine.ts'
import { plansFor } from './feed.ts'
import { rounded, setting, type Figures, type Say } from './figures.ts'

const TASKS = 8
const TARGET_BYTES = 700
const LAYOUT: Layout = { wells: 384, sites: 9, channels: 6 }
const PLATE_IMAGES = LAYOUT.wells * LAYOUT.sites * LAYOUT.channels
const LUMP = 6 * 9 * 16
const RETIRE_AFTER_MS = 1_000
const RETIRED_WITHIN_MS = 60_000

export async function memory(say: Say): Promise<Figures> {
  const { gc } = globalThis
  if (!gc) throw new Error('the memory workload needs node --expose-gc')
  let answers = 0
  const engine = await openEngine({
    tasks: TASKS,
    pipeline: loadPipeline(pipeline),
    answer(method: DescMethod) {
      answers += 1
      return toBinary(
        method.output,
        create(method.output, { digest: hex(sha256(Buffer.from(String(answers)))) }),
      )
    },
  })
  const images = setting('WELLSPRING_BENCH_IMAGES', 1_000_000)
  const plates = Math.ceil(images / PLATE_IMAGES)
  const plans: PlatePlan[] = []
  // The first plate warms up: code and buffers are not what an image costs.
  const feed = async (name: string, count: number): Promise<number> => {
    let fed = 0
    const fresh = plansFor(name, count, TASKS, LAYOUT)
    plans.push(...fresh)
    // One plate per task at a time, as far as there are so many.
    for (let first = 0; first < fresh.length; first += TASKS) {
      const some = fresh.slice(first, first + TASKS)
      await engine.take(some.map(planRecord))
      // The last well's images stay away: the plate stays open.
      const all = some.map((plan) => imageRecords(plan).slice(0, -LAYOUT.sites * LAYOUT.channels))
      for (let at = 0; at < PLATE_IMAGES; at += LUMP)
        await engine.take(all.flatMap((records) => records.slice(at, at + LUMP)))
      fed += all.flat().length
    }
    return fed
  }
  await feed('warm', TASKS)
  const before = await settled(gc)
  const startMs = performance.now()
  const fed = await feed('m', plates)
  const seconds = rounded((performance.now() - startMs) / 1000, 1)
  const after = await settled(gc)
  const per = (name: keyof NodeJS.MemoryUsage): number =>
    rounded((after[name] - before[name]) / fed, 0)
  const bytes = { rss: per('rss'), heap: per('heapUsed'), buffers: per('arrayBuffers') }
  say(
    `memory: ${fed} images in ${seconds} s; RSS ${mega(before.rss)} → ${mega(after.rss)} MB, ${bytes.rss} bytes an image`,
  )
  say(`  (heap ${bytes.heap}, buffers ${bytes.buffers}); target ${TARGET_BYTES}`)
  const open = entities(engine)
  engine.retireAfter(RETIRE_AFTER_MS)
  for (const plan of plans)
    await engine.take(imageRecords(plan).slice(-LAYOUT.sites * LAYOUT.channels))
  const retiredMs = performance.now()
  while (entities(engine) > plans.length && performance.now() - retiredMs < RETIRED_WITHIN_MS)
    await sleep(100)
  const left = entities(engine)
  const retired = await settled(gc)
  say(
    `  then all closed and retired: ${open} records of state → ${left}, of ${plans.length} plates; heap ` +
      `${mega(after.heapUsed)} → ${mega(retired.heapUsed)} MB, buffers ${mega(after.arrayBuffers)} → ${mega(retired.arrayBuffers)} MB`,
  )
  await engine.close()
  return {
    workload: 'memory',
    ok: bytes.rss <= TARGET_BYTES && left === plans.length,
    images: fed,
    bytesPerImage: bytes,
    target: TARGET_BYTES,
    rssMb: [mega(before.rss), mega(after.rss)],
    heapMb: [mega(before.heapUsed), mega(after.heapUsed)],
    retired: { plates: plans.length, recordsOpen: open, recordsLeft: left },
    seconds,
    steps: EchoService.typeName,
  }
}

/** Records that the tasks hold. */
function entities(engine: Engine): number {
  let sum = 0
  for (const { state } of engine.host.running())
    if (state)
      for (const map of [state.plans, state.plates, state.wells, state.sites]) sum += map.size()
  return sum
}

async function settled(gc: NonNullable<typeof globalThis.gc>): Promise<NodeJS.MemoryUsage> {
  for (let n = 0; n < 4; n += 1) {
    await sleep(500)
    await gc({ type: 'major', execution: 'async' })
  }
  return process.memoryUsage()
}

function mega(bytes: number): number {
  return rounded(bytes / 1e6, 0)
}
