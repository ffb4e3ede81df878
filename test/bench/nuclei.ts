// Nuclei: counts over the BBBC039 fields of the shared data against the truth, and CPU seconds a field.
import { csvRows, dataDir, inData } from '../services/legacy/shared-data.ts'
import { segmentNuclei } from '../../services/legacy/nucseg/segment.ts'
import { readPixels } from '../../services/legacy/pixels.ts'
import { median, quantile, rounded, type Figures, type Say } from './figures.ts'

const TARGET = { median: 0.05, p90: 0.12, secondsPerField: 0.25 }
const BBBC039 = 'bbbc039-u2os-nuclei'

export async function nuclei(say: Say): Promise<Figures> {
  if (dataDir === undefined) return { workload: 'nuclei', ok: false, skipped: 'no ../shared/data' }
  const errors: number[] = []
  const seconds: number[] = []
  let inEmpty = 0
  const count = async (...path: string[]): Promise<number> => {
    const image = await readPixels(inData(...path))
    const start = process.cpuUsage()
    const field = segmentNuclei(image)
    const { user, system } = process.cpuUsage(start)
    seconds.push((user + system) / 1e6)
    return field.kind === 'empty' ? 0 : field.nuclei.length
  }
  for (const row of csvRows(inData(BBBC039, 'expected_counts.csv'))) {
    const truth = Number(row['nuclei_ground_truth'])
    const found = await count(BBBC039, row['image'] ?? '')
    if (truth === 0) inEmpty += found
    else errors.push(Math.abs(found - truth) / truth)
  }
  const bbbc = seconds.length
  for (const row of csvRows(inData('cv8000-black-plate', 'manifest.csv')).slice(0, 6))
    inEmpty += await count('cv8000-black-plate', row['path'] ?? '')
  const figures = {
    median: rounded(median(errors)),
    p90: rounded(quantile(errors, 0.9)),
    secondsPerField: rounded(median(seconds.slice(0, bbbc))),
  }
  say(`nuclei: ${errors.length} fields, median error ${figures.median}, p90 ${figures.p90}`)
  say(`  ${inEmpty} nuclei in empty and black fields; ${figures.secondsPerField} s of CPU a field`)
  const isGood =
    figures.median <= TARGET.median &&
    figures.p90 <= TARGET.p90 &&
    figures.secondsPerField <= TARGET.secondsPerField
  return {
    workload: 'nuclei',
    ok: isGood && inEmpty === 0,
    fields: errors.length,
    ...figures,
    inEmpty,
    target: TARGET,
  }
}
