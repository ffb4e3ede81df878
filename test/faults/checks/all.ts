// The invariants of coordinator/INVARIANTS.md (T, I), and what becomes of trouble that comes in (H), each with its
// judge. W: the evidence can be judged at all.
import type { Evidence } from '../evidence.ts'
import { setAside } from './aside.ts'
import { attempts } from './attempts.ts'
import { bounded } from './bounds.ts'
import { allEnded, exactlyOnce } from './ends.ts'
import { inputs } from './inputs.ts'
import { epochs, flushOrder, onlyTheOwner, rebuilt } from './journal.ts'
import { keys } from './keys.ts'
import { lossesNamed } from './loss.ts'
import { calmLatencies, neighbours } from './neighbours.ts'
import { announced } from './outputs.ts'
import { noPhantom } from './phantom.ts'
import { atRest } from './rest.ts'
import { endings, memory, memoryFigures, oddReplicas, ports } from './survival.ts'
import { waitingData } from './waiting.ts'
import { whole } from './whole.ts'

export type Invariant = {
  readonly name: string
  readonly title: string
  /** What breaks it, and where; empty: nothing does. */
  readonly check: (evidence: Evidence) => string[]
  /** Whether the evidence says anything about it; default: it does. */
  readonly isSaid?: (evidence: Evidence) => boolean
}

const isWhole = ({ circumstances }: Evidence): boolean => !circumstances.isCompacted

export const invariants: readonly Invariant[] = [
  { name: 'W', title: 'the evidence is whole', check: whole },
  {
    name: 'T1 I5',
    title: 'flushes count without gap, offsets never go back',
    check: flushOrder,
    isSaid: isWhole,
  },
  { name: 'T2', title: 'only the owner of a task writes', check: onlyTheOwner, isSaid: isWhole },
  {
    name: 'T3 I7',
    title: 'every flush follows from the flushes before it',
    check: rebuilt,
    isSaid: isWhole,
  },
  {
    name: 'T4 I8',
    title: 'a flush put out what its checkpoint announces',
    check: announced,
    isSaid: isWhole,
  },
  { name: 'T5', title: 'everything planned has ended', check: allEnded },
  { name: 'T6 I11', title: 'all is at rest, no transaction hangs', check: atRest },
  { name: 'I1', title: 'nothing is there twice', check: exactlyOnce },
  { name: 'I2', title: 'no result from nowhere', check: noPhantom },
  { name: 'I3', title: 'one key per effect, one execution at a time', check: keys },
  { name: 'I4', title: 'a fan-in lists exactly the committed inputs', check: inputs },
  { name: 'I6', title: 'epochs never go back', check: epochs },
  { name: 'I9', title: 'attempts keep the policy, what is parked is told', check: attempts },
  {
    name: 'I10',
    title: 'no close leaves out data that waited',
    check: waitingData,
    isSaid: isWhole,
  },
  { name: 'I12', title: 'what is open stays bounded', check: bounded },
  {
    name: 'I13',
    title: 'plates do not disturb each other',
    check: neighbours,
    isSaid: (evidence) => calmLatencies(evidence).length > 0,
  },
  {
    name: 'H1',
    title: 'whatever comes in is taken in or set aside, once',
    check: setAside,
    isSaid: ({ circumstances: { incoming } }) =>
      (incoming?.odd.length ?? 0) + (incoming?.bombs.length ?? 0) > 0,
  },
  {
    name: 'H2',
    title: 'no process ends more than three times over one',
    check: endings,
    isSaid: ({ circumstances: { incoming } }) => (incoming?.spans.length ?? 0) > 0,
  },
  {
    name: 'H3',
    title: 'what does not fit is not called, and stops no start',
    check: oddReplicas,
    isSaid: ({ circumstances: { incoming } }) => (incoming?.starts.length ?? 0) > 0,
  },
  {
    name: 'H4',
    title: 'a port refuses what is hostile, takes what is honest',
    check: ports,
    isSaid: ({ circumstances: { incoming } }) => (incoming?.posts.length ?? 0) > 0,
  },
  {
    name: 'H5',
    title: 'what was deleted unread is counted, named, accepted',
    check: lossesNamed,
    isSaid: ({ circumstances: { incoming } }) => (incoming?.deletions.length ?? 0) > 0,
  },
  {
    name: 'H6',
    title: 'memory does not follow what others claim',
    check: memory,
    isSaid: (evidence) => memoryFigures(evidence).length > 0,
  },
]

/** Complaints by invariant, in the order above; none for one that holds, no entry for one that nothing is said about. */
export function judgeAll(evidence: Evidence): ReadonlyMap<string, readonly string[]> {
  return new Map(
    invariants.flatMap(({ name, check, isSaid }) =>
      isSaid && !isSaid(evidence) ? [] : [[name, check(evidence)] as const],
    ),
  )
}
