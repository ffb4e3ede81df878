// The largest entity that the contracts admit fits into records, and so does everything that is said of it. What does not
// fit is refused by name, with the numbers and the way out. The sizes printed are those of coordinator/README.md.
import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { create, equals, fromBinary, toBinary } from '@bufbuild/protobuf'
import { ErrorClass } from '#proto/wellspring/contract/v1/errors_pb.ts'
import { Level } from '#proto/wellspring/contract/v1/options_pb.ts'
import { StepRunSchema } from '#proto/wellspring/journal/v1/state_pb.ts'
import { PlatePlanSchema } from '#proto/wellspring/lab/v1/plan_pb.ts'
import { DeadLetterSchema, Verdict } from '#proto/wellspring/record/v1/output_pb.ts'
import { EchoImageResponseSchema, EchoService } from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import { loadPipeline } from '../../coordinator/core/pipeline/check.ts'
import { wellAt } from '@wellspring/lab/wells.ts'
import {
  each,
  identity,
  image,
  out,
  step,
  type PipelineSpec,
  type StepSpec,
} from '../../coordinator/core/pipeline/pipeline.ts'
import { explain } from '../../coordinator/core/view/explain.ts'
import { qualityRecord } from '../../coordinator/core/records.ts'
import {
  PLATE,
  RECORD_BYTES_MAX,
  longId,
  openLarge,
  patient,
  planOf,
  wide,
  type Large,
} from './large.ts'

const { echoImage, echoSite, echoWell, echoPlate } = EchoService.method
const ATTEMPTS = 12
const STEPS_PER_LEVEL = 16
const OUTPUT_BYTES = 49_152
const UINT32_MAX = 4_294_967_295
const IMAGE = `${PLATE}/A01/t${UINT32_MAX}/s${UINT32_MAX}/z${UINT32_MAX}/${longId('c')}`

const named = (level: string, at: number): string => `${level}-${at}-`.padEnd(64, 'x')

/** So many steps at each level, each of which reads what a step below gave. */
function deep(perLevel: number): PipelineSpec {
  const many = (make: (at: number) => StepSpec): StepSpec[] =>
    Array.from({ length: perLevel }, (_, at) => make(at))
  const first = step(named('image', 0), echoImage, { image: image.artifact })
  const site = step(named('site', 0), echoSite, {
    members: each({ name: identity.channel, digest: out(first, 'digest') }),
  })
  const well = step(named('well', 0), echoWell, {
    members: each({ name: identity.well, digest: out(site, 'digest') }),
  })
  return {
    name: 'p'.repeat(64),
    version: 1,
    steps: [
      ...many((at) => ({ ...first, name: named('image', at) })),
      ...many((at) => ({ ...site, name: named('site', at) })),
      ...many((at) => ({ ...well, name: named('well', at) })),
      ...many((at) => ({
        ...step(named('plate', at), echoPlate, {
          members: each({ name: identity.well, digest: out(well, 'digest') }),
        }),
        name: named('plate', at),
      })),
    ],
    bands: { name: 'b'.repeat(64), version: 1, rules: [] },
  }
}

/** A response of exactly so many bytes. */
function responseOf(bytes: number): Uint8Array {
  const message = (chars: number): Uint8Array =>
    toBinary(
      EchoImageResponseSchema,
      create(EchoImageResponseSchema, { digest: 'd'.repeat(chars) }),
    )
  return message(bytes - (message(bytes).length - bytes))
}

/** Twelve attempts that fail for four reasons in turn, after each of which it is put off some times. */
function failLong(large: Large, between: () => void = () => {}): void {
  for (let attempt = 1; attempt < ATTEMPTS; attempt += 1) {
    for (let times = 0; times < 3; times += 1) large.fail('BUSY', ErrorClass.OVERLOADED)
    large.fail(`REASON_${attempt % 4}`, ErrorClass.RETRYABLE)
    between()
  }
}

function tell(t: TestContext, { sizes }: Large): void {
  for (const [topic, { bytes, key }] of sizes)
    t.diagnostic(
      `${topic}: ${bytes} bytes (${key.replace(PLATE, '…').replace(/x{9,}/g, '…').slice(-60)})`,
    )
}

