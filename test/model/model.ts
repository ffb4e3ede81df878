// npm run model -- [--scenario N] [--faults F] [--moves M] [--seconds S]: looks further than npm test does.
import { parseArgs } from 'node:util'
import { explore } from './explore.ts'
import { large, scenarios } from './scenarios.ts'

const { values } = parseArgs({
  options: {
    scenario: { type: 'string', default: '0' },
    faults: { type: 'string' },
    moves: { type: 'string' },
    seconds: { type: 'string', default: '600' },
  },
})
const known = [large, ...scenarios][Number(values.scenario)]
if (!known) {
  for (const [at, { name }] of [large, ...scenarios].entries()) console.log(`${at}  ${name}`)
  process.exit(2)
}
const budget = {
  faults: Number(values.faults ?? known.budget.faults),
  moves: Number(values.moves ?? known.budget.moves),
}
const startMs = performance.now()
const found = await explore({ ...known, budget }, startMs + Number(values.seconds) * 1_000)
const { states, paths, steps, broken, isCut } = found
const seconds = ((performance.now() - startMs) / 1_000).toFixed(1)
const cut = isCut ? ', not all of them' : ''
console.log(`${known.name}, ${budget.faults} faults, ${budget.moves} rebalances:`)
console.log(`${states} states${cut}, ${paths} paths, ${steps} steps, ${seconds} s`)
for (const line of broken ? [...broken.complaints, ...broken.path.map((one) => `  ${one}`)] : [])
  console.log(line)
process.exitCode = broken ? 1 : 0
