// Stories of trouble that comes in and stops more than itself: what was seen of a run that withstood it, and one thing
// of it spoilt at a time.
import { create, toBinary } from '@bufbuild/protobuf'
import { timestampFromMs } from '@bufbuild/protobuf/wkt'
import { PlateStateSchema, RunState } from '#proto/wellspring/journal/v1/state_pb.ts'
import { CommandSchema } from '#proto/wellspring/record/v1/input_pb.ts'
import { DeadLetterSchema } from '#proto/wellspring/record/v1/output_pb.ts'
import { at, flushAt, type Broken } from './broken.ts'
import type { Evidence, Incoming, Post, Sample } from './evidence.ts'
import { announcement, call, image, plate, refusal, written } from './good.ts'
import type { Story, Written } from './story.ts'

const mega = 1_048_576
const fromMs = 2_000_000
const LOOKS = 10
const EVERY_MS = 3_000

/** The record of the good story that cannot be read, as if nobody had opened it. */
const bomb = { topic: 'images.v1', partition: 0, offset: 3 } as const
/** One that was taken in. */
const odd = { topic: 'images.v1', partition: 0, offset: 0 } as const

const post: Post = {
  atMs: fromMs,
  name: 'c1',
  what: 'a gzip bomb',
  isHostile: true,
  status: 413,
  tookMs: 20,
  isThere: true,
}

const good: Incoming = {
  odd: [odd],
  bombs: [bomb],
  deletions: [],
  posts: [
    post,
    { ...post, status: undefined },
    { ...post, what: 'an honest span', isHostile: false, status: 200 },
    {
      ...post,
      what: 'a span to one that was killed',
      status: undefined,
      tookMs: 9_000,
      isThere: false,
    },
  ],
  starts: [{ atMs: fromMs, beside: 'a replica that is renumbered', problem: undefined }],
  ends: [1, 2, 3].map((n) => ({ atMs: fromMs + n, name: 'c1', how: 'exit code 1' })),
  spans: [{ fromMs, toMs: fromMs + 60_000, by: 'null-header' }],
  memory: {
    slots: [{ fromMs: fromMs + 30_001, toMs: fromMs + 60_000, by: 'bomb', ratioMax: 1.2 }],
  },
  spansRead: [{ topic: 'spans.v1', partition: 0, offset: 1 }],
}

/** A process that holds 100 MB, and 119 for a moment in the second span. */
function samples(peakMax = 119 * mega): Sample[] {
  return Array.from({ length: 2 * LOOKS }, (_, n) => ({
    atMs: fromMs + n * EVERY_MS,
    name: 'c1',
    pid: 7,
    rssBytes: 100 * mega,
    peakBytes: n === LOOKS + 5 ? peakMax : 100 * mega,
    handles: 33,
  }))
}

function withstood(change: Partial<Incoming>, looks = samples()): (evidence: Evidence) => Evidence {
  return (evidence) => ({
    ...evidence,
    committed: evidence.committed.filter(
      ({ topic, offset }) => topic !== bomb.topic || offset !== bomb.offset,
    ),
    circumstances: {
      ...evidence.circumstances,
      samples: looks,
      incoming: { ...good, ...change },
    },
  })
}

/** Nothing is wrong with this. */
export const goodIncoming = withstood({})

type Words = { readonly records?: number; readonly to?: number; readonly acceptedBy?: string }

/**
 * Instead of being set aside, the fourth record and the announcement of w4 behind it were deleted unread, and somebody
 * let them go.
 */
function loseTwo(story: Story, words: Words = {}): void {
  const { outputs } = flushAt(story, at.LETTERS)
  outputs.pop()
  story.inputs.push(announcement('w4', 1_000_150), acceptance(words))
  outputs.push(lossLetter(words))
  for (const turn of [at.LETTERS, at.SITE, at.GROUPS]) flushAt(story, turn).next = [5, 2]
  flushAt(story, at.GROUPS).state.push(markedPlate())
}

const lost = { topic: 'images.v1', partition: 0, from: 3, to: 5 } as const

