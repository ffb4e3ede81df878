// T6: when faults have stopped everything has come to rest: no transaction open, no input unread, no run under way.
import { RunState } from '#proto/wellspring/journal/v1/state_pb.ts'
import type { Evidence } from '../evidence.ts'
import { runsAtRest } from './attempts.ts'
import { entryOf, journals, placeOf } from './records.ts'
import { placeName, transactions } from './transactions.ts'

export function atRest(evidence: Evidence): string[] {
  return [...hanging(evidence), ...unread(evidence), ...underWay(evidence)]
}

function hanging(evidence: Evidence): string[] {
  const held = evidence.ends
    .filter(({ end, lastStable }) => lastStable !== end)
    .map((one) => `${placeName(one)}: readers see up to ${one.lastStable} of ${one.end}`)
  const open = transactions(evidence)
    .filter(({ outcome }) => outcome === 'open')
    .map(
      (one) =>
        `${placeName(one)}@${one.firstOffset}: ${one.producerId}/${one.epoch} left a transaction open`,
    )
  return [...held, ...open]
}

/** The last checkpoint of every task lies behind the last record of its inputs. */
function unread(evidence: Evidence): string[] {
  const next = new Map<string, number>()
  for (const [task, journal] of journals(evidence)) {
    const last = journal.findLast(({ key }) => key === '#ckpt')
    const entry = last && entryOf(last)
    if (entry?.kind !== 'checkpoint') continue
    for (const one of entry.message.next) next.set(`${one.topic}/${task}`, one.next)
  }
  const inputs = evidence.committed.filter(
    ({ topic }) => topic === 'images.v1' || topic === 'commands.v1',
  )
  return [...Map.groupBy(inputs, placeName)].flatMap(([place, records]) => {
    const last = records.at(-1)
    const at = next.get(place) ?? 0
    if (!last || last.offset < at) return []
    return [`${placeOf(last)} was never taken in: the last checkpoint of ${place} is at ${at}`]
  })
}

function underWay(evidence: Evidence): string[] {
  return runsAtRest(evidence)
    .filter(({ run }) => run.state === RunState.RUNNING || run.state === RunState.BACKOFF)
    .map(({ entity, step, run }) =>
      run.state === RunState.RUNNING
        ? `${entity}/${step} is still under way, attempt ${run.attempt}`
        : `${entity}/${step} still waits to be tried again, attempt ${run.attempt}`,
    )
}
