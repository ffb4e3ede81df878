import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create, toBinary } from '@bufbuild/protobuf'
import { ExportTraceServiceRequestSchema } from '#proto/opentelemetry/proto/collector/trace/v1/trace_service_pb.ts'
import { StatusSchema, type Span } from '#proto/opentelemetry/proto/trace/v1/trace_pb.ts'
import { ErrorClass } from '#proto/wellspring/contract/v1/errors_pb.ts'
import { CloseSchema, RunState, type StepRun } from '#proto/wellspring/journal/v1/state_pb.ts'
import { StepFailureSchema } from '#proto/wellspring/step/v1/failure_pb.ts'
import { hex, sha256, spanId, traceId } from '../../coordinator/core/keys.ts'
import { attributes, exportRequest, failedStatus } from '../../coordinator/trace/build.ts'
import { encodeTrace } from '../../coordinator/trace/encode.ts'
import {
  attemptTraceparent,
  entitySpans,
  tracedOf,
  type Traced,
} from '../../coordinator/trace/spans.ts'
import { exampleTask, imageAt, noon, pipeline, plateKey, run } from '../control/plate.ts'

const app = 'test'
const imageKey = `${plateKey}/B07/t0/s1/z0/DNA`

test('the trace of a done image, span by span', () => {
  const spans = entitySpans(traced(imageKey))
  assert.deepEqual(drawing(spans), [
    'image echo INTERNAL 0..2200 ok link:0af7651916cd43dd8448eb211c80319c',
    '  step first INTERNAL 0..1100',
    '    wait queue INTERNAL 0..100',
    '    wellspring.steps.echo.v1.EchoService/EchoImage CLIENT 100..1100',
    '  step second INTERNAL 1100..2200',
    '    wait queue INTERNAL 1100..1200',
    '    wellspring.steps.echo.v1.EchoService/EchoImage CLIENT 1200..2200',
  ])
  assert.equal(hex(spans[0]?.traceId ?? new Uint8Array()), traceId(app, imageKey, 1))
  assert.deepEqual(textsOf(spans[0]), {
    'wellspring.entity': imageKey,
    'wellspring.pipeline': 'echo-1',
    'wellspring.experiment': 'E1',
    'wellspring.plate': 'P1',
    'wellspring.acquisition': 'a1',
    'wellspring.well': 'B07',
    'wellspring.time_point': 0n,
    'wellspring.site': 1n,
    'wellspring.z': 0n,
    'wellspring.channel': 'DNA',
    'wellspring.uri': 'file:///data/P1/B07_s1_DNA.tif',
  })
})

test('the trace of a site waits for its siblings and links to their traces', () => {
  const site = `${plateKey}/B07/t0/s1`
  const links = ['DNA', 'ER'].map((name) => `link:${traceId(app, `${site}/z0/${name}`, 1)}`)
  assert.deepEqual(drawing(entitySpans(traced(site))), [
    `site echo INTERNAL 0..3800 ok ${links.join(' ')}`,
    '  wait siblings INTERNAL 0..2700',
    '  step site INTERNAL 2700..3800',
    '    wait queue INTERNAL 2700..2800',
    '    wellspring.steps.echo.v1.EchoService/EchoSite CLIENT 2800..3800',
  ])
})

test('a parked image shows its attempts, reasons and back-off, and its root is an error', () => {
  const spans = entitySpans(image([run(0, 0, RunState.PARKED)]))
  assert.deepEqual(drawing(spans).slice(0, 6), [
    'image echo INTERNAL 0..6000 error',
    '  step first INTERNAL 0..6000 error',
    '    wait queue INTERNAL 0..100',
    '    wait backoff INTERNAL 1100..5000',
    '    wellspring.steps.echo.v1.EchoService/EchoImage CLIENT 100..1100 error',
    '    wellspring.steps.echo.v1.EchoService/EchoImage CLIENT 5000..6000 error',
  ])
  const attempt = spans.at(-1)
  assert.equal(attempt?.status?.message, 'RETRYABLE NOT_YET: asked to fail for now')
  assert.deepEqual(textsOf(attempt), {
    'wellspring.entity': imageKey,
    'wellspring.step': 'first',
    'wellspring.generation': 1n,
    'wellspring.attempt': 2n,
    'wellspring.replica': '127.0.0.1:7001',
    'rpc.system.name': 'grpc',
    'wellspring.error.class': 'RETRYABLE',
    'wellspring.error.reason': 'NOT_YET',
    'error.type': 'NOT_YET',
  })
})

test('the traceparent given to a call names the CLIENT span of that attempt', () => {
  const spans = entitySpans(image([run(0, 0, RunState.PARKED)]))
  const client = spans.at(-1)
  const name = { entity: imageKey, n: 1, step: 'first', generation: 1, attempt: 2 }
  const [, trace, span] = attemptTraceparent(app, name).split('-')
  assert.equal(trace, hex(client?.traceId ?? new Uint8Array()))
  assert.equal(span, hex(client?.spanId ?? new Uint8Array()))
})

