// Looks through an OTLP request as it came, without making anything of it: what is not within bounds is never built.
// A damaged request is refused whole; of a sound one, spans that are out of bounds are left out one by one.
import { isUtf8 } from 'node:buffer'
import { requestShape, WIRE, type FieldShape, type Shape } from './shapes.ts'

export const scanLimits = {
  /** Of one request. */
  spansMax: 10_000,
  fieldsMax: 500_000,
  groupsMax: 2_000,
  /** Of one span; SDKs keep 128 of each. */
  attributesMax: 512,
  eventsMax: 512,
  linksMax: 512,
  spanBytesMax: 64 * 1024,
  /** Of one name, key or value. */
  valueBytesMax: 32 * 1024,
  /** Of what all spans of a group share. */
  resourceBytesMax: 16 * 1024,
  /** Messages within messages; values of values of values are three each. */
  depthMax: 32,
} as const

/** Where something is in the body. */
export type Slice = { readonly from: number; readonly to: number }

export type ScannedSpan = Slice & {
  /** 32 hex digits. */
  readonly trace: string
  readonly resource: ScannedGroup
  readonly scope: ScannedGroup
}

/** What spans have in common: a resource, or a scope of one. */
export type ScannedGroup = { shared: Slice | undefined; schemaUrl: Slice | undefined }

export type Scanned = {
  readonly spans: readonly ScannedSpan[]
  readonly rejected: number
  /** Why the first of the rejected was. */
  readonly why: string
}

/** A request that is refused whole. */
export class Unfit extends Error {
  readonly status: 400 | 413
  constructor(status: 400 | 413, message: string) {
    super(message)
    this.status = status
  }
}

type Frame = {
  readonly shape: Shape
  readonly start: number
  readonly end: number
  /** Bits of the fields that came and may not come again. */
  seen: number
}

type SpanDraft = {
  frame: Frame
  trace: string
  hasId: boolean
  fault: string
  readonly counts: Counts
}
type Counts = { attributes: number; events: number; links: number }

const fieldsPerStep = 1_000
const fieldNumberMax = 2 ** 29 - 1

/** Scans a body; throws Unfit. Yields every 1,000 fields: drive it with sliced(). */
export function* scan(body: Buffer): Generator<undefined, Scanned> {
  const scanner = new Scanner(body)
  for (let fields = 0; !scanner.isDone; fields += fieldsPerStep) {
    if (fields > scanLimits.fieldsMax)
      throw new Unfit(413, `more than ${scanLimits.fieldsMax} fields: ${smaller}`)
    scanner.step(fieldsPerStep)
    yield
  }
  return scanner
}

class Scanner implements Scanned {
  readonly spans: ScannedSpan[] = []
  rejected = 0
  why = ''
  readonly #body: Buffer
  readonly #frames: Frame[]
  #at = 0
  #groups = 0
  #resource: ScannedGroup = { shared: undefined, schemaUrl: undefined }
  #scope: ScannedGroup = { shared: undefined, schemaUrl: undefined }
  #span: SpanDraft | undefined

  constructor(body: Buffer) {
    this.#body = body
    this.#frames = [{ shape: requestShape, start: 0, end: body.length, seen: 0 }]
  }

  get isDone(): boolean {
    return this.#frames.length === 0
  }

