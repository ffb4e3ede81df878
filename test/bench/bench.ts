// `npm run bench [-- workload … --json]`: the figures that Wellspring promises, as ratios in one run.
// --json prints one JSON line per workload on stdout and nothing else; words go to stderr.
import { parseArgs } from 'node:util'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { Figures, Say } from './figures.ts'
import { inflight } from './inflight.ts'
import { latency } from './latency.ts'
import { memory } from './memory.ts'
import { nuclei } from './nuclei.ts'
import { pressure } from './pressure.ts'
import { restore } from './restore.ts'
import { w1 } from './w1.ts'
import { w2 } from './w2.ts'

const WORKLOADS: Readonly<Record<string, (say: Say) => Promise<Figures>>> = {
  w1,
  w2,
  latency,
  memory,
  restore,
  pressure,
  inflight,
  nuclei,
}

const { values, positionals } = parseArgs({
  options: { json: { type: 'boolean', default: false } },
  allowPositionals: true,
})
const names = positionals.length > 0 ? positionals : Object.keys(WORKLOADS)
const unknown = names.filter((name) => !(name in WORKLOADS))
if (unknown.length > 0) {
  const known = Object.keys(WORKLOADS).join(', ')
  process.stderr.write(`there is no workload ${unknown.join(', ')}: want some of ${known}\n`)
  process.exit(2)
}
// As --expose-gc does, without a word on the command line.
setFlagsFromString('--expose-gc')
globalThis.gc ??= runInNewContext('gc') as NodeJS.GCFunction

let ok = true
for (const name of names) {
  const figures = await WORKLOADS[name]?.((line) => void process.stderr.write(`${line}\n`))
  if (figures === undefined) continue
  ok &&= figures.ok
  if (values.json) process.stdout.write(`${JSON.stringify(figures)}\n`)
  else process.stderr.write(`${name}: ${figures.ok ? 'reached' : 'MISSED'}\n\n`)
}
process.exit(ok ? 0 : 1)
