// The types that bindings join: what a source gives, what a request field takes, and whether they fit.
import {
  getOption,
  ScalarType,
  type DescEnum,
  type DescField,
  type DescMessage,
} from '@bufbuild/protobuf'
import { field as fieldOption } from '#proto/wellspring/contract/v1/options_pb.ts'
import { ArtifactSchema } from '#proto/wellspring/lab/v1/artifact_pb.ts'
import { ChannelKindSchema } from '#proto/wellspring/lab/v1/identity_pb.ts'
import { WellRoleSchema } from '#proto/wellspring/lab/v1/plan_pb.ts'
import type { Source } from './pipeline.ts'

/** A type, spelt for people and compared as text. */
export type Value = {
  readonly shape: string
  /** FieldSemantics.kind: '' is a kind of its own; undefined fits any (constants). */
  readonly semantic: string | undefined
}

/** Says why a given value does not fit where it is wanted; undefined: it does. */
export function fits(given: Value, wanted: Value): string | undefined {
  const widened = given.shape === 'integer' && wanted.shape === 'number'
  if (given.shape !== wanted.shape && !widened)
    return `wants ${wanted.shape}, is given ${given.shape}`
  if (given.semantic === undefined || given.semantic === wanted.semantic) return undefined
  return `wants kind "${wanted.semantic ?? ''}", is given kind "${given.semantic}"`
}

/** Type of a field. */
export function fieldValue(field: DescField): Value {
  const semantic = getOption(field, fieldOption).kind
  switch (field.fieldKind) {
    case 'scalar':
      return { shape: SCALARS[field.scalar], semantic }
    case 'enum':
      return { shape: enumShape(field.enum), semantic }
    case 'message':
      return { shape: messageShape(field.message), semantic }
    case 'map':
      return { shape: 'map', semantic }
    case 'list':
      return { shape: `list of ${itemShape(field)}`, semantic }
  }
}

function itemShape(field: DescField & { fieldKind: 'list' }): string {
  switch (field.listKind) {
    case 'scalar':
      return SCALARS[field.scalar]
    case 'enum':
      return enumShape(field.enum)
    case 'message':
      return messageShape(field.message)
  }
}

/** Type of what a source gives; outputs and each() are the checker's. undefined: no such source. */
export function sourceValue(
  source: Exclude<Source, { kind: 'each' | 'output' }>,
): Value | undefined {
  switch (source.kind) {
    case 'image':
      return IMAGE[source.field]
    case 'channel-image':
      return IMAGE[source.field ?? 'artifact']
    case 'identity':
      return IDENTITY[source.field]
    case 'plan':
      return { shape: enumShape(WellRoleSchema), semantic: '' }
    case 'close':
      return CLOSE[source.field]
    case 'constant':
      return { shape: constantShape(source.value), semantic: undefined }
  }
}

function constantShape(value: string | number | boolean): string {
  if (typeof value === 'number') return Number.isInteger(value) ? 'integer' : 'number'
  return typeof value
}

function enumShape(desc: DescEnum): string {
  return `enum ${desc.typeName}`
}

function messageShape(desc: DescMessage): string {
  return `message ${desc.typeName}`
}

const INTEGER: Value = { shape: 'integer', semantic: '' }
const TEXT: Value = { shape: 'string', semantic: '' }
const IMAGE = {
  artifact: { shape: messageShape(ArtifactSchema), semantic: 'image.raw' },
  channelKind: { shape: enumShape(ChannelKindSchema), semantic: '' },
  detectorCeiling: INTEGER,
  pixelOffset: INTEGER,
} as const
const IDENTITY = {
  well: TEXT,
  site: INTEGER,
  z: INTEGER,
  channel: TEXT,
  timePoint: INTEGER,
} as const
const CLOSE = {
  expected: INTEGER,
  done: INTEGER,
  holes: { shape: 'list of string', semantic: '' },
} as const

const SCALARS: Readonly<Record<ScalarType, string>> = {
  [ScalarType.STRING]: 'string',
  [ScalarType.BOOL]: 'boolean',
  [ScalarType.BYTES]: 'bytes',
  [ScalarType.DOUBLE]: 'number',
  [ScalarType.FLOAT]: 'number',
  [ScalarType.INT32]: 'integer',
  [ScalarType.SINT32]: 'integer',
  [ScalarType.UINT32]: 'integer',
  [ScalarType.FIXED32]: 'integer',
  [ScalarType.SFIXED32]: 'integer',
  [ScalarType.INT64]: '64-bit integer',
  [ScalarType.UINT64]: '64-bit integer',
  [ScalarType.SINT64]: '64-bit integer',
  [ScalarType.FIXED64]: '64-bit integer',
  [ScalarType.SFIXED64]: '64-bit integer',
}
