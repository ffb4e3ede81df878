import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { timestampFromMs } from '@bufbuild/protobuf/wkt'
import { ErrorClass } from '#proto/wellspring/contract/v1/errors_pb.ts'
import { Level } from '#proto/wellspring/contract/v1/options_pb.ts'
import { ExplainResponseSchema } from '#proto/wellspring/control/v1/control_pb.ts'
import { Verdict } from '#proto/wellspring/record/v1/output_pb.ts'
import { explainText, quoted } from '../../cli/why.ts'

const LOOK = { colour: false, utf8: true } as const
const failure = {
  class: ErrorClass.POISON,
  reason: 'TRUNCATED',
  message: 'strip 3 ends early',
  hint: 'copy the file again, then redrive',
}

test('a parked image: one screen with times, attempts, cause, hint, trace and next', () => {
  const known = create(ExplainResponseSchema, {
    entity: 'E/P1/a1/B07/t0/s2/z0/w1',
    level: Level.IMAGE,
    state: 'PARKED',
    traceId: '4bf92f3577b34da6a3ce929d0e0e4736',
    uri: 'file:///data/a.tif',
    time: { wallMs: 12_300, workMs: 3_000, queueMs: 300, backoffMs: 9_000, siblingsMs: 0 },
    next: 'nothing by itself',
    notes: ['its site lists it as a hole'],
    from: timestampFromMs(0),
    runs: [
      {
        step: 'image-quality',
        state: 'PARKED',
        generation: 1,
        failure,
        attempts: [
          { number: 1, workMs: 1_000, queueMs: 300, replica: '127.0.0.1:7001', failure },
          { number: 2, workMs: 2_000 },
        ],
      },
    ],
  })
  assert.deepEqual(explainText(known, LOOK).split('\n'), [
    'E/P1/a1/B07/t0/s2/z0/w1  ✗ PARKED  image',
    '  file   file:///data/a.tif',
    '  since  1970-01-01T00:00:00.000Z',
    '  time   12.3 s = work 3.00 s + queue 0.30 s + back-off 9.00 s + siblings 0.00 s',
    '  ✗ image-quality      PARKED   2 attempts',
    '      1  work 1.00 s  queue 0.30 s  at 127.0.0.1:7001  POISON TRUNCATED',
    '      2  work 2.00 s  queue 0.00 s',
    '      cause  POISON TRUNCATED: strip 3 ends early',
    '      hint   copy the file again, then redrive',
    '  note   its site lists it as a hole',
    '  trace  4bf92f3577b34da6a3ce929d0e0e4736',
    '  next   nothing by itself',
    '         npx wellspring redrive E/P1/a1/B07/t0/s2/z0/w1 --where step=image-quality --dry-run',
  ])
})

test('attempts that are not listed are counted, and those that were put off are one line', () => {
  const busy = { class: ErrorClass.OVERLOADED, reason: 'BUSY', message: 'full', hint: '' }
  const known = create(ExplainResponseSchema, {
    entity: 'E/P1/a1',
    state: 'BACKOFF',
    runs: [
      {
        step: 'x',
        state: 'BACKOFF',
        attemptsLeftOut: 4,
        attempts: [
          { number: 5, workMs: 1_000, failure },
          {
            number: 6,
            times: 780,
            askedAt: timestampFromMs(0),
            endedAt: timestampFromMs(780_000),
            workMs: 5,
            replica: 'r:1',
            failure: busy,
          },
        ],
        failure: busy,
      },
    ],
  })
  assert.deepEqual(explainText(known, LOOK).split('\n').slice(1, 5), [
    '  ↻ x                  BACKOFF  6 attempts',
    '      … 4 before these',
    '      5  work 1.00 s  queue 0.00 s    POISON TRUNCATED',
    '      6  put off 780 times in 13 min, last 1970-01-01T00:13:00.000Z  at r:1  OVERLOADED BUSY',
  ])
})

test('parts that do not sum to the wall time are told, not hidden', () => {
  const known = create(ExplainResponseSchema, {
    entity: 'E/P1/a1',
    state: 'OPEN',
    time: { wallMs: 1_000, workMs: 400, queueMs: 100, backoffMs: 0, siblingsMs: 0 },
  })
  assert.match(explainText(known, LOOK), /1\.00 s = work 0\.40 s .* \+ other 0\.50 s/)
})

test('a finished step shows its verdict, revision and generation', () => {
  const known = create(ExplainResponseSchema, {
    entity: 'E/P1/a1',
    state: 'DONE',
    runs: [{ step: 'x', state: 'DONE', revision: 2, generation: 3, verdict: Verdict.WARN }],
  })
  assert.match(explainText(known, LOOK), /✓ x +DONE +revision 2 {2}generation 3 {2}WARN/)
})

test('what a person may paste is safe in a shell', () => {
  assert.equal(quoted('E/P%201/a1'), 'E/P%201/a1')
  assert.equal(quoted("it's"), String.raw`'it'\''s'`)
  assert.equal(quoted('a b; rm'), `'a b; rm'`)
})
