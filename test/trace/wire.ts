// OTLP requests by hand, byte by byte: what no library writes.

export function varint(value: number | bigint): Buffer {
  const bytes: number[] = []
  let rest = BigInt(value)
  for (; rest > 0x7fn; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80)
  return Buffer.from([...bytes, Number(rest)])
}

/** A length-delimited field. */
export function part(number: number, ...bytes: readonly Uint8Array[]): Buffer {
  const inner = Buffer.concat(bytes)
  return Buffer.concat([varint((number << 3) | 2), varint(inner.length), inner])
}

export const text = (number: number, value: string): Buffer => part(number, Buffer.from(value))

export const idOf = (number: number, bytes: number): Buffer =>
  Buffer.alloc(bytes, number.toString(16).padStart(bytes * 2, '0'), 'hex')

/** An AnyValue of text, and one nested so deep. */
export const value = (of: string): Buffer => text(1, of)
export function nested(depth: number): Buffer {
  let inner = value('x')
  for (let level = 0; level < depth; level += 1) inner = part(5, part(1, inner))
  return inner
}

export const attribute = (number: number, key: string, of = value('v')): Buffer =>
  part(number, text(1, key), part(2, of))

type SpanParts = { trace?: Buffer; span?: Buffer; parent?: Buffer; more?: readonly Buffer[] }

/** A span of a trace; ScopeSpans.spans. */
export function span(number: number, parts: SpanParts = {}): Buffer {
  const { trace = idOf(number, 16), span: own = idOf(number, 8), parent, more = [] } = parts
  const ids = [part(1, trace), part(2, own), ...(parent ? [part(4, parent)] : [])]
  return part(2, ...ids, text(5, `span ${number}`), ...more)
}

export const resource = (...attributes: readonly Buffer[]): Buffer => part(1, ...attributes)
export const scope = (...parts: readonly Buffer[]): Buffer => part(2, ...parts)
export const group = (...parts: readonly Buffer[]): Buffer => part(1, ...parts)

/** A request with these spans under one resource and scope. */
export function request(...spans: readonly Buffer[]): Buffer {
  const named = part(1, attribute(1, 'service.name'))
  return group(named, scope(part(1, text(1, 'scope')), ...spans))
}

export function repeated(bytes: Buffer, times: number): Buffer {
  return Buffer.concat(Array<Buffer>(times).fill(bytes))
}