test('a redriven image begins a new trace, without the time it lay parked', () => {
  const parked = run(1, 1_100, RunState.DONE, { generation: 2, readyMs: noon + 90_000 })
  parked.attempts = []
  parked.endedMs = noon + 91_000
  const spans = entitySpans(image([run(0, 0, RunState.DONE), parked]))
  assert.equal(hex(spans[0]?.traceId ?? new Uint8Array()), traceId(app, imageKey, 2))
  assert.deepEqual(drawing(spans).slice(0, 2), [
    'image echo INTERNAL 90000..91000 ok',
    '  step second INTERNAL 90000..91000',
  ])
})

test('a run that a later close left as it was is not in the later trace', () => {
  const task = exampleTask()
  const key = `${plateKey}/B07/t0/s1`
  const site = task.sites.open(key)
  if (site.close) Object.assign(site.close, { revision: 2, atMs: noon + 10_000 })
  const found = tracedOf(task, key)
  assert.ok(found)
  const [root, ...rest] = entitySpans(found)
  assert.equal(hex(root?.traceId ?? new Uint8Array()), traceId(app, key, 2))
  assert.deepEqual(rest, [])
})

test('a number asked twice (OVERLOADED) keeps its id for the last asking, and ids stay unique', () => {
  const refused = { class: ErrorClass.OVERLOADED, reason: 'BUSY' }
  const busy = { number: 1, askedMs: noon, startedMs: noon, endedMs: noon + 10, failure: refused }
  const good = { number: 1, askedMs: noon + 50, startedMs: noon + 50, endedMs: noon + 90 }
  const overloaded = run(0, 0, RunState.DONE, { attempts: [busy, good], endedMs: noon + 90 })
  const spans = entitySpans(image([overloaded]))
  const ids = spans.map((span) => hex(span.spanId))
  assert.equal(new Set(ids).size, ids.length)
  assert.equal(ids.at(-1), spanId(traceId(app, imageKey, 1), 'attempt first g1 a1'))
})

test('many attempts are summarised within the bound, oldest first, and the time still adds up', () => {
  const runs = [0, 1].map((step) => withAttempts(step, step * 100_000, 32))
  const spans = entitySpans(image([...runs, withAttempts(2, 200_000, 32)]))
  assert.ok(spans.length <= 128, `${spans.length} spans`)
  assert.ok(spans.length > 100, `${spans.length} spans leave too much out`)
  assert.equal(spans.filter((span) => span.name === 'attempts summarised').length, 3)
  assert.equal(leafMs(spans), wallMs(spans))
  assertWhole(spans)
})

test('the largest trace stays below 64 kB', () => {
  const id = 'x'.repeat(64)
  const entity = `${id}/${id}/${id}/B07/t0/s1`
  const failure = create(StepFailureSchema, { reason: 'R'.repeat(40), message: 'm'.repeat(1_024) })
  const runs = [0, 1, 2].map((step) => withAttempts(step, step * 100_000, 32))
  for (const one of runs) for (const attempt of one.attempts) attempt.failure = failure
  const memberTraces = Array<string>(128).fill('ab'.repeat(16))
  const close = create(CloseSchema, { revision: 1, atMs: noon })
  const view = { firstMs: noon - 1_000, runs, close, memberTraces }
  const spans = entitySpans({ application: app, pipeline, entity, view })
  const bytes = toBinary(ExportTraceServiceRequestSchema, exportRequest(app, spans)).length
  assert.ok(spans.length > 100 && bytes < 64_000, `${spans.length} spans, ${bytes} bytes`)
})

test('over many lives: leaves sum to the wall time, parents exist, same state gives same bytes', () => {
  for (let seed = 1; seed <= 500; seed++) {
    const build = (): Span[] => entitySpans(image(randomChain(seed)))
    const spans = build()
    assertWhole(spans)
    assert.ok(spans.length <= 128)
    assert.ok(Math.abs(leafMs(spans) - wallMs(spans)) < 0.01, `seed ${seed}`)
    assert.deepEqual(digest(spans), digest(build()), `seed ${seed}`)
  }
})

test('the bytes of a fixed state are frozen', () => {
  assert.equal(
    Buffer.from(digest(entitySpans(traced(imageKey)))).toString('hex'),
    'f54ca8d015480a4907ae93888ecf33d0c9dfb6a94c1c46e5310c68f34393a735',
  )
})

test('traces of every kind have the bytes of the library', () => {
  const failing = run(0, 0, RunState.PARKED)
  const odd = { ...traced(imageKey), entity: imageKey.replace('DNA', 'µ%20漢') }
  const many = {
    ...image([]),
    view: { firstMs: noon, runs: [], memberTraces: Array(128).fill('ab'.repeat(16)) },
  }
  const kinds = [traced(plateKey), traced(`${plateKey}/B07/t0/s1`), image([failing]), odd, many]
  for (const kind of kinds) assert.equal(digest(entitySpans(kind)).length, 32)
  digest(entitySpans(image([withAttempts(0, 0, 40), withAttempts(1, 200_000, 32)])))
})

