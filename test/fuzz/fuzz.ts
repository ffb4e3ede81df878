// npm run fuzz -- [--seed N] [--rounds M]: changed input from a seed, until it is stopped or something does not hold; a
// round is 10,000 batches for the readers and 500 for a coordinator. Exit code 1 with the seed that shows it.
import { parseArgs } from 'node:util'
import { casesOf, noCounts, readCases, sumOf } from './rounds.ts'
import { takeIn } from './twin.ts'

const READ = 10_000
const TAKEN_IN = 500

const { values } = parseArgs({
  options: { seed: { type: 'string' }, rounds: { type: 'string', default: 'Infinity' } },
})
const first = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31))
const rounds = Number(values.rounds)
if (!Number.isInteger(first) || !(rounds > 0)) {
  process.stderr.write('usage: npm run fuzz -- [--seed NUMBER] [--rounds NUMBER]\n')
  process.exit(2)
}

const counts = noCounts()
for (let seed = first; seed < first + rounds; seed += 1) {
  try {
    readCases(seed, READ, counts)
    await takeIn(casesOf(seed, TAKEN_IN))
  } catch (error) {
    process.stdout.write(`seed ${seed} breaks it (npm run fuzz -- --seed ${seed} --rounds 1)\n`)
    process.stdout.write(`${error instanceof Error ? error.stack : String(error)}\n`)
    process.exit(1)
  }
  const { batches, records, headers, events } = counts
  process.stdout.write(
    `seed ${seed}: ${sumOf(counts)} in all: ${batches} batches, ${records} records, ${headers} headers; ${events} events\n`,
  )
}