function acceptance({ to = lost.to }: Words): Written {
  const command = create(CommandSchema, {
    author: 'somebody',
    action: { case: 'acceptLoss', value: { ...lost, to } },
  })
  const value = toBinary(CommandSchema, command)
  return written('commands.v1', 'E/P', CommandSchema.typeName, { value })
}

function lossLetter({ records = 2, to = lost.to, acceptedBy = 'somebody' }: Words): Written {
  const atTime = timestampFromMs(fromMs)
  const loss = { ...lost, to, records, acceptedBy, noticedAt: atTime, acceptedAt: atTime }
  const letter = create(DeadLetterSchema, { pipeline: 'echo-levels-1', loss })
  const value = toBinary(DeadLetterSchema, letter)
  return written('dead-letters.v1', 'loss', DeadLetterSchema.typeName, { value })
}

function markedPlate(): [string, Uint8Array] {
  const state = create(PlateStateSchema, {
    runs: [{ step: 3, state: RunState.DONE, generation: 1, attempt: 1 }],
    inputLoss: { records: 2, acceptedBy: 'somebody' },
  })
  return [plate, toBinary(PlateStateSchema, state)]
}

const deleted: Partial<Incoming> = {
  bombs: [],
  deletions: [{ topic: 'images.v1', partition: 0, to: 5, atMs: fromMs }],
}

/** A run that lost something, and says so. */
export const goodLoss = {
  story: loseTwo,
  evidence: (evidence: Evidence): Evidence => ({
    ...withstood(deleted)(evidence),
    committed: evidence.committed,
  }),
} as const

