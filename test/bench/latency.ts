// Latency: 20 images a second, one after the other; from just before the send to the QC result in a consumer's hands.
import { rm } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { openStage, imageRecords, planOf, planRecord } from '../e2e/stage.ts'
import { benchBrokers } from './brokers.ts'
import { quantile, rounded, setting, type Figures, type Say } from './figures.ts'

const SERVICE_MS = 50
const EVERY_MS = 50
const TARGET_MS = 100
const WARM_UP = 60

export async function latency(say: Say): Promise<Figures> {
  const stage = await openStage({
    pipeline: 'echo-levels.ts',
    tasks: 8,
    echo: { WELLSPRING_ECHO_DELAY_MS: String(SERVICE_MS) },
    ...benchBrokers(),
  })
  await stage.coordinator('bench')
  const images = setting('WELLSPRING_BENCH_IMAGES', 600)
  const plan = planOf('latency', { wells: 24, sites: 9, channels: 6 })
  const records = imageRecords(plan).slice(0, images + WARM_UP)
  const sentMs = new Map<string, number>()
  const overMs: number[] = []
  const stop = new AbortController()
  const reading = (async () => {
    const options = { from: 'start', signal: stop.signal } as const
    for await (const record of stage.client.follow('results.v1', options)) {
      const [entity = '', step = ''] = (record.key?.toString() ?? '').split('/echo-')
      const sent = sentMs.get(entity)
      if (!step.startsWith('image@') || sent === undefined) continue
      overMs.push(performance.now() - sent - SERVICE_MS)
      if (overMs.length === records.length) return
    }
  })()
  try {
    await stage.client.produce([planRecord(plan)])
    for (const [n, record] of records.entries()) {
      const startMs = performance.now()
      sentMs.set(entityAt(plan, n), startMs)
      await stage.client.produce([record])
      await sleep(Math.max(0, EVERY_MS - (performance.now() - startMs)))
    }
    await reading
  } finally {
    stop.abort()
    await stage.close()
    await rm(stage.dir, { recursive: true, force: true })
  }
  const measured = overMs.slice(WARM_UP)
  const [p50 = NaN, p95 = NaN, p99 = NaN] = [0.5, 0.95, 0.99].map((p) =>
    rounded(quantile(measured, p), 1),
  )
  say(
    `latency: ${images} images, beyond ${SERVICE_MS} ms of service p50 ${p50}, p95 ${p95}, p99 ${p99} ms`,
  )
  return {
    workload: 'latency',
    ok: p95 <= TARGET_MS,
    images,
    serviceMs: SERVICE_MS,
    p50,
    p95,
    p99,
    targetP95: TARGET_MS,
  }
}

/** Entity key of the n-th record of imageRecords. */
function entityAt(plan: ReturnType<typeof planOf>, n: number): string {
  const channels = plan.channels.length
  const sites = plan.sites.length
  const well = plan.wells[Math.floor(n / (channels * sites))]?.well ?? ''
  const site = plan.sites[Math.floor(n / channels) % sites] ?? 0
  const channel = plan.channels[n % channels]?.name ?? ''
  return `${plan.experiment}/${plan.plate}/${plan.acquisition}/${well}/t0/s${site}/z0/${channel}`
}
