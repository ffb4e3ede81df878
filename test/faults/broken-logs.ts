// Stories of broken logs: the journal, its writers, its transactions.
import { RunState } from '#proto/wellspring/journal/v1/state_pb.ts'
import { at, flushAt, type Broken } from './broken.ts'
import type { Evidence } from './evidence.ts'
import { announcement, flush, own, plate, sites, summary } from './good.ts'

export const brokenLogs: readonly Broken[] = [
  {
    rule: 'W',
    how: 'a record that its batch counts was not seen by the Java client',
    says: /commands.v1\/0: 1 records are committed, the Java client saw 0/,
    evidence: (evidence) => ({
      ...evidence,
      committed: evidence.committed.filter(({ topic }) => topic !== 'commands.v1'),
    }),
  },
  {
    rule: 'W',
    how: 'batches of a partition are missing',
    says: /commands.v1\/0 ends at 1, its batches at 0/,
    evidence: (evidence) => ({
      ...evidence,
      batches: evidence.batches.filter(({ topic }) => topic !== 'commands.v1'),
    }),
  },
  {
    rule: 'W',
    how: 'a broker holds another batch than the others',
    says: /results.v1\/2: its copies differ at 7/,
    evidence: (evidence) => {
      const copiesDiffer = ['results.v1/2: its copies differ at 7']
      return { ...evidence, circumstances: { ...evidence.circumstances, copiesDiffer } }
    },
  },
  {
    rule: 'T1 I5',
    how: 'a flush is lost',
    says: /flush 4 follows flush 2/,
    story: (story) =>
      [at.LETTERS, at.SITE, at.GROUPS].forEach(
        (at, i) => (flushAt(story, at).forged = { flushSeq: 4 + i }),
      ),
  },
  {
    rule: 'T1 I5',
    how: 'an input is read again from an older offset',
    says: /images.v1 goes back from 4 to 2/,
    story: (story) => {
      flushAt(story, at.SITE).next = [2, 1]
    },
  },
  {
    rule: 'T2',
    how: 'the old owner commits after the barrier of the new one',
    says: /7\/2 wrote after the barrier of 7\/3/,
    story: (story) => void story.turns.splice(at.BARRIER + 1, 0, { ...flush(2, [0, 1], [], []) }),
    also: ['I6'],
  },
  {
    rule: 'T2',
    how: 'another producer id commits after the barrier',
    says: /8\/0 wrote after the barrier of 7\/3/,
    evidence: lastFlushByAnother,
  },
  {
    rule: 'T2',
    how: 'a task writes results to the partition of another task',
    says: /producer id 7 of task 0 wrote quality.v1\/1/,
    evidence: (evidence) => ({
      ...evidence,
      batches: [
        ...evidence.batches,
        ...evidence.batches
          .filter(({ topic }) => topic === 'plate-events.v1')
          .map((batch) => ({ ...batch, topic: 'quality.v1', partition: 1, records: 0 })),
      ],
    }),
  },
  {
    rule: 'T3 I7',
    how: 'a flush was computed from a state that the log does not have',
    says: /flush 3 was computed from another state/,
    story: (story) => {
      flushAt(story, at.LETTERS).forged = { stateDigest: new Uint8Array(16) }
    },
  },
  {
    rule: 'T3 I7',
    how: 'a checkpoint lacks the hash that was asked for',
    says: /flush 3 carries no hash/,
    story: (story) => {
      flushAt(story, at.LETTERS).forged = { stateDigest: new Uint8Array() }
    },
  },
  {
    rule: 'T3 I7',
    how: 'a checkpoint lacks the hash that was asked for with every second one',
    says: /^state.v1\/0@\d+: flush 2 carries no hash of its state$/,
    story: (story) => {
      flushAt(story, at.IMAGES).forged = { stateDigest: new Uint8Array() }
      flushAt(story, at.LETTERS).forged = { stateDigest: new Uint8Array() }
      story.circumstances = { ...story.circumstances, digestEvery: 2 }
    },
  },
  {
    rule: 'T4 I8',
    how: 'a checkpoint announces more than its flush put out',
    says: /flush 5 announces 6 records/,
    story: (story) => {
      flushAt(story, at.GROUPS).forged = { outputs: 6 }
    },
  },
  {
    rule: 'T4 I8',
    how: 'a checkpoint announces other bytes',
    says: /flush 5 announces 5 records with digest 0000/,
    story: (story) => {
      flushAt(story, at.GROUPS).forged = { outputsDigest: new Uint8Array(16) }
    },
  },
  {
    rule: 'T6 I11',
    how: 'a transaction hangs',
    says: /state.v1\/0: readers see up to/,
    story: (story) => void story.turns.push({ ...own(4), outcome: 'open' }),
  },
  {
    rule: 'T6 I11',
    how: 'an input was never read',
    says: /images.v1\/0@4 was never taken in/,
    story: (story) => void story.inputs.push(announcement('w1', 2_000_000)),
  },
  {
    rule: 'T6 I11',
    how: 'a run never ended',
    says: /w2\/echo-image is still under way/,
    story: (story) => {
      flushAt(story, at.GROUPS).state.push(...sites([RunState.DONE, RunState.RUNNING]))
    },
  },
  {
    rule: 'I6',
    how: 'an epoch goes back',
    says: /plate-events.v1\/0@1: producer id 7 goes back from epoch 3 to 1/,
    evidence: (evidence) => ({
      ...evidence,
      batches: evidence.batches.map((batch) =>
        batch.topic === 'plate-events.v1' && batch.control ? { ...batch, epoch: 1 } : batch,
      ),
    }),
  },
  {
    rule: 'T2',
    how: 'a fenced writer still writes, though it cannot commit',
    says: /7\/1 wrote after the barrier of 7\/3/,
    story: (story) => void story.turns.splice(at.GROUPS, 0, { ...own(1), outcome: 'abort' }),
    also: ['I6'],
  },
  {
    rule: 'I12',
    how: 'a transaction is too large',
    says: /state.v1\/0@\d+: a transaction of 2002 records/,
    story: (story) =>
      void flushAt(story, at.PLAN).state.push(
        ...Array.from({ length: 2_000 }, (): [string, null] => [plate, null]),
      ),
  },
  {
    rule: 'I12',
    how: 'a retired plate leaves more than its summary',
    says: /^E\/P\/a1 is retired, and state.v1 still holds E\/P\/a1#plan\n.*E\/P\/a1\/A01/s,
    story: (story) => void flushAt(story, at.GROUPS).state.push(summary()),
  },
  {
    rule: 'I12',
    how: 'a plate that should be retired is not',
    says: /E\/P\/a1 should be retired, and is not/,
    evidence: (evidence) => ({
      ...evidence,
      circumstances: { ...evidence.circumstances, retired: [plate] },
    }),
  },
]

/** The last flush, in every topic, under another producer id. */
function lastFlushByAnother(evidence: Evidence): Evidence {
  const { batches } = evidence
  const from = batches.findLastIndex(({ topic, control }) => topic === 'state.v1' && !control)
  return {
    ...evidence,
    batches: batches.map((batch, at) =>
      at < from ? batch : { ...batch, producerId: 8, epoch: 0 },
    ),
  }
}
