// What is let through into spans.v1: within bounds, and decoded alike by everybody.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fromBinary, toBinary } from '@bufbuild/protobuf'
import { ExportTraceServiceRequestSchema } from '#proto/opentelemetry/proto/collector/trace/v1/trace_service_pb.ts'
import type { Span } from '#proto/opentelemetry/proto/trace/v1/trace_pb.ts'
import { sliced } from '../../coordinator/control/slices.ts'
import { exportRequest } from '../../coordinator/trace/build.ts'
import { divide, divideLimits, type TracePart } from '../../coordinator/trace/divide.ts'
import { scan, scanLimits } from '../../coordinator/trace/scan.ts'
import { entitySpans, tracedOf } from '../../coordinator/trace/spans.ts'
import { exampleTask, plateKey } from '../control/plate.ts'
import * as wire from './wire.ts'

const { attribute, group, idOf, nested, part, repeated, request, resource, scope, span } = wire
const { text, value, varint } = wire

async function taken(body: Buffer): Promise<{ parts: TracePart[]; rejected: number; why: string }> {
  const scanned = await sliced(scan(body))
  const parts = await sliced(divide(body, scanned))
  return { parts, rejected: scanned.rejected, why: scanned.why }
}

/** "413 more than …", or "200" and what became of the spans. */
async function verdict(body: Buffer): Promise<string> {
  try {
    const { parts, rejected, why } = await taken(body)
    const spans = parts.reduce((sum, one) => sum + one.spans, 0)
    return `200 ${spans} taken, ${rejected} rejected ${why}`.trim()
  } catch (error) {
    assert.ok(error instanceof Error && 'status' in error, String(error))
    return `${String(error.status)} ${error.message}`
  }
}

function spansIn(bytes: Uint8Array): Span[] {
  const { resourceSpans } = fromBinary(ExportTraceServiceRequestSchema, bytes)
  return resourceSpans.flatMap((one) => one.scopeSpans.flatMap(({ spans }) => spans))
}

test('a request is divided by trace, each part with its resource and scope, byte by byte', async () => {
  const keys = [`${plateKey}/B07/t0/s1/z0/DNA`, `${plateKey}/B07/t0/s1`]
  const spans = keys.flatMap((key) => {
    const traced = tracedOf(exampleTask(), key)
    return traced ? entitySpans(traced) : assert.fail(key)
  })
  const whole = exportRequest('test', spans)
  const { parts } = await taken(Buffer.from(toBinary(ExportTraceServiceRequestSchema, whole)))
  assert.equal(parts.length, 2)
  for (const { trace, value: bytes } of parts) {
    const ours = spans.filter(({ traceId }) => Buffer.from(traceId).toString('hex') === trace)
    const alone = toBinary(ExportTraceServiceRequestSchema, exportRequest('test', ours))
    assert.deepEqual(bytes, Buffer.from(alone))
  }
  const late = group(
    scope(span(1), part(1, text(1, 'late')), text(3, 'url of scope')),
    part(1, attribute(1, 'late')),
    text(3, 'url of resource'),
  )
  const [only] = (await taken(late)).parts
  const [from] = fromBinary(
    ExportTraceServiceRequestSchema,
    only?.value ?? Buffer.alloc(0),
  ).resourceSpans
  assert.equal(from?.resource?.attributes[0]?.key, 'late')
  assert.deepEqual(
    [from.schemaUrl, from.scopeSpans[0]?.schemaUrl],
    ['url of resource', 'url of scope'],
  )
  assert.equal(from.scopeSpans[0]?.scope?.name, 'late')
})

