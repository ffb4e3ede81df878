// Rounds of cases from a seed, counted; a case that breaks something is named so that it can be had again.
import { diceOf } from '../sim/world.ts'
import { openCases, type Case } from './cases.ts'
import { kafkaReader, memoryReader } from './reader.ts'

/** Changed somewhere, or right and beside what is. */
export type Counts = { batches: number; records: number; headers: number; events: number }

/** CPU time of this process that a case may take. */
const CASE_CPU_MS = 1_000

/** Reads so many cases of a seed on both twins. Throws with the seed and the number of a case. */
export function readCases(seed: number, count: number, counts: Counts): void {
  const next = openCases(diceOf(seed))
  for (let number = 0; number < count; number += 1) {
    const one = next()
    try {
      const { events, ms } = taken(one)
      counts.events += events
      // Once it may be the machine: it is the case that takes as long again.
      if (ms > CASE_CPU_MS && taken(one).ms > CASE_CPU_MS) throw new Error(`it takes ${ms} ms`)
    } catch (error) {
      throw new Error(`seed ${seed}, case ${number}: ${String(error)}`, { cause: error })
    }
    counts.batches += 1
    counts.records += one.records
    counts.headers += one.headers
  }
}

/** Through both twins, with the CPU time that it took. */
function taken(one: Case): { events: number; ms: number } {
  const before = process.cpuUsage()
  const events = kafkaReader(one)
  memoryReader(one)
  const { user, system } = process.cpuUsage(before)
  return { events, ms: (user + system) / 1_000 }
}

export function casesOf(seed: number, count: number): Case[] {
  const next = openCases(diceOf(seed))
  return Array.from({ length: count }, next)
}

export const sumOf = ({ batches, records, headers }: Counts): number => batches + records + headers

export const noCounts = (): Counts => ({ batches: 0, records: 0, headers: 0, events: 0 })
