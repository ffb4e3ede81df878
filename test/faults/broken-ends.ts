// Stories of broken ends: results, dead letters, holes, calls.
import { ClosedBy } from '#proto/wellspring/record/v1/output_pb.ts'
import { RunState } from '#proto/wellspring/journal/v1/state_pb.ts'
import { at, flushAt, type Broken } from './broken.ts'
import type { CallLine } from './evidence.ts'
import type { Story, Written } from './story.ts'
import {
  announcement,
  badHole,
  call,
  closed,
  deadLetter,
  image,
  keyOf,
  plate,
  plateEvent,
  refusal,
  resultOf,
  site,
  sites,
  well,
} from './good.ts'

export const brokenEnds: readonly Broken[] = [
  {
    rule: 'T5',
    how: 'an image has no end',
    says: /w4\/echo-image has no result, no dead letter/,
    story: (story) =>
      replace(
        flushAt(story, at.SITE).outputs,
        0,
        closed(site, { closedBy: ClosedBy.DEADLINE, holes: [badHole] }),
      ),
  },
  {
    rule: 'T5',
    how: 'a run has a result and a dead letter',
    says: /w3\/echo-image has a result and a dead letter/,
    story: (story) => {
      flushAt(story, at.LETTERS).outputs.push(resultOf(image('w3'), 'echo-image'))
      story.calls.push(call(image('w3'), 'echo-image', 0))
    },
  },
  {
    rule: 'T5',
    how: 'more members have no end than a close leaves out unnamed',
    says: /s1: 2 members have no end; its close leaves out 1/,
    story: (story) => {
      const close = closed(site, { closedBy: ClosedBy.DEADLINE, holesLeftOut: 1 })
      replace(flushAt(story, at.SITE).outputs, 0, close)
      flushAt(story, at.LETTERS).outputs.shift()
      flushAt(story, at.LETTERS).state = sites([RunState.DONE, RunState.DONE, RunState.DONE])
    },
  },
  {
    rule: 'I1',
    how: 'a result is there twice',
    says: /w1\/echo-image@echo-levels-1#1 is at .* and again at/,
    story: (story) =>
      void flushAt(story, at.SITE).outputs.push(resultOf(image('w1'), 'echo-image')),
  },
  {
    rule: 'I1',
    how: 'a revision is left out',
    says: /has revision 3 after 1/,
    story: (story) =>
      void flushAt(story, at.GROUPS).outputs.push(closed(plate, { revision: 3 }), plateEvent(3)),
  },
  {
    rule: 'I1',
    how: 'nobody is told that a plate closed',
    says: /no plate event tells of close 1/,
    story: (story) => void flushAt(story, at.GROUPS).outputs.pop(),
  },
  {
    rule: 'I1',
    how: 'an unreadable input is dropped',
    says: /images.v1\/0@3 cannot be taken in, and has 0 dead letters/,
    story: (story) => void flushAt(story, at.LETTERS).outputs.pop(),
  },
  {
    rule: 'I1',
    how: 'a good image is refused',
    says: /images.v1\/0@4 is .*w1, a good image, and was refused/,
    story: (story) => {
      announceLate(story, 1_005_000, 5)
      story.inputs[5] = announcement('w1', 1_005_000)
      flushAt(story, at.LETTERS).outputs.push(refusal(4))
    },
  },
  {
    rule: 'I2',
    how: 'no execution gave a result',
    says: /no execution of [0-9a-f]{32} gave it/,
    story: (story) => void story.calls.shift(),
  },
  {
    rule: 'I2',
    how: 'a result is not what its inputs give',
    says: /A01\/t0\/echo-well#1 .* has digest ff, its inputs give [0-9a-f]{64}/,
    story: (story) => {
      const words = { digest: 'ff', inputs: ['s1/echo-site#1'] }
      replace(flushAt(story, at.GROUPS).outputs, 1, resultOf(well, 'echo-well', words))
    },
  },
  {
    rule: 'I2',
    how: 'a result that nobody planned',
    says: /nobody planned E\/P\/a1\/B09/,
    story: (story) => {
      const stray = image('w1').replace('A01', 'B09')
      flushAt(story, at.IMAGES).outputs.push(resultOf(stray, 'echo-image'))
      story.calls.push(call(stray, 'echo-image', 0))
    },
  },
  {
    rule: 'I3',
    how: 'two keys for one effect',
    says: /w1\/echo-image g1 of .* has [0-9a-f]{32} and [0-9a-f]{32}/,
    story: (story) => {
      const words = { revision: 2, idempotencyKey: keyOf('other', '') }
      flushAt(story, at.IMAGES).outputs.push(resultOf(image('w1'), 'echo-image', words))
      story.calls.push({ ...first(story), key: keyOf('other', '') })
    },
  },
  {
    rule: 'I3',
    how: 'two executions of one key at a time in one process',
    says: /process 1 executed [0-9a-f]{32} from/,
    story: (story) =>
      void story.calls.push({ ...first(story), start: first(story).start + 1, outcome: 'aborted' }),
  },
  {
    rule: 'I3',
    how: 'an effect that must not happen twice did',
    says: /the effect [0-9a-f]{32} happened 2 times/,
    story: (story) => void story.calls.push({ ...first(story), start: 0, end: 1 }),
    evidence: (evidence) => ({
      ...evidence,
      pipeline: {
        ...evidence.pipeline,
        steps: evidence.pipeline.steps.map((step) => ({ ...step, isNotIdempotent: true })),
      },
    }),
  },
  {
    rule: 'I4',
    how: 'a fan-in leaves out a member that is done',
    says: /s1\/echo-site#1 leaves out .*w2, which is committed/,
    story: (story) =>
      replace(
        flushAt(story, at.SITE).outputs,
        1,
        resultOf(site, 'echo-site', { inputs: ['z0/w1/echo-image#1'] }),
      ),
    also: ['I2'],
  },
  {
    rule: 'I4',
    how: 'a fan-in lists an input that is committed behind it',
    says: /lists s1\/echo-site#1, committed behind it/,
    story: (story) => {
      const late = flushAt(story, at.SITE).outputs.splice(1, 1)
      flushAt(story, at.GROUPS).outputs.push(...late)
    },
  },
  {
    rule: 'I9',
    how: 'more attempts than the contract allows',
    says: /w3\/echo-image: 6 attempts, the contract allows 5/,
    story: (story) => replace(flushAt(story, at.LETTERS).outputs, 0, deadLetter(6)),
  },
  {
    rule: 'I9',
    how: 'a generation is parked twice',
    says: /w3\/echo-image g1 is in the dead letters more than once/,
    story: (story) => void flushAt(story, at.LETTERS).outputs.push(deadLetter(1, ' again')),
  },
  {
    rule: 'I9',
    how: 'a parked run has no dead letter',
    says: /w4\/echo-image g1 is parked, and in no dead letter/,
    story: (story) => {
      const { DONE, PARKED } = RunState
      flushAt(story, at.GROUPS).state.push(...sites([DONE, DONE, PARKED, PARKED]))
    },
  },
  {
    rule: 'I10',
    how: 'a close leaves out an image that was read before',
    says: /closed without .*w4, which had been read before/,
    story: (story) => announceLate(story, 1_000_150, 5),
  },
  {
    rule: 'I10',
    how: 'a close leaves out an image that waited in the topic',
    says: /closed without .*w4, which waited in the topic when the deadline fell due/,
    story: (story) => announceLate(story, 1_005_000, 4),
  },
]

/** w4 was announced after all; checkpoints up to the site's close have read up to `next`. */
function announceLate(story: Story, atMs: number, next: number): void {
  story.inputs.push(announcement('w4', atMs))
  flushAt(story, at.LETTERS).next = [next, 1]
  flushAt(story, at.SITE).next = [next, 1]
  flushAt(story, at.GROUPS).next = [5, 1]
}

const replace = (list: Written[], index: number, by: Written): void =>
  void list.splice(index, 1, by)
const first = (story: Story): CallLine => story.calls[0] ?? call(plate, 'none', 0)
