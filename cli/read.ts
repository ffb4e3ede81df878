// Reads topics into a ledger.
import { kafkaPlace, type WhereFlags } from './environment.ts'
import { openLedger, type Ledger, type Passed } from './ledger.ts'
import { say } from './output.ts'
import { openTopics, type ReadTopic } from './topics.ts'

/** A ledger of all pipelines over these topics, as of now. */
export async function readLedger(flags: WhereFlags, names: readonly ReadTopic[]): Promise<Ledger> {
  const topics = await openTopics(kafkaPlace(flags))
  try {
    const ledger = openLedger()
    for (const name of names) await topics.read(name, (record) => ledger.add(record))
    sayPassed(ledger.passed)
    return ledger
  } finally {
    await topics.close()
  }
}

/** What is shown does not hold what cannot be read: says so. */
export function sayPassed(passed: readonly Passed[]): void {
  const [first] = passed
  if (first === undefined) return
  const more = passed.length > 1 ? ` and ${passed.length - 1} more` : ''
  say(`note     left out, cannot be read: ${first.place} (${first.why})${more}`)
}