  step(fields: number): void {
    for (let left = fields; left > 0; left -= 1) {
      const frame = this.#frames.at(-1)
      if (!frame) return
      if (this.#at === frame.end) this.#close(frame)
      else this.#field(frame)
    }
  }

  #field(frame: Frame): void {
    const tag = this.#varint(frame.end, 5)
    const [number, wire] = [Math.floor(tag / 8), tag % 8]
    if (number === 0 || number > fieldNumberMax)
      throw damaged(`field ${number} in ${frame.shape.name}`)
    const field = frame.shape.fields.get(number)
    if (field) this.#checkOnce(frame, field, wire)
    switch (wire) {
      case WIRE.varint:
        this.#varint(frame.end, 10)
        return
      case WIRE.fixed64:
        return this.#skip(8, frame.end)
      case WIRE.fixed32:
        return this.#skip(4, frame.end)
      case WIRE.bytes: {
        const length = this.#varint(frame.end, 5)
        const slice = { from: this.#at, to: this.#at + length }
        if (slice.to > frame.end) throw damaged(`${frame.shape.name} is cut short`)
        if (field?.message) return this.#begin(frame, field, field.message, slice)
        if (field) this.#note(frame, field.name, { slice, isText: field.isText })
        this.#at = slice.to
        return
      }
      default:
        throw damaged(`wire type ${wire} in ${frame.shape.name}`)
    }
  }

  #checkOnce(frame: Frame, field: FieldShape, wire: number): void {
    if (wire !== field.wire)
      throw damaged(`${frame.shape.name}.${field.name} has wire type ${wire}`)
    // Readers would merge the two, each in its own way.
    if ((frame.seen & field.once) !== 0)
      throw damaged(`${frame.shape.name}.${field.name} comes twice`)
    frame.seen |= field.once
  }

  /** Text or bytes that the contract knows. */
  #note(frame: Frame, name: string, { slice, isText }: { slice: Slice; isText: boolean }): void {
    if (slice.to - slice.from > scanLimits.valueBytesMax)
      this.#outOfBounds(`${name} has more than ${scanLimits.valueBytesMax} bytes`)
    // What is no UTF-8 is no text to most readers, and damages the whole record for them.
    if (isText && !this.#isText(slice)) this.#outOfBounds(`${name} is no UTF-8`)
    if (name === 'schema_url') this.#schemaUrl(frame, slice)
    if (name.endsWith('_id')) this.#id(frame, name, slice)
  }

  /** Most texts are short and ASCII: looked at without making anything of them. */
  #isText({ from, to }: Slice): boolean {
    for (let at = from; at < to; at += 1)
      if ((this.#body[at] ?? 0) > 0x7f) return isUtf8(this.#body.subarray(at, to))
    return true
  }

  #begin(frame: Frame, field: FieldShape, message: Shape, slice: Slice): void {
    switch (message.name) {
      case 'ResourceSpans':
        this.#resource = { shared: undefined, schemaUrl: undefined }
        this.#countGroup()
        break
      case 'ScopeSpans':
        this.#scope = { shared: undefined, schemaUrl: undefined }
        this.#countGroup()
        break
      case 'Resource':
        this.#resource.shared = this.#shared(slice)
        break
      case 'InstrumentationScope':
        this.#scope.shared = this.#shared(slice)
        break
      case 'Span':
        return this.#beginSpan(message, slice)
      default:
        if (this.#span?.frame === frame) this.#count(this.#span, field.name)
    }
    if (this.#frames.length >= scanLimits.depthMax) {
      this.#outOfBounds(`values nest deeper than ${scanLimits.depthMax}`)
      this.#at = slice.to
      return
    }
    this.#frames.push({ shape: message, start: slice.from, end: slice.to, seen: 0 })
  }

  #shared(slice: Slice): Slice {
    if (slice.to - slice.from > scanLimits.resourceBytesMax)
      throw new Unfit(413, `a resource or scope has more than ${scanLimits.resourceBytesMax} bytes`)
    return slice
  }

  #countGroup(): void {
    this.#groups += 1
    if (this.#groups > scanLimits.groupsMax)
      throw new Unfit(413, `more than ${scanLimits.groupsMax} resources and scopes: ${smaller}`)
  }

