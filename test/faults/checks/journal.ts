// T1 to T3: what state.v1 must look like, partition by partition, before it is compacted.
import { createHash } from 'node:crypto'
import type { Batch, CommittedRecord, Evidence } from '../evidence.ts'
import { entryOf, journals } from './records.ts'
import { transactions } from './transactions.ts'

/** T1: flushSeq counts 1, 2, … without gap or repeat; the next offsets of the inputs never go back. */
export function flushOrder(evidence: Evidence): string[] {
  const complaints: string[] = []
  for (const [task, journal] of journals(evidence)) {
    let seq = 0
    let next = new Map<string, number>()
    for (const record of journal) {
      const entry = entryOf(record)
      if (entry.kind !== 'checkpoint') continue
      const where = `state.v1/${task}@${record.offset}`
      const { flushSeq, next: offsets } = entry.message
      if (flushSeq !== seq + 1) complaints.push(`${where}: flush ${flushSeq} follows flush ${seq}`)
      seq = flushSeq
      for (const { topic, next: at } of offsets)
        if (at < (next.get(topic) ?? 0))
          complaints.push(
            `${where}: ${topic} goes back from ${next.get(topic)} to ${at} with flush ${flushSeq}`,
          )
      for (const topic of next.keys())
        if (offsets.every((one) => one.topic !== topic))
          complaints.push(`${where}: flush ${flushSeq} forgets the offset of ${topic}`)
      next = new Map(offsets.map((one) => [one.topic, one.next]))
    }
  }
  return complaints
}

type Writer = { readonly producerId: number; readonly epoch: number }
const named = ({ producerId, epoch }: Writer): string => `${producerId}/${epoch}`

/**
 * T2: between one #owner and the next only its (producer id, epoch) writes, and it says who it is. An aborted batch of
 * a newer writer is a barrier that died; of anybody else it is a writer that should have been fenced.
 */
export function onlyTheOwner(evidence: Evidence): string[] {
  const complaints: string[] = []
  const journalWriters = new Map<number, number>()
  const all = transactions(evidence)
  for (const one of all) {
    if (one.topic !== 'state.v1') continue
    const other = journalWriters.get(one.producerId)
    if (other !== undefined && other !== one.partition)
      complaints.push(
        `producer id ${one.producerId} writes state.v1/${other} and state.v1/${one.partition}`,
      )
    journalWriters.set(one.producerId, one.partition)
  }
  for (const one of all) {
    const task = journalWriters.get(one.producerId)
    if (task === undefined || one.topic === 'plate-events.v1' || one.partition === task) continue
    complaints.push(
      `producer id ${one.producerId} of task ${task} wrote ${one.topic}/${one.partition}@${one.firstOffset}`,
    )
  }
  const batches = Map.groupBy(
    evidence.batches.filter(({ topic }) => topic === 'state.v1'),
    ({ partition }) => partition,
  )
  for (const [task, journal] of journals(evidence))
    complaints.push(...ownersOf(task, journal, batches.get(task) ?? []))
  return complaints
}

function ownersOf(
  task: number,
  journal: readonly CommittedRecord[],
  batches: readonly Batch[],
): string[] {
  const complaints: string[] = []
  const committed = new Map(journal.map((record) => [record.offset, record]))
  let owner: Writer | undefined
  for (const batch of batches) {
    if (batch.control !== undefined) continue
    const where = `state.v1/${task}@${batch.baseOffset}`
    if (!batch.isTransactional) complaints.push(`${where}: written outside of a transaction`)
    let isCommitted = false
    for (let at = batch.baseOffset; at <= batch.lastOffset; at += 1) {
      const record = committed.get(at)
      if (!record) continue
      isCommitted = true
      const entry = entryOf(record)
      if (entry.kind === 'owner') owner = entry.message
      if (entry.kind !== 'entity' && named(entry.message) !== named(batch))
        complaints.push(
          `state.v1/${task}@${at}: ${record.key} names ${named(entry.message)} and was written by ${named(batch)}`,
        )
    }
    if (isCommitted && owner === undefined) complaints.push(`${where}: written before any #owner`)
    if (!owner || named(owner) === named(batch)) continue
    const isOlder = owner.producerId === batch.producerId && batch.epoch < owner.epoch
    if (isCommitted || isOlder)
      complaints.push(`${where}: ${named(batch)} wrote after the barrier of ${named(owner)}`)
  }
  return complaints
}

/** I6: within one partition the epoch of a producer id never goes down, markers included. */
export function epochs(evidence: Evidence): string[] {
  const highest = new Map<string, number>()
  return evidence.batches.flatMap(({ topic, partition, baseOffset, producerId, epoch }) => {
    if (producerId < 0) return []
    const place = `${topic}/${partition}/${producerId}`
    const known = highest.get(place) ?? -1
    highest.set(place, Math.max(known, epoch))
    if (epoch >= known) return []
    return `${topic}/${partition}@${baseOffset}: producer id ${producerId} goes back from epoch ${known} to ${epoch}`
  })
}

/** T3: the state rebuilt from the log at every flush hashes to what its writer logged. */
export function rebuilt(evidence: Evidence): string[] {
  const complaints: string[] = []
  const { digestEvery } = evidence.circumstances
  for (const [task, journal] of journals(evidence)) {
    const state = rebuild()
    for (const record of journal) {
      const entry = entryOf(record)
      if (entry.kind === 'entity') state.put(record.key ?? '', record.value)
      if (entry.kind !== 'checkpoint') continue
      const { flushSeq, stateDigest } = entry.message
      const where = `state.v1/${task}@${record.offset}`
      if (stateDigest.length === 0) {
        if (digestEvery > 0 && flushSeq % digestEvery === 0)
          complaints.push(`${where}: flush ${flushSeq} carries no hash of its state`)
        continue
      }
      if (state.digest().equals(stateDigest)) continue
      complaints.push(`${where}: flush ${flushSeq} was computed from another state than the log's`)
      // Every later one would say the same.
      break
    }
  }
  return complaints
}

/** Segments of the key → place in the hash: plans first, then plates, wells, sites. */
const ORDER: ReadonlyMap<number, number> = new Map([
  [3, 1],
  [5, 2],
  [6, 3],
])
/** Behind all of them, what is large of a step run. */
const LAST = 4

/** The hash is over keys and values, kind by kind, each in order of key; what goes on beside a record is of its kind. */
function rebuild(): { put(key: string, value: Buffer | null): void; digest(): Buffer } {
  const rank = (key: string): number => {
    const [entity = '', beside = ''] = key.split('#')
    if (beside.startsWith('plan')) return 0
    return beside.startsWith('run') ? LAST : (ORDER.get(entity.split('/').length) ?? LAST)
  }
  const kinds: Map<string, Buffer>[] = [new Map(), new Map(), new Map(), new Map(), new Map()]
  const sorted: ([string, Buffer][] | undefined)[] = []
  return {
    put(key, value) {
      const at = rank(key)
      if (value === null) kinds[at]?.delete(key)
      else kinds[at]?.set(key, value)
      sorted[at] = undefined
    },
    digest() {
      const hash = createHash('sha256')
      for (const [at, kind] of kinds.entries()) {
        const list = (sorted[at] ??= [...kind].toSorted(([a], [b]) => (a < b ? -1 : 1)))
        for (const [key, value] of list) hash.update(key).update('\n').update(value)
      }
      return hash.digest().subarray(0, 16)
    },
  }
}
