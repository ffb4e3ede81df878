// Divides a scanned OTLP request by trace: what goes to spans.v1 under its trace id as the key, the layout of stock
// collectors' Kafka receivers with traces partitioned by id. Bytes are copied as they came, nothing is decoded.
import type { Scanned, ScannedGroup, ScannedSpan, Slice } from './scan.ts'
import { Unfit } from './scan.ts'

export const divideLimits = {
  tracesMax: 4_096,
  /** Of one record; a trace with more has several. */
  recordBytesMax: 256 * 1024,
  /** Of all records: each repeats the resources of its spans. */
  outputBytesMax: 8 * 1024 * 1024,
} as const

/** A part of a trace, an ExportTraceServiceRequest. */
export type TracePart = { readonly trace: string; readonly value: Buffer; readonly spans: number }

/** The parts of a request; throws Unfit. Yields after every trace: drive it with sliced(). */
export function* divide(body: Buffer, { spans }: Scanned): Generator<undefined, TracePart[]> {
  const traces = Map.groupBy(spans, (span) => span.trace)
  if (traces.size > divideLimits.tracesMax)
    throw new Unfit(413, `more than ${divideLimits.tracesMax} traces: export smaller batches`)
  const parts: TracePart[] = []
  let bytes = 0
  for (const [trace, all] of traces) {
    for (const some of portions(all)) {
      const value = requestOf(body, some)
      bytes += value.length
      if (bytes > divideLimits.outputBytesMax)
        throw new Unfit(
          413,
          `its ${traces.size} traces with their resources make more than ${divideLimits.outputBytesMax} bytes: export smaller batches`,
        )
      parts.push({ trace, value, spans: some.length })
    }
    yield
  }
  return parts
}

/** Spans for one record each. */
function* portions(spans: readonly ScannedSpan[]): Generator<ScannedSpan[]> {
  let some: ScannedSpan[] = []
  let bytes = 0
  for (const span of spans) {
    const last = some.at(-1)
    const isShared = last?.resource === span.resource && last.scope === span.scope
    const added = lengthOf(span) + framing + (isShared ? 0 : sharedBytes(span))
    if (last && bytes + added > divideLimits.recordBytesMax) {
      yield some
      some = []
      bytes = sharedBytes(span)
    }
    some.push(span)
    bytes += added
  }
  yield some
}

/** More than the tags and lengths around a span take. */
const framing = 16

function sharedBytes({ resource, scope }: ScannedSpan): number {
  const slices = [resource.shared, resource.schemaUrl, scope.shared, scope.schemaUrl]
  return slices.reduce((sum, slice) => sum + (slice ? lengthOf(slice) + framing : 0), 2 * framing)
}

function requestOf(body: Buffer, spans: readonly ScannedSpan[]): Buffer {
  const groups: Buffer[] = []
  for (const ofResource of runs(spans, (span) => span.resource)) {
    const scopes = runs(ofResource, (span) => span.scope).map((ofScope) => {
      const list = ofScope.map((span) => field(2, body.subarray(span.from, span.to)))
      return field(2, message(body, ofScope[0]?.scope, list))
    })
    groups.push(field(1, message(body, ofResource[0]?.resource, scopes)))
  }
  return Buffer.concat(groups)
}

/** ResourceSpans and ScopeSpans are alike: what is shared in 1, its parts, the URL in 3. */
function message(body: Buffer, group: ScannedGroup | undefined, parts: readonly Buffer[]): Buffer {
  return Buffer.concat([
    ...sliceField(1, body, group?.shared),
    ...parts,
    ...sliceField(3, body, group?.schemaUrl),
  ])
}

function sliceField(number: number, body: Buffer, slice: Slice | undefined): Buffer[] {
  return slice ? [field(number, body.subarray(slice.from, slice.to))] : []
}

/** Neighbours that have the same in common. */
function runs(spans: readonly ScannedSpan[], of: (span: ScannedSpan) => ScannedGroup) {
  const all: ScannedSpan[][] = []
  let last: ScannedGroup | undefined
  for (const span of spans) {
    if (of(span) === last) all.at(-1)?.push(span)
    else all.push([span])
    last = of(span)
  }
  return all
}

function lengthOf({ from, to }: Slice): number {
  return to - from
}

/** A length-delimited field with a number below 16. */
function field(number: number, bytes: Buffer): Buffer {
  const head = [(number << 3) | 2]
  let rest = bytes.length
  for (; rest > 0x7f; rest >>>= 7) head.push((rest & 0x7f) | 0x80)
  head.push(rest)
  return Buffer.concat([Buffer.from(head), bytes])
}