test('a span out of bounds is left out, and the others are taken', async () => {
  const good = span(7)
  const link = (trace: Buffer, id: Buffer): Buffer => part(13, part(1, trace), part(2, id))
  const bad: readonly (readonly [Buffer, RegExp])[] = [
    [span(1, { trace: idOf(1, 15) }), /trace_id has 15 bytes, not 16/],
    [span(1, { trace: idOf(1, 17) }), /trace_id has 17 bytes/],
    [span(1, { trace: Buffer.alloc(0) }), /trace_id has 0 bytes/],
    [span(1, { trace: Buffer.alloc(16) }), /trace_id is zero/],
    [span(1, { span: idOf(1, 9) }), /span_id has 9 bytes, not 8/],
    [span(1, { span: Buffer.alloc(8) }), /span_id is zero/],
    [span(1, { parent: idOf(1, 4) }), /parent_span_id has 4 bytes, not 8/],
    [part(2, text(5, 'no ids')), /it has no ids/],
    [part(2), /it has no ids/],
    [span(1, { more: [link(idOf(1, 16), idOf(1, 7))] }), /span_id has 7 bytes/],
    [span(1, { more: [part(13)] }), /a link of it has no ids/],
    [span(1, { more: [repeated(attribute(9, 'a'), 513)] }), /more than 512 attributes/],
    [span(1, { more: [repeated(part(11), 513)] }), /more than 512 events/],
    [span(1, { more: [repeated(link(idOf(1, 16), idOf(1, 8)), 513)] }), /more than 512 links/],
    [span(1, { more: [attribute(9, 'k'.repeat(32_769))] }), /key has more than 32768 bytes/],
    [
      span(1, { more: [attribute(9, 'k', value('v'.repeat(32_769)))] }),
      /string_value has more than 32768/,
    ],
    [
      span(1, {
        more: [text(3, 'x'.repeat(30_000)), repeated(part(11, text(2, 'x'.repeat(30_000))), 2)],
      }),
      /more than 65536 bytes/,
    ],
    [span(1, { more: [attribute(9, 'k', nested(1_000))] }), /nest deeper than 32/],
    [span(1, { more: [part(3, Buffer.from([0xff, 0xfe]))] }), /trace_state is no UTF-8/],
    [span(1, { more: [attribute(9, 'k', part(1, Buffer.from([0xc0, 0x80])))] }), /no UTF-8/],
  ]
  for (const [one, why] of bad) {
    assert.match(
      await verdict(request(one)),
      new RegExp(`^200 0 taken, 1 rejected .*${why.source}`),
    )
    const { parts, rejected } = await taken(request(good, one, span(8)))
    assert.equal(rejected, 1)
    assert.deepEqual(
      parts.flatMap((taken) => spansIn(taken.value)).map(({ name }) => name),
      ['span 7', 'span 8'],
    )
  }
  const deep = span(1, { parent: idOf(2, 8), more: [attribute(9, 'k', nested(8))] })
  assert.equal(await verdict(request(deep)), '200 1 taken, 0 rejected')
})

test('what is out of bounds as a whole is refused for good', async () => {
  const { spansMax, groupsMax } = scanLimits
  const many = (count: number): Buffer[] => Array.from({ length: count }, (_, n) => span(n + 1))
  const large = resource(
    ...Array.from({ length: 15 }, (_, n) => attribute(1, `a${n}`, value('x'.repeat(1_000)))),
  )
  const cases: readonly (readonly [string, Buffer, RegExp])[] = [
    ['spans', request(...many(spansMax + 1)), /^413 more than 10000 spans: export smaller/],
    ['empty spans', request(repeated(part(2), 1_000_000)), /^413 more than 10000 spans/],
    ['resources', repeated(group(), groupsMax + 1), /^413 more than 2000 resources/],
    ['scopes', group(repeated(scope(), 1_000_000)), /^413 more than 2000 resources/],
    [
      'a large resource',
      group(resource(attribute(1, 'k', value('x'.repeat(17_000)))), scope(span(1))),
      /^413 a resource or scope has more than 16384 bytes/,
    ],
    ['fields', repeated(Buffer.from([0xf8, 0x01, 0x00]), 600_000), /^413 more than 500000 fields/],
    ['traces', request(...many(divideLimits.tracesMax + 1)), /^413 more than 4096 traces/],
    [
      'a resource for every trace',
      group(large, scope(...many(2_000))),
      /^413 its 2000 traces .* more than 8388608 bytes/,
    ],
    [
      'text of a resource',
      group(resource(part(1, part(1, Buffer.from([0xff])))), scope(span(1))),
      /^400 out of bounds: key is no UTF-8/,
    ],
    [
      'a deep resource',
      group(resource(attribute(1, 'k', nested(1_000))), scope(span(1))),
      /^400 out of bounds: values nest deeper/,
    ],
  ]
  for (const [name, body, why] of cases) assert.match(await verdict(body), why, name)
})