export const brokenIncoming: readonly Broken[] = [
  {
    rule: 'H1',
    how: 'what must not be opened is dropped',
    says: /images.v1\/0@3 must not be opened, and has 0 dead letters/,
    story: (story) => void flushAt(story, at.LETTERS).outputs.pop(),
    evidence: goodIncoming,
    also: ['I1'],
  },
  {
    rule: 'H1',
    how: 'an odd record is set aside twice',
    says: /images.v1\/0@0 is odd, and has 2 dead letters/,
    story: (story) => void flushAt(story, at.LETTERS).outputs.push(refusal(0), refusal(0)),
    evidence: goodIncoming,
    also: ['I1', 'I2'],
  },
  {
    rule: 'H1',
    how: 'an odd record is passed over',
    says: /images.v1\/0@3 is no image, and was never set aside/,
    story: (story) => void flushAt(story, at.LETTERS).outputs.pop(),
    evidence: (evidence) => ({
      ...goodIncoming(evidence),
      committed: evidence.committed,
      circumstances: {
        ...evidence.circumstances,
        incoming: { ...good, bombs: [], odd: [bomb] },
      },
    }),
  },
  {
    rule: 'H1',
    how: 'an odd image never arrives',
    says: /images.v1\/0@0 is odd: it was neither taken in as E\/P\/a1\/A01\/t0\/s1\/z0\/w1 nor set aside/,
    story: (story) => {
      flushAt(story, at.IMAGES).outputs.shift()
      story.calls.shift()
    },
    evidence: goodIncoming,
    also: ['T5', 'I2', 'I4'],
  },
  {
    rule: 'H1',
    how: 'the reader of spans stops at an odd one',
    says: /spans.v1\/0@1 is odd: the reader of spans stands at 1/,
    evidence: withstood({ odd: [{ topic: 'spans.v1', partition: 0, offset: 1 }] }),
  },
  {
    rule: 'H2',
    how: 'a process ends a fourth time over one record',
    says: /c1 ended 4 times over null-header at 2000000: exit code 1/,
    evidence: withstood({
      ends: [...good.ends, { atMs: fromMs + 59_999, name: 'c1', how: 'SIGABRT' }],
    }),
  },
  {
    rule: 'H3',
    how: 'a replica that does not fit stops a start',
    says: /no start beside a replica that is renumbered at 2000000: it ended \(exit code 1\)/,
    evidence: withstood({
      starts: good.starts.map((one) => ({ ...one, problem: 'it ended (exit code 1)' })),
    }),
  },
  {
    rule: 'H3',
    how: 'a replica that does not fit is called',
    says: /w1\/echo-image was called at 2000000 where it does not fit/,
    story: (story) =>
      void story.calls.push({
        ...call(image('w1'), 'echo-image', fromMs),
        outcome: 'odd',
        pid: 0,
      }),
    evidence: goodIncoming,
  },
  {
    rule: 'H4',
    how: 'a hostile post is to be repeated',
    says: /^c1 at 2000000: a gzip bomb was answered 503$/,
    evidence: withstood({ posts: [{ ...post, status: 503 }] }),
  },
  {
    rule: 'H4',
    how: 'a hostile post is taken',
    says: /^c1 at 2000000: a gzip bomb was answered 200$/,
    evidence: withstood({ posts: [{ ...post, status: 200 }] }),
  },
  {
    rule: 'H4',
    how: 'a hostile post keeps the process busy',
    says: /^c1 at 2000000: a gzip bomb took 5001 ms$/,
    evidence: withstood({ posts: [{ ...post, tookMs: 5_001 }] }),
  },
  {
    rule: 'H4',
    how: 'an honest post is not taken',
    says: /^c1 at 2000000: an honest span was answered by nothing$/,
    evidence: withstood({
      posts: [{ ...post, what: 'an honest span', isHostile: false, status: undefined }],
    }),
  },
  {
    rule: 'H5',
    how: 'what was lost is told nowhere',
    says: /images.v1\/0 3 to 5 was lost, and is told of 0 times/,
    story: (story) => {
      loseTwo(story)
      flushAt(story, at.LETTERS).outputs.pop()
    },
    evidence: goodLoss.evidence,
  },
  {
    rule: 'H5',
    how: 'what was lost is counted wrong',
    says: /images.v1\/0 3 to 5 are 2 records, not 3/,
    story: (story) => loseTwo(story, { records: 3 }),
    evidence: goodLoss.evidence,
  },
  {
    rule: 'H5',
    how: 'something is told to be lost that is there',
    says: /images.v1\/0 3 to 6 is not lost/,
    story: (story) => {
      loseTwo(story)
      flushAt(story, at.LETTERS).outputs.push({ ...lossLetter({ to: 6 }), key: 'another' })
    },
    evidence: goodLoss.evidence,
  },
  {
    rule: 'H5',
    how: 'a task goes on and nobody has said so',
    says: /goes on behind images.v1\/0 3 to 5, which nobody accepted/,
    story: (story) => {
      loseTwo(story)
      story.inputs.pop()
      for (const turn of [at.LETTERS, at.SITE, at.GROUPS]) flushAt(story, turn).next = [5, 1]
    },
    evidence: goodLoss.evidence,
  },
  {
    rule: 'H5',
    how: 'a task goes on before somebody has said so',
    says: /goes on behind images.v1\/0 3 to 5 before that was accepted/,
    story: (story) => {
      loseTwo(story)
      story.inputs.push({ ...acceptance({}), atMs: 9_000_000 })
      story.inputs.splice(-2, 1)
    },
    evidence: goodLoss.evidence,
  },
  {
    rule: 'H5',
    how: 'another loss was accepted than there is',
    says: /goes on behind images.v1\/0 3 to 5, which nobody accepted/,
    story: (story) => {
      loseTwo(story)
      story.inputs.splice(-1, 1, acceptance({ to: 6 }))
    },
    evidence: goodLoss.evidence,
  },
  {
    rule: 'H5',
    how: 'nobody is named who accepted a loss',
    says: /images.v1\/0 3 to 5 was accepted by nobody, or at no time/,
    story: (story) => loseTwo(story, { acceptedBy: '' }),
    evidence: goodLoss.evidence,
  },
  {
    rule: 'H5',
    how: 'a plate does not say that it may have lost something',
    says: /E\/P\/a1 lacks E\/P\/a1\/A01\/t0\/s1\/z0\/w4, which was lost, and does not say so/,
    story: (story) => {
      loseTwo(story)
      flushAt(story, at.GROUPS).state.pop()
    },
    evidence: goodLoss.evidence,
  },
  {
    rule: 'H6',
    how: 'memory follows what others claim',
    says: /c1 holds up to 126877696 bytes under bomb and 104857600 before it: 1.21 times as much; 1.2 are allowed/,
    evidence: withstood({}, samples(121 * mega)),
  },
]
