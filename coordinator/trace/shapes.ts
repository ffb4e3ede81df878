// What the wire may say where in an OTLP request, read off its descriptors once.
import { ScalarType, type DescField, type DescMessage } from '@bufbuild/protobuf'
import { ExportTraceServiceRequestSchema } from '#proto/opentelemetry/proto/collector/trace/v1/trace_service_pb.ts'

/** Wire types of protobuf; groups (3, 4) are none of ours. */
export const WIRE = { varint: 0, fixed64: 1, bytes: 2, fixed32: 5 } as const

export type Shape = { readonly name: string; readonly fields: ReadonlyMap<number, FieldShape> }

export type FieldShape = {
  readonly name: string
  readonly wire: number
  readonly isText: boolean
  readonly message: Shape | undefined
  /** Bit that stands for the field, or for the oneof it is in; 0 when it may come again. */
  readonly once: number
}

/** Shape of ExportTraceServiceRequest and of all that it holds. */
export const requestShape: Shape = shapeOf(ExportTraceServiceRequestSchema, new Map())

function shapeOf(desc: DescMessage, known: Map<string, Shape>): Shape {
  const found = known.get(desc.typeName)
  if (found) return found
  const fields = new Map<number, FieldShape>()
  const shape = { name: desc.name, fields }
  known.set(desc.typeName, shape)
  for (const field of desc.fields) {
    const message = field.message ? shapeOf(field.message, known) : undefined
    const isScalar = field.fieldKind === 'scalar' || field.fieldKind === 'list'
    const isText = isScalar && field.scalar === ScalarType.STRING
    const { name } = field
    fields.set(field.number, { name, wire: wireOf(field), isText, message, once: onceOf(field) })
  }
  return shape
}

function onceOf(field: DescField): number {
  if (field.fieldKind === 'list') return 0
  return 1 << (field.oneof ? (field.oneof.fields[0]?.number ?? 0) : field.number)
}

function wireOf(field: DescField): number {
  if (field.message) return WIRE.bytes
  switch (field.scalar) {
    case ScalarType.STRING:
    case ScalarType.BYTES:
      return WIRE.bytes
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
    case ScalarType.DOUBLE:
      return WIRE.fixed64
    case ScalarType.FIXED32:
    case ScalarType.SFIXED32:
    case ScalarType.FLOAT:
      return WIRE.fixed32
    case ScalarType.BOOL:
    case ScalarType.INT32:
    case ScalarType.INT64:
    case ScalarType.UINT32:
    case ScalarType.UINT64:
    case ScalarType.SINT32:
    case ScalarType.SINT64:
    case undefined: // an enum
      return WIRE.varint
  }
}
