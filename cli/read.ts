// Reads topics into a ledger.
import type { WhereFlags } from './environment.ts'
import { kafkaPlace } from './environment.ts'
import type { Ledger } from './ledger.ts'
import { openLedger } from './ledger.ts'
import type { ReadTopic } from './topics.ts'
import { openTopics } from './topics.ts'

/** A ledger of all pipelines over these topics, as of now. */
export async function readLedger(flags: WhereFlags, names: readonly ReadTopic[]): Promise<Ledger> {
  const topics = await openTopics(kafkaPlace(flags))
  try {
    const ledger = openLedger()
    for (const name of names) await topics.read(name, (record) => ledger.add(record))
    return ledger
  } finally {
    await topics.close()
  }
}