test('what readers would read each in its own way is refused', async () => {
  const tag = (number: number, type: number): Buffer => varint((number << 3) | type)
  const inSpan = (...more: readonly Buffer[]): Buffer => request(span(1, { more }))
  const cases: readonly (readonly [string, Buffer])[] = [
    ['nonsense', Buffer.from('nonsense')],
    ['cut short', request(span(1)).subarray(0, -1)],
    ['a length beyond its message', group(Buffer.from([0x12, 0x7f]))],
    ['a length of two gigabytes', Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0x07])],
    ['a length of six bytes', group(Buffer.from([0x12, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00]))],
    ['field 0', inSpan(Buffer.from([0x02, 0x00]))],
    ['a tag of ten bytes', inSpan(Buffer.from([0x88, 0x80, 0x80, 0x80, 0x80, 0x00, 0x00]))],
    ['a number of eleven bytes', inSpan(tag(6, 0), Buffer.alloc(10, 0x80), Buffer.from([0]))],
    ['a number beyond 64 bits', inSpan(tag(6, 0), Buffer.alloc(9, 0xff), Buffer.from([0x02]))],
    ['a group', inSpan(tag(99, 3), tag(99, 4))],
    ['the end of a group', inSpan(tag(99, 4))],
    ['wire type 6', inSpan(tag(99, 6))],
    ['wire type 7', inSpan(tag(99, 7))],
    ['a name that is a number', inSpan(tag(5, 0), Buffer.from([1]))],
    ['a name twice', inSpan(text(5, 'again'))],
    ['two trace ids', inSpan(part(1, idOf(2, 16)))],
    ['two statuses', inSpan(part(15), part(15))],
    ['two resources', group(resource(), resource(), scope(span(1)))],
    ['two values of one', inSpan(attribute(9, 'k', Buffer.concat([value('a'), part(7)])))],
    ['half a fixed64', inSpan(tag(7, 1), Buffer.alloc(3))],
  ]
  for (const [name, body] of cases)
    assert.match(await verdict(body), /^400 the body is no ExportTraceServiceRequest/, name)
  const unknown = inSpan(text(99, 'of a later version'), tag(98, 0), Buffer.from([5]))
  assert.equal(await verdict(unknown), '200 1 taken, 0 rejected')
})

test('a trace of any size goes into records that can be written', async () => {
  const trace = idOf(1, 16)
  const events = { more: [repeated(part(11, text(2, 'e'.repeat(10_000))), 6)] }
  const spans = Array.from({ length: 60 }, (_, n) => span(n + 1, { trace, ...events }))
  const { parts } = await taken(request(...spans))
  assert.ok(parts.length > 10)
  for (const { value: bytes } of parts) assert.ok(bytes.length <= divideLimits.recordBytesMax)
  assert.deepEqual(
    parts.flatMap((one) => spansIn(one.value)).map(({ name }) => name),
    spans.map((_, n) => `span ${n + 1}`),
  )
})

test('20,000 mutated requests: what is taken is decoded by the library, span for span', async (t) => {
  const seed = Number(process.env['WELLSPRING_SEED'] ?? Date.now() % 2_147_483_647)
  t.diagnostic(`seed ${seed}`)
  let state = seed || 1
  const dice = (below: number): number =>
    Math.floor(((state = (state * 48_271) % 2_147_483_647) / 2_147_483_647) * below)
  const link = part(13, part(1, idOf(9, 16)), part(2, idOf(9, 8)), attribute(4, 'l'))
  const more = [attribute(9, 'k', nested(2)), part(11, text(2, 'e'), attribute(3, 'x')), link]
  const base = Buffer.concat([
    request(span(1, { more }), span(2, { parent: idOf(1, 8) }), span(1)),
    group(scope(span(3, { more: [part(15, text(2, 'why'))] }), text(3, 'u')), resource()),
  ])
  const counts = { taken: 0, refused: 0 }
  for (let n = 0; n < 20_000; n += 1) {
    const body = Buffer.from(base)
    for (let edits = 1 + dice(3); edits > 0; edits -= 1) body[dice(body.length)] = dice(256)
    const cut = dice(8) === 0 ? body.subarray(0, dice(body.length)) : body
    let found: Awaited<ReturnType<typeof taken>>
    try {
      found = await taken(cut)
    } catch (error) {
      assert.ok(error instanceof Error && 'status' in error, `seed ${seed}: ${String(error)}`)
      counts.refused += 1
      continue
    }
    counts.taken += 1
    const all = found.parts.reduce((sum, one) => sum + one.spans, 0)
    // A span that is left out may be why the whole is not decoded.
    if (found.rejected === 0) assert.equal(spansIn(cut).length, all, `seed ${seed}`)
    for (const { trace, value: bytes, spans } of found.parts) {
      const inPart = spansIn(bytes)
      assert.equal(inPart.length, spans)
      for (const one of inPart) {
        assert.equal(Buffer.from(one.traceId).toString('hex'), trace)
        assert.equal(one.spanId.length, 8)
      }
    }
  }
  assert.ok(counts.taken > 1_000 && counts.refused > 1_000, JSON.stringify(counts))
})
