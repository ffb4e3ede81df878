// Values in the canonical form of a contract: options, defaults, and the shape of a field.
import {
  create,
  fromBinary,
  getExtension,
  mergeFromBinary,
  ScalarType,
  type DescExtension,
  type DescField,
  type Message,
} from '@bufbuild/protobuf'
import {
  isReflectList,
  isReflectMap,
  isReflectMessage,
  reflect,
  type ReflectMessage,
} from '@bufbuild/protobuf/reflect'
import { BinaryReader } from '@bufbuild/protobuf/wire'
import {
  FeatureSet_FieldPresence as Presence,
  FieldOptions_OptionRetention as Retention,
} from '@bufbuild/protobuf/wkt'

/** Texts of values begin with a mark: s: string, i: whole number, d: the 8 bytes of a double in hex, b: bytes in hex. */
export type Json = string | boolean | readonly Json[] | { readonly [key: string]: Json }

/** One line of JSON without spaces, keys in the order of their bytes. */
export function textOf(json: Json): string {
  if (typeof json !== 'object') return JSON.stringify(json)
  if (isList(json)) return `[${json.map(textOf).join(',')}]`
  const pairs = Object.entries(json)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${JSON.stringify(key)}:${textOf(value)}`)
  return `{${pairs.join(',')}}`
}

function isList(json: Json): json is readonly Json[] {
  return Array.isArray(json)
}

/** An extension by extendee and number; undefined: it does not count. */
export type FindExtension = (extendee: string, number: number) => DescExtension | undefined

/**
 * The extensions that are set on a message, by "[full name]": of an options message that is all that counts, since the
 * options of protobuf itself say how code is generated.
 */
export function extensionsOn(holder: Message, find: FindExtension): Record<string, Json> {
  const found: Record<string, Json> = {}
  for (const number of new Set(holder.$unknown?.map(({ no }) => no))) {
    const extension = find(holder.$typeName, number)
    if (!extension) continue
    const value = valuesOf(extension, rawExtension(holder, extension), find)
    if (!isEmptyList(value)) found[`[${extension.typeName}]`] = value
  }
  return found
}

/** Compilers leave such options out of the descriptors that programs carry. */
export function isOfSourceOnly({ proto }: DescField | DescExtension): boolean {
  return proto.options?.retention === Retention.RETENTION_SOURCE
}

function isEmptyList(value: Json): boolean {
  return Array.isArray(value) && value.length === 0
}

/** Messages as messages: getExtension would unwrap those of google.protobuf that stand for a plain value. */
function rawExtension(holder: Message, extension: DescExtension): unknown {
  const { message } = extension
  if (!message || extension.delimitedEncoding) return getExtension(holder, extension)
  const records = (holder.$unknown ?? []).filter(({ no }) => no === extension.number)
  const parts = records.map(({ data }) => new BinaryReader(data).bytes())
  if (extension.fieldKind === 'list') return parts.map((bytes) => fromBinary(message, bytes))
  const whole = create(message)
  for (const bytes of parts) mergeFromBinary(message, whole, bytes)
  return whole
}

function messageValue(message: ReflectMessage, find: FindExtension): Json {
  const found = extensionsOn(message.message, find)
  for (const field of message.sortedFields) {
    if (!message.isSet(field) || isOfSourceOnly(field)) continue
    found[`${field.number}`] = valuesOf(field, message.get(field), find)
  }
  return found
}

function valuesOf(field: DescField | DescExtension, value: unknown, find: FindExtension): Json {
  if (Array.isArray(value)) return value.map((one) => valueOf(field, one, find))
  if (isReflectList(value)) return [...value].map((one) => valueOf(field, one, find))
  if (!isReflectMap(value) || field.fieldKind !== 'map') return valueOf(field, value, find)
  return [...value.entries()]
    .map(([key, one]) => [scalarValue(field.mapKey, key), valueOf(field, one, find)])
    .toSorted((a, b) => Buffer.compare(Buffer.from(textOf(a)), Buffer.from(textOf(b))))
}

function valueOf(field: DescField | DescExtension, value: unknown, find: FindExtension): Json {
  if (field.message) {
    const message = isReflectMessage(value) ? value : reflect(field.message, value as Message)
    return messageValue(message, find)
  }
  return scalarValue(field.scalar ?? ScalarType.INT32, value)
}

function scalarValue(type: ScalarType, value: unknown): Json {
  switch (type) {
    case ScalarType.BOOL:
      return value === true
    case ScalarType.STRING:
      return `s:${String(value)}`
    case ScalarType.BYTES:
      return `b:${Buffer.from(value as Uint8Array).toString('hex')}`
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT: {
      if (Number.isNaN(value)) return 'd:nan'
      const bytes = Buffer.alloc(8)
      bytes.writeDoubleBE(value as number)
      return `d:${bytes.toString('hex')}`
    }
    case ScalarType.INT32:
    case ScalarType.SINT32:
    case ScalarType.UINT32:
    case ScalarType.FIXED32:
    case ScalarType.SFIXED32:
    case ScalarType.INT64:
    case ScalarType.SINT64:
    case ScalarType.UINT64:
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return `i:${String(value)}`
  }
}

const HOLDS = {
  [Presence.IMPLICIT]: 'implicit',
  [Presence.EXPLICIT]: 'explicit',
  [Presence.LEGACY_REQUIRED]: 'required',
} as const

/** Options by "[full name]". */
export type Options = Readonly<Record<string, Json>>

/** What a field is called and how it travels. */
export type Shape = {
  readonly name: string
  /** As descriptor.proto calls it: double, …, message, group, enum; of a map, its values'. */
  readonly type: string
  readonly holds: 'implicit' | 'explicit' | 'required' | 'repeated'
  /** Of a map, the type of its keys. */
  readonly key?: string
  /** Full name of its message or enum. */
  readonly of?: string
  readonly oneof?: string
  readonly json?: string
  readonly default?: Json
}

export function shapeOf(field: DescField | DescExtension): Shape {
  const of = field.message?.typeName ?? field.enum?.typeName
  const isMap = field.fieldKind === 'map'
  const { proto, oneof } = field
  return {
    name: field.name,
    type: typeOf(field),
    holds: isMap || field.fieldKind === 'list' ? 'repeated' : HOLDS[field.presence],
    ...(isMap && { key: nameOfScalar(field.mapKey) }),
    ...(of !== undefined && { of }),
    ...(oneof && { oneof: oneof.name }),
    ...(!usualJsonNames(field.name).has(proto.jsonName) && { json: proto.jsonName }),
    ...(proto.defaultValue !== '' && { default: defaultOf(field) }),
  }
}

function defaultOf(field: DescField | DescExtension): Json {
  const value = 'getDefaultValue' in field ? field.getDefaultValue?.() : undefined
  return scalarValue(field.scalar ?? ScalarType.INT32, value)
}

function typeOf(field: DescField | DescExtension): string {
  if (field.message) return field.delimitedEncoding ? 'group' : 'message'
  return field.enum ? 'enum' : nameOfScalar(field.scalar ?? ScalarType.INT32)
}

function nameOfScalar(type: ScalarType): string {
  return ScalarType[type].toLowerCase()
}

/** What json_name is where nobody chose it: left out by some compilers, made of the field's name by others. */
function usualJsonNames(name: string): ReadonlySet<string> {
  return new Set(['', name.replace(/_+(.?)/g, (_, next: string) => next.toUpperCase())])
}
