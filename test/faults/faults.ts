// npm run faults -- [--seed N] [--minutes M] [--coordinators 3] [--brokers 1|3] [--kinds none|KIND,…] …: real processes
// under faults drawn from the seed. Exit code 1 on any complaint; the seed replays the schedule.
import { parseArgs } from 'node:util'
import { boundsFor } from './bounds.ts'
import { invariants } from './checks/all.ts'
import { figuresOf } from './figures.ts'
import { KINDS } from './kinds/draw.ts'
import { echoChain, echoFiles, echoLevels } from './pipelines.ts'
import { POINTS } from './points.ts'
import { run, type RunResult } from './run.ts'
import { phasesOf, pointsLeftOut, schedule } from './schedule.ts'

const SAMPLE_EVERY_MS = 3_000
const COMPLAINTS_OF_A_RULE_MAX = 6
/** Whoever writes or judges a digest passes over the whole state: at every flush only short runs bear that. */
const EVERY_DIGEST_MINUTES_MAX = 3
const LONG_RUN_DIGEST_EVERY = 50

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    minutes: { type: 'string', default: '5' },
    coordinators: { type: 'string', default: '3' },
    brokers: { type: 'string', default: '1' },
    tasks: { type: 'string', default: '6' },
    rate: { type: 'string', default: '32' },
    'session-timeout-ms': { type: 'string', default: '6000' },
    'no-broker-kills': { type: 'boolean', default: false },
    kinds: { type: 'string', default: KINDS.join(',') },
    'kinds-only': { type: 'boolean', default: false },
    pipeline: { type: 'string', default: 'echo-files.ts' },
  },
})
/** What judges know of a pipeline. */
const known = new Map([
  ['echo-chain.ts', echoChain],
  ['echo-files.ts', echoFiles],
  ['echo-levels.ts', echoLevels],
])
const judged = known.get(values.pipeline)
if (!judged) {
  console.error(`--pipeline: ${[...known.keys()].join(', ')}`)
  process.exit(2)
}
const wanted = values.kinds === 'none' ? [] : values.kinds.split(',')
const kinds = KINDS.filter((kind) => wanted.includes(kind))
if (kinds.length < wanted.length) {
  console.error(`--kinds: none, or some of ${KINDS.join(',')}`)
  process.exit(2)
}
if (values.brokers !== '1' && values.brokers !== '3') {
  console.error('--brokers: 1 or 3')
  process.exit(2)
}
const seed = Number(values.seed ?? Math.floor(Math.random() * 1_000_000))
const minutes = Number(values.minutes)
const coordinators = Number(values.coordinators)
const brokers = Number(values.brokers)
const sessionTimeoutMs = Number(values['session-timeout-ms'])
console.log(`seed ${seed}: ${minutes} min, ${coordinators} coordinators, brokers ${brokers}`)
const drawn = {
  seed,
  minutes,
  coordinators,
  brokers,
  sessionTimeoutMs,
  tasks: Number(values.tasks),
  kinds,
  kindsOnly: values['kinds-only'],
  withBrokerKills: !values['no-broker-kills'],
}
const result = await run({
  ...drawn,
  pipeline: values.pipeline,
  imagesPerSecond: Number(values.rate),
  sampleEveryMs: SAMPLE_EVERY_MS,
  bounds: boundsFor(Number(values.rate), kinds),
  judged,
  faults: schedule(drawn),
  phases: phasesOf(drawn),
  digestEvery: minutes <= EVERY_DIGEST_MINUTES_MAX ? 1 : LONG_RUN_DIGEST_EVERY,
  say: (line) => console.log(line),
})
print(result)
process.exit(result.complaints.length > 0 ? 1 : 0)

function print({ injected, hits, report, complaints, restMs, ...rest }: RunResult): void {
  console.log('\ninjected')
  const kinds = Map.groupBy(injected, ({ fault }) => fault.kind)
  for (const [kind, all] of kinds) {
    const missed = all.filter(({ hit }) => !hit).length
    console.log(`  ${kind.padEnd(14)} ${all.length}${missed > 0 ? ` (${missed} hit nobody)` : ''}`)
  }
  if (!values['kinds-only']) printPoints(injected, hits)
  console.log('invariants')
  for (const { name, title } of invariants) {
    const all = rest.verdicts.get(name)
    const word = !all ? 'not judged' : all.length === 0 ? 'ok' : `${all.length} complaints`
    console.log(`  ${name.padEnd(6)} ${title.padEnd(52)} ${word}`)
  }
  console.log('figures')
  for (const line of figuresOf({ injected, hits, report, complaints, restMs, ...rest }))
    console.log(`  ${line}`)
  console.log(complaints.length === 0 ? 'no complaint' : `${complaints.length} complaints`)
  // Some of each rule.
  for (const [, all] of Map.groupBy(complaints, (complaint) => complaint.split(' ', 1)[0]))
    for (const complaint of all.slice(0, COMPLAINTS_OF_A_RULE_MAX)) console.log(`  ${complaint}`)
  if (complaints.length > 0) {
    const asked = Object.entries({ ...values, seed }).flatMap(([name, value]) =>
      value === false ? [] : value === true ? [`--${name}`] : [`--${name} ${value}`],
    )
    console.log(`again: npm run faults -- ${asked.join(' ')}`)
  }
}

function printPoints(injected: RunResult['injected'], hits: RunResult['hits']): void {
  console.log('points hit')
  for (const point of POINTS) console.log(`  ${point.padEnd(24)} ${hits.get(point) ?? 0}`)
  const never = POINTS.filter((point) => !hits.has(point))
  if (never.length > 0)
    console.log(
      `  never: ${never.join(' ')} (${pointsLeftOut(injected).length} were not in the schedule)`,
    )
}
