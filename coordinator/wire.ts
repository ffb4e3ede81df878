// What the bytes of a message hold, before it is decoded: how many fields its contract does not know, and how many
// messages. Decoded, a message of two bytes is an object of two hundred, and 1 MB of them takes seconds to validate.
import type { DescMessage } from '@bufbuild/protobuf'

export type Looked = {
  /** Fields that the contract does not know, at any level, and their bytes. */
  unknownFields: number
  unknownBytes: number
  /** Number of the first of them, and of the message field that it is in, if it is in one: "2.999". */
  firstUnknown: string
  /** Messages within the message. */
  messages: number
}

const WIRE = { varint: 0, fixed64: 1, bytes: 2, group: 3, groupEnd: 4, fixed32: 5 } as const
const DEPTH_MAX = 32
const VARINT_BYTES_MAX = 10

/** Message fields by number; null: a field of another kind. */
type Fields = ReadonlyMap<number, DescMessage | null>
const known = new WeakMap<DescMessage, Fields>()

/** Looks as far as the bytes can be read: decoding tells what is wrong with the rest. */
export function look(schema: DescMessage, bytes: Uint8Array): Looked {
  const looked = { unknownFields: 0, unknownBytes: 0, firstUnknown: '', messages: 0 }
  walk(new Wire(bytes), bytes.length, { schema, above: '', depth: 0, looked })
  return looked
}

type Level = {
  readonly schema: DescMessage
  readonly above: string
  readonly depth: number
  readonly looked: Looked
}

/** False: the bytes cannot be read further. */
function walk(wire: Wire, end: number, level: Level): boolean {
  const { schema, above, depth, looked } = level
  const fields = fieldsOf(schema)
  while (wire.at < end) {
    const from = wire.at
    const tag = wire.varint()
    const number = tag >>> 3
    const field = fields.get(number)
    if (field && (tag & 7) === WIRE.bytes && depth < DEPTH_MAX) {
      const length = wire.varint()
      if (!(wire.at + length <= end)) return false
      looked.messages += 1
      const inner = { schema: field, above: `${above}${number}.`, depth: depth + 1, looked }
      if (!walk(wire, wire.at + length, inner)) return false
      continue
    }
    if (!wire.skip(tag, end)) return false
    if (field !== undefined) continue
    if (looked.unknownFields === 0) looked.firstUnknown = `${above}${number}`
    looked.unknownFields += 1
    looked.unknownBytes += wire.at - from
  }
  return wire.at === end
}

function fieldsOf(schema: DescMessage): Fields {
  const found = known.get(schema)
  if (found) return found
  const made = new Map(schema.fields.map((field) => [field.number, field.message ?? null]))
  known.set(schema, made)
  return made
}

class Wire {
  at = 0
  readonly #bytes: Uint8Array

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  /** The low 32 bits; what is too long reads on to the end, where everything is refused. */
  varint(): number {
    let value = 0
    for (let index = 0; index < VARINT_BYTES_MAX; index += 1) {
      const byte = this.#bytes[this.at++]
      if (byte === undefined) break
      if (index < 5) value |= (byte & 0x7f) << (7 * index)
      if (byte < 0x80) return value >>> 0
    }
    this.at = Infinity
    return 0
  }

  /** False: the value does not end before `end`. */
  skip(tag: number, end: number): boolean {
    let groups = 0
    for (let next = tag; ; next = this.varint()) {
      switch (next & 7) {
        case WIRE.varint:
          this.varint()
          break
        case WIRE.fixed64:
          this.at += 8
          break
        case WIRE.bytes: {
          // Before it is added: reading it moves.
          const length = this.varint()
          this.at += length
          break
        }
        case WIRE.group:
          groups += 1
          break
        case WIRE.groupEnd:
          groups -= 1
          break
        case WIRE.fixed32:
          this.at += 4
          break
        default:
          return false
      }
      if (this.at > end || groups < 0) return false
      if (groups === 0) return true
    }
  }
}