  #beginSpan(shape: Shape, slice: Slice): void {
    if (this.spans.length + this.rejected >= scanLimits.spansMax)
      throw new Unfit(413, `more than ${scanLimits.spansMax} spans: ${smaller}`)
    const frame = { shape, start: slice.from, end: slice.to, seen: 0 }
    const counts = { attributes: 0, events: 0, links: 0 }
    this.#span = { frame, trace: '', hasId: false, fault: '', counts }
    this.#frames.push(frame)
    if (slice.to - slice.from > scanLimits.spanBytesMax)
      this.#outOfBounds(`it has more than ${scanLimits.spanBytesMax} bytes`)
  }

  #count({ counts }: SpanDraft, name: string): void {
    if (name !== 'attributes' && name !== 'events' && name !== 'links') return
    counts[name] += 1
    const max = limitsOf[name]
    if (counts[name] > max) this.#outOfBounds(`it has more than ${max} ${name}`)
  }

  #schemaUrl(frame: Frame, slice: Slice): void {
    if (frame.shape.name === 'ResourceSpans') this.#resource.schemaUrl = slice
    if (frame.shape.name === 'ScopeSpans') this.#scope.schemaUrl = slice
  }

  #id(frame: Frame, name: string, { from, to }: Slice): void {
    const [span, length] = [this.#span, to - from]
    if (!span || (frame.shape.name !== 'Span' && frame.shape.name !== 'Link')) return
    const wanted = name === 'trace_id' ? 16 : 8
    if (length !== wanted && !(name === 'parent_span_id' && length === 0))
      return this.#outOfBounds(`its ${name} has ${length} bytes, not ${wanted}`)
    const hex = this.#body.toString('hex', from, to)
    if (name !== 'parent_span_id' && /^0*$/.test(hex))
      return this.#outOfBounds(`its ${name} is zero`)
    if (frame !== span.frame) return
    if (name === 'trace_id') span.trace = hex
    if (name === 'span_id') span.hasId = true
  }

  /** What is wrong with the span at hand; without one, with the request. */
  #outOfBounds(why: string): void {
    const span = this.#span
    if (!span) throw new Unfit(400, `out of bounds: ${why}`)
    if (span.fault === '') span.fault = why
  }

  #close(frame: Frame): void {
    this.#frames.pop()
    const span = this.#span
    if (frame.shape.name === 'Link' && (frame.seen & linkIds) !== linkIds)
      this.#outOfBounds('a link of it has no ids')
    if (!span || span.frame !== frame) return
    if (span.trace === '' || !span.hasId) this.#outOfBounds('it has no ids')
    this.#span = undefined
    if (span.fault === '') {
      const [resource, scope] = [this.#resource, this.#scope]
      this.spans.push({ from: frame.start, to: frame.end, trace: span.trace, resource, scope })
    } else {
      this.rejected += 1
      if (this.why === '') this.why = span.fault
    }
  }

  #skip(bytes: number, end: number): void {
    this.#at += bytes
    if (this.#at > end) throw damaged('a number is cut short')
  }

  /** Exact where it is a tag or a length: those have five bytes at most. */
  #varint(end: number, bytesMax: 5 | 10): number {
    const body = this.#body
    let value = 0
    let scale = 1
    for (let bytes = 1; bytes <= bytesMax; bytes += 1) {
      if (this.#at >= end) throw damaged('a number is cut short')
      const byte = body[this.#at++] ?? 0
      value += (byte & 0x7f) * scale
      // Of a tenth byte one bit counts.
      if (byte < 0x80 && (bytes < 10 || byte <= 1)) return value
      scale *= 128
    }
    throw damaged('a number is longer than any')
  }
}

const smaller = 'export smaller batches'
const limitsOf = {
  attributes: scanLimits.attributesMax,
  events: scanLimits.eventsMax,
  links: scanLimits.linksMax,
} as const
/** Bits of Link.trace_id and Link.span_id. */
const linkIds = (1 << 1) | (1 << 2)

function damaged(what: string): Unfit {
  return new Unfit(400, `the body is no ExportTraceServiceRequest: ${what}`)
}
