// Divides a scanned OTLP request by trace: what goes to spans.v1 under its trace id as the key, the layout of stock
// collectors' Kafka receivers with traces partitioned by id. Bytes are copied as they came, nothing is decoded, and
// nothing is copied before it is known how much it is.
import { Unfit, type Scanned, type ScannedGroup, type ScannedSpan, type Slice } from './scan.ts'

export const divideLimits = {
  tracesMax: 4_096,
  /** Of one record; a trace with more has several. */
  recordBytesMax: 256 * 1024,
  /** Of all records: each repeats the resources of its spans. */
  outputBytesMax: 8 * 1024 * 1024,
} as const

/** A part of a trace, an ExportTraceServiceRequest. */
export type TracePart = { readonly trace: string; readonly value: Buffer; readonly spans: number }

/** The parts of a request; throws Unfit. Yields for every trace: drive it with sliced(). */
export function* divide(body: Buffer, { spans }: Scanned): Generator<undefined, TracePart[]> {
  const traces = Map.groupBy(spans, (span) => span.trace)
  if (traces.size > divideLimits.tracesMax)
    throw new Unfit(413, `more than ${divideLimits.tracesMax} traces: ${smaller}`)
  const records: OneRecord[] = []
  let bytes = 0
  for (const all of traces.values()) {
    for (const some of portions(all)) {
      const record = recordOf(some)
      records.push(record)
      bytes += record.bytes
      if (bytes > divideLimits.outputBytesMax)
        throw new Unfit(
          413,
          `its ${traces.size} traces with their resources make more than ${divideLimits.outputBytesMax} bytes: ${smaller}`,
        )
    }
    yield
  }
  const writer = new Writer(body, bytes)
  const parts: TracePart[] = []
  for (const record of records) {
    parts.push({ trace: record.trace, value: writer.record(record), spans: record.spans })
    yield
  }
  return parts
}

const smaller = 'export smaller batches'

/** Spans for one record each. */
function* portions(spans: readonly ScannedSpan[]): Generator<readonly ScannedSpan[]> {
  let from = 0
  let bytes = 0
  for (const [at, span] of spans.entries()) {
    const last = at > from ? spans[at - 1] : undefined
    const isShared = last?.resource === span.resource && last.scope === span.scope
    const added = lengthOf(span) + framing + (isShared ? 0 : sharedBytes(span))
    if (last && bytes + added > divideLimits.recordBytesMax) {
      yield spans.slice(from, at)
      from = at
      bytes = sharedBytes(span)
    }
    bytes += added
  }
  yield from === 0 ? spans : spans.slice(from)
}

/** More than the tags and lengths around a span take. */
const framing = 16

function sharedBytes({ resource, scope }: ScannedSpan): number {
  const slices = [resource.shared, resource.schemaUrl, scope.shared, scope.schemaUrl]
  return slices.reduce((sum, slice) => sum + (slice ? lengthOf(slice) + framing : 0), 2 * framing)
}

/** A message of what is shared, parts and a URL; ResourceSpans and ScopeSpans are alike. */
type Group<Part> = { readonly group: ScannedGroup; readonly parts: Part[]; bytes: number }
type OneRecord = {
  readonly trace: string
  readonly spans: number
  readonly resources: readonly Group<Group<ScannedSpan>>[]
  readonly bytes: number
}

/** How spans lie in a record: neighbours with the same resource together, and of those the ones with the same scope. */
function recordOf(spans: readonly ScannedSpan[]): OneRecord {
  const resources: Group<Group<ScannedSpan>>[] = []
  for (const span of spans) {
    let resource = resources.at(-1)
    if (resource?.group !== span.resource) {
      resource = { group: span.resource, parts: [], bytes: 0 }
      resources.push(resource)
    }
    let scope = resource.parts.at(-1)
    if (scope?.group !== span.scope) {
      scope = { group: span.scope, parts: [], bytes: 0 }
      resource.parts.push(scope)
    }
    scope.parts.push(span)
  }
  let bytes = 0
  for (const resource of resources) {
    for (const scope of resource.parts) scope.bytes = bytesOf(scope, lengthOf)
    resource.bytes = bytesOf(resource, (scope) => scope.bytes)
    bytes += fieldBytes(resource.bytes)
  }
  return { trace: spans[0]?.trace ?? '', spans: spans.length, resources, bytes }
}

function bytesOf<Part>({ group, parts }: Group<Part>, lengthIn: (part: Part) => number): number {
  let bytes = 0
  for (const slice of [group.shared, group.schemaUrl])
    if (slice) bytes += fieldBytes(lengthOf(slice))
  for (const part of parts) bytes += fieldBytes(lengthIn(part))
  return bytes
}

function lengthOf({ from, to }: Slice): number {
  return to - from
}

/** Of a length-delimited field with a number below 16. */
function fieldBytes(length: number): number {
  let bytes = 2
  for (let rest = length; rest > 0x7f; rest >>>= 7) bytes += 1
  return bytes + length
}

/** Writes records one behind the other into one buffer. */
class Writer {
  readonly #body: Buffer
  readonly #out: Buffer
  #at = 0

  constructor(body: Buffer, bytes: number) {
    this.#body = body
    this.#out = Buffer.allocUnsafe(bytes)
  }

  record({ resources }: OneRecord): Buffer {
    const from = this.#at
    for (const resource of resources) {
      this.#head(1, resource.bytes)
      this.#slice(1, resource.group.shared)
      for (const scope of resource.parts) {
        this.#head(2, scope.bytes)
        this.#slice(1, scope.group.shared)
        for (const span of scope.parts) this.#slice(2, span)
        this.#slice(3, scope.group.schemaUrl)
      }
      this.#slice(3, resource.group.schemaUrl)
    }
    return this.#out.subarray(from, this.#at)
  }

  #slice(number: number, slice: Slice | undefined): void {
    if (!slice) return
    this.#head(number, lengthOf(slice))
    this.#at += this.#body.copy(this.#out, this.#at, slice.from, slice.to)
  }

  #head(number: number, length: number): void {
    this.#out[this.#at++] = (number << 3) | 2
    let rest = length
    for (; rest > 0x7f; rest >>>= 7) this.#out[this.#at++] = (rest & 0x7f) | 0x80
    this.#out[this.#at++] = rest
  }
}
