// npm run soak -- [--minutes 120] [--seed N] [--rate 16]: a steady stream of small plates through two coordinators, and
// nothing that disturbs them. Exit code 1 unless everything that is held stays as it was.
import { parseArgs } from 'node:util'
import { riseOf } from './checks/growth.ts'
import { looksOf } from './figures.ts'
import { soak } from './steady.ts'

const HOUR_MS = 3_600_000

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '120' },
    seed: { type: 'string' },
    rate: { type: 'string', default: '16' },
  },
})
const seed = Number(values.seed ?? Math.floor(Math.random() * 1_000_000))
const minutes = Number(values.minutes)
console.log(`seed ${seed}: ${minutes} min, ${values.rate} images a second`)
const result = await soak({
  seed,
  minutes,
  imagesPerSecond: Number(values.rate),
  say: (line) => console.log(line),
})
const { report, complaints, series, judging } = result
console.log(
  `planned ${report.planned}, results ${report.done}, holes ${report.holes}; ` +
    `lost ${report.missing}, duplicate ${report.duplicate}, phantom ${report.unplanned}`,
)
console.log(`judged ${judging.records} records in ${(judging.judgeMs / 1_000).toFixed(1)} s`)
for (const line of looksOf(result)) console.log(line)
console.log(
  'after the warm-up: from the first look to the last, and the rise of the line through all',
)
for (const { of, what, points, riseMax } of series) {
  const [first, last] = [points[0], points.at(-1)]
  if (!first || !last) continue
  const rise = riseOf(points)
  const perHour = (rise * HOUR_MS) / (last.atMs - first.atMs)
  console.log(
    `  ${of.padEnd(12)} ${what.padEnd(11)} ${first.value} → ${last.value}, rise ${Math.round(rise)} of ` +
      `${riseMax} allowed, ${Math.round(perHour)} an hour`,
  )
}
console.log(complaints.length === 0 ? 'steady' : `not steady: ${complaints.length} complaints`)
for (const complaint of complaints.slice(0, 40)) console.log(`  ${complaint}`)
process.exit(complaints.length === 0 ? 0 : 1)