test('384 images of a site with the longest names, after twelve attempts each', (t) => {
  const large = openLarge(patient(loadPipeline(deep(1)), ATTEMPTS))
  const channels = Array.from({ length: 3 }, (_, at) => `${at}`.padEnd(192, 'c'))
  const zPlanes = Array.from({ length: 128 }, (_, at) => UINT32_MAX - at)
  large.command({ case: 'plan', value: planOf({ wells: [{ well: 'AF48' }], zPlanes, channels }) })
  const site = `${PLATE}/AF48/t${UINT32_MAX}/s${UINT32_MAX}`
  for (const z of zPlanes) {
    for (const channel of channels) large.announce(`${site}/z${z}/${channel}`)
    large.flush()
  }
  assert.equal(large.calls.length, 384)
  failLong(large, () => void large.flush())
  large.takeOver()
  large.answerAll(responseOf(OUTPUT_BYTES))
  large.flush()
  failLong(large)
  large.answerAll(responseOf(OUTPUT_BYTES))
  large.flush()
  large.takeOver()
  const plate = large.task().plates.get(PLATE)
  assert.deepEqual([plate?.done, plate?.close?.completed], [384, true])
  const [first] = large.task().sites.get(site)?.images ?? []
  const [run] = first?.runs ?? []
  assert.deepEqual(
    [run?.attempts.length, run?.trouble?.failures.length, run?.payloadApart],
    [8, 3, true],
  )
  assert.equal(run?.attempt, ATTEMPTS)
  tell(t, large)
})

test('sixteen steps at every level, each with all that a run may hold', (t) => {
  const large = openLarge(patient(loadPipeline(deep(STEPS_PER_LEVEL)), ATTEMPTS))
  large.command({ case: 'plan', value: planOf({ wells: [{ well: 'AF48' }] }) })
  const well = `${PLATE}/AF48/t${UINT32_MAX}`
  large.announce(`${well}/s${UINT32_MAX}/z${UINT32_MAX}/${longId('c')}`)
  for (let level = 0; level < 4; level += 1) {
    failLong(large, () => void large.flush())
    large.takeOver()
    large.answerNow(responseOf(OUTPUT_BYTES))
    large.flush()
  }
  const plate = large.task().plates.get(PLATE)
  assert.equal(plate?.close?.completed, true)
  for (const { attempts, trouble } of plate.runs)
    assert.deepEqual([attempts.length, trouble?.failures.length], [8, 3])
  const about = explain(large.task(), PLATE, 1_800_000_000_000)
  const [first] = about?.runs ?? []
  const putOff = first?.attempts.find(({ times }) => times > 0)
  assert.deepEqual([putOff?.times, putOff?.failure?.class], [3, ErrorClass.OVERLOADED])
  assert.equal((first?.attempts.length ?? 0) + (first?.attemptsLeftOut ?? 0), 2 * ATTEMPTS - 1)
  tell(t, large)
})

test('a plan of 1,536 wells with treatments of 256 wide characters and sites of their own', (t) => {
  const large = openLarge(loadPipeline(deep(1)))
  const wells = Array.from({ length: 1_536 }, (_, at) => ({
    well: wellAt(1 + Math.floor(at / 48), 1 + (at % 48)),
    treatment: wide.repeat(256),
    sites: Array.from({ length: 256 }, (__, site) => UINT32_MAX - site),
  }))
  const channels = Array.from({ length: 24 }, (_, at) => `${at}`.padEnd(192, 'c'))
  const plan = planOf({ wells, channels })
  large.command({ case: 'plan', value: plan })
  const records = large.flush().filter(({ key }) => key.includes('#plan'))
  assert.ok(records.length > 20, `${records.length} records`)
  large.command({ case: 'plan', value: plan })
  large.takeOver()
  assert.ok(equals(PlatePlanSchema, large.task().plans.get(PLATE) ?? create(PlatePlanSchema), plan))
  large.command({ case: 'plan', value: plan })
  large.flush()
  assert.deepEqual(large.letters, [], 'the same plan again is nothing')
  tell(t, large)
})

test('a plate of nearly 100,000 wells over time, of which one comes, and then its operator closes it', (t) => {
  const large = openLarge(patient(loadPipeline(deep(STEPS_PER_LEVEL)), ATTEMPTS))
  const wells = Array.from({ length: 97 }, (_, at) => ({
    well: wellAt(1 + Math.floor(at / 48), 1 + (at % 48)),
  }))
  const timePoints = Array.from({ length: 1_024 }, (_, at) => UINT32_MAX - at)
  large.command({ case: 'plan', value: planOf({ wells, timePoints }) })
  large.announce(IMAGE)
  large.answerAll(responseOf(100))
  const close = {
    case: 'close' as const,
    value: { $typeName: 'wellspring.record.v1.ClosePlate' as const, entity: PLATE },
  }
  large.command(close)
  for (let turn = 0; turn < 20 && large.calls.length === 0; turn += 1) large.fire()
  assert.equal(large.calls.length, STEPS_PER_LEVEL)
  failLong(large, () => void large.flush())
  // Commands wait for one another, and a stop has room beside all that.
  large.command(close)
  for (const name of ['a', 'b', 'c', 'd', 'e']) {
    const value = {
      $typeName: 'wellspring.record.v1.Redrive' as const,
      entity: PLATE,
      step: name.repeat(64),
    }
    large.command({ case: 'redrive', value })
  }
  large.happen({
    kind: 'stop',
    plate: PLATE,
    reason: wide.repeat(1_000),
    message: wide.repeat(10_000),
  })
  large.flush()
  assert.equal(large.task().plates.get(PLATE)?.members.length, 99_328)
  large.takeOver()
  tell(t, large)
})