test('attributes and statuses of every kind have the bytes of the library', () => {
  const [root] = entitySpans(traced(imageKey))
  assert.ok(root)
  const numbers = [0, 1, 127, 128, 2 ** 31 - 1, 2 ** 31, 2 ** 40 + 3, Number.MAX_SAFE_INTEGER]
  const values = [...numbers, ...numbers.map((number) => -number), 0.5, -1e300, true, false]
  const named = Object.fromEntries(values.map((value, at) => [`value.${at}`, value]))
  const texts = { short: 'a', long: 'ä'.repeat(200), longer: 'x'.repeat(300) }
  const status = [undefined, failedStatus(undefined), create(StatusSchema, { message: 'why' })]
  for (const one of status)
    digest([{ ...root, attributes: attributes({ ...named, ...texts }), status: one }])
})

function traced(key: string): Traced {
  const found = tracedOf(exampleTask(), key)
  assert.ok(found)
  return found
}

function image(runs: StepRun[]): Traced {
  const { arrivedMs } = imageAt('DNA', 0, runs)
  return { application: app, pipeline, entity: imageKey, view: { firstMs: arrivedMs, runs } }
}

function withAttempts(step: number, atMs: number, count: number): StepRun {
  const readyMs = noon + atMs
  const attempts = Array.from({ length: count }, (_, index) => {
    const askedMs = readyMs + index * 1_000
    return { number: index + 1, askedMs, startedMs: askedMs + 10, endedMs: askedMs + 500 }
  })
  return run(step, atMs, RunState.DONE, { attempts, endedMs: readyMs + count * 1_000 - 500 })
}

/** A chain of steps, each ready when the one before ended, with attempts, queues and back-offs of any length. */
function randomChain(seed: number): StepRun[] {
  let state = seed
  const dice = (): number => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647
  let at = noon
  return pipeline.steps.slice(0, 1 + Math.floor(dice() * 3)).map((step) => {
    const readyMs = at
    const attempts = Array.from({ length: 1 + Math.floor(dice() * 32) }, (_, index) => {
      const askedMs = at + (index > 0 ? dice() * 5_000 : 0)
      const startedMs = askedMs + (dice() < 0.3 ? 0 : dice() * 100)
      at = startedMs + (dice() < 0.1 ? 0 : dice() * 2_000)
      return { number: index + 1, askedMs, startedMs, endedMs: at }
    })
    return run(step.index, 0, RunState.DONE, { readyMs, attempts, endedMs: at })
  })
}

function assertWhole(spans: readonly Span[]): void {
  const ids = new Set(spans.map((span) => hex(span.spanId)))
  assert.equal(ids.size, spans.length, 'span ids are unique')
  const roots = spans.filter((span) => span.parentSpanId.length === 0)
  assert.equal(roots.length, 1)
  for (const span of spans)
    assert.ok(span === roots[0] || ids.has(hex(span.parentSpanId)), `${span.name} is an orphan`)
}

function leafMs(spans: readonly Span[]): number {
  const parents = new Set(spans.map((span) => hex(span.parentSpanId)))
  const leaves = spans.filter((span) => !parents.has(hex(span.spanId)))
  return leaves.reduce((sum, span) => sum + wallMs([span]), 0)
}

function wallMs([root]: readonly Span[]): number {
  return root ? Number(root.endTimeUnixNano - root.startTimeUnixNano) / 1e6 : 0
}

/** Every trace that a test makes goes this way: the encoder's bytes are the library's. */
function digest(spans: readonly Span[]): Uint8Array {
  const request = exportRequest(app, spans)
  const bytes = encodeTrace(request)
  assert.deepEqual(
    Buffer.from(bytes),
    Buffer.from(toBinary(ExportTraceServiceRequestSchema, request)),
  )
  return sha256(bytes)
}

function textsOf(span: Span | undefined): Record<string, unknown> {
  return Object.fromEntries(
    (span?.attributes ?? []).map(({ key, value }) => [key, value?.value.value]),
  )
}

/** One line per span: indent by depth, name, kind, ms since noon, status, links. */
function drawing(spans: readonly Span[]): string[] {
  const parents = new Map(spans.map((span) => [hex(span.spanId), hex(span.parentSpanId)]))
  const depth = (id: string | undefined): number => (id ? 1 + depth(parents.get(id)) : 0)
  const at = (nanos: bigint): string => String(Number(nanos / 1000n) / 1000 - noon)
  return spans.map((span) => {
    const indent = '  '.repeat(depth(hex(span.parentSpanId)))
    const time = `${at(span.startTimeUnixNano)}..${at(span.endTimeUnixNano)}`
    const status = ['', ' ok', ' error'][span.status?.code ?? 0] ?? ''
    const links = span.links.map((one) => ` link:${hex(one.traceId)}`).join('')
    const kind = span.kind === 3 ? 'CLIENT' : 'INTERNAL'
    return `${indent}${span.name} ${kind} ${time}${status}${links}`
  })
}