test('dead letters of what cannot be taken in', (t) => {
  const large = openLarge(loadPipeline(deep(1)))
  large.command({ case: 'plan', value: planOf({ wells: [{ well: 'A01' }] }) })
  const far = wide.repeat(256)
  for (const [entity, name] of [
    [far, 's'.repeat(64)],
    [PLATE.replace('a', 'b'), ''],
  ] as const)
    large.command({
      case: 'redrive',
      value: { $typeName: 'wellspring.record.v1.Redrive', entity, step: name },
    })
  const bytes = Buffer.alloc(1_000_000, 1)
  const at = { topic: 'images.v1', partition: 7, offset: 2 ** 52, key: wide.repeat(100_000) }
  const said = { reason: wide.repeat(500), message: wide.repeat(50_000) }
  large.happen({ kind: 'unreadable', ...said, at, bytes })
  large.flush()
  assert.equal(large.letters.length, 3)
  const last = large.letters.at(-1)?.value
  assert.ok(last)
  const { failure, origin } = fromBinary(DeadLetterSchema, last)
  assert.deepEqual(
    [failure?.reason, failure?.message, origin?.key].map((text) => Buffer.byteLength(text ?? '')),
    [63, 1_023, 511],
  )
  tell(t, large)
})

test('every finding of a verdict', (t) => {
  const pipeline = loadPipeline(deep(1))
  const [judged] = pipeline.steps
  assert.ok(judged)
  const finding = {
    rule: 'r'.repeat(64),
    metric: 'm'.repeat(128),
    value: -Math.PI,
    band: `${-Math.PI / 1e300} .. ${-Math.PI / 1e300}`,
    verdict: Verdict.NOT_EVALUATED,
  }
  const { key, value } = qualityRecord(
    {
      pipeline,
      place: { key: IMAGE, level: Level.IMAGE, runs: [], touch() {} },
      step: judged,
      run: create(StepRunSchema, { revision: UINT32_MAX }),
      trace: 1,
    },
    { verdict: Verdict.FAIL, findings: Array.from({ length: 64 }, () => finding) },
  )
  const bytes = key.length + value.length + 200
  t.diagnostic(`quality.v1: ${bytes} bytes`)
  assert.ok(bytes < RECORD_BYTES_MAX)
})

const refused: readonly [string, Parameters<typeof planOf>[0], RegExp][] = [
  [
    '1,500 wells at 1,024 time points',
    {
      wells: Array.from({ length: 1_500 }, (_, at) => ({
        well: wellAt(1 + Math.floor(at / 48), 1 + (at % 48)),
      })),
      timePoints: Array.from({ length: 1_024 }, (_, at) => at),
    },
    /plans 1536000 wells over time \(1500 wells × 1024 time points\); 100000 are the most$/,
  ],
  [
    'a site of 385 images',
    {
      wells: [{ well: 'A01' }],
      zPlanes: Array.from({ length: 77 }, (_, at) => at),
      channels: ['a', 'b', 'c', 'd', 'e'],
    },
    /plans 385 images per site \(77 z planes × 5 channels\); 384 are the most$/,
  ],
  [
    'more than 10 million images',
    {
      wells: Array.from({ length: 1_500 }, (_, at) => ({
        well: wellAt(1 + Math.floor(at / 48), 1 + (at % 48)),
      })),
      sites: Array.from({ length: 20 }, (_, at) => at),
      zPlanes: Array.from({ length: 120 }, (_, at) => at),
      channels: ['a', 'b', 'c'],
    },
    /plans 10800000 images; 10000000 are the most$/,
  ],
]

for (const [name, fields, message] of refused)
  test(`a plan that state cannot hold is refused by name: ${name}`, () => {
    const large = openLarge(loadPipeline(deep(1)))
    large.command({ case: 'plan', value: planOf(fields) })
    large.flush()
    const [value, ...others] = large.letters.map((letter) => letter.value)
    assert.ok(value && others.length === 0)
    const { failure } = fromBinary(DeadLetterSchema, value)
    assert.equal(failure?.reason, 'PLAN_TOO_LARGE')
    assert.match(failure.message, message)
    assert.match(failure.hint, /another acquisition: some of its time points, wells or z planes/)
    assert.equal(large.task().plans.size(), 0)
  })
