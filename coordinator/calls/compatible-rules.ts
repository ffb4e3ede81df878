// Validation rules of two versions of a contract: whether what keeps the one keeps the other.
import type { DescMessage } from '@bufbuild/protobuf'
import {
  FieldRulesSchema,
  Ignore,
  MessageRulesSchema,
  OneofRulesSchema,
} from '#proto/buf/validate/validate_pb.ts'
import { textOf, type Json, type Options } from '../../proto/canonical-value.ts'

/** Whether an extension of a rules message is defined alike on both sides, by its full name. */
export type SameRule = (extension: string) => boolean

const SCHEMAS = {
  '[buf.validate.field]': FieldRulesSchema,
  '[buf.validate.message]': MessageRulesSchema,
  '[buf.validate.oneof]': OneofRulesSchema,
} as const

/** Rules by path, for instance string.min_len. */
type Rules = ReadonlyMap<string, Json>

/** Names of the rules among `wanted` that a value may break although it keeps all those of `kept`. */
export function brokenRules(
  kept: Options | undefined,
  wanted: Options | undefined,
  same: SameRule,
): string[] {
  const [given, asked] = [rulesOf(kept), rulesOf(wanted)]
  if (asked.get('ignore') === `i:${Ignore.ALWAYS}`) return []
  const isIgnored =
    given.has('ignore') && textOf(given.get('ignore') ?? '') !== textOf(asked.get('ignore') ?? '')
  return [...asked]
    .filter(([path]) => path !== 'ignore' && !path.endsWith('.example'))
    .filter(([path, value]) => isIgnored || !isKept(given, path, value, same))
    .map(([path]) => path)
}

/** Whether a field must be there. */
export function isRequired(options: Options | undefined): boolean {
  return rulesOf(options).get('required') === true
}

/** Whether a rule looks at a value that nobody gave, for a field that cannot tell whether it was given. */
export function judgesZero(options: Options | undefined): boolean {
  const rules = rulesOf(options)
  return rules.size > 0 && !rules.has('ignore')
}

/** Whether an enum's field takes values of its definition only. */
export function isDefinedOnly(options: Options | undefined): boolean {
  const rules = rulesOf(options)
  return ['', 'repeated.items.', 'map.values.'].some(
    (place) => rules.get(`${place}enum.defined_only`) === true,
  )
}

function rulesOf(options: Options | undefined): Rules {
  const rules = new Map<string, Json>()
  for (const [name, schema] of Object.entries(SCHEMAS)) {
    const declared = options?.[name]
    if (isObject(declared)) collect(declared, schema, '', rules)
  }
  return rules
}

function collect(
  declared: { readonly [number: string]: Json },
  schema: DescMessage,
  path: string,
  into: Map<string, Json>,
): void {
  for (const [number, value] of Object.entries(declared)) {
    const field = schema.fields.find((one) => `${one.number}` === number)
    const name = `${path}${field?.name ?? number}`
    const isGroup = field?.fieldKind === 'message' && field.message.typeName.endsWith('Rules')
    if (isGroup && isObject(value)) collect(value, field.message, `${name}.`, into)
    else into.set(name, value)
  }
}

function isKept(given: Rules, path: string, value: Json, same: SameRule): boolean {
  const mine = given.get(path)
  const extension = /\[(.+)\]$/.exec(path)?.[1]
  if (extension !== undefined && !same(extension)) return false
  if (mine !== undefined && textOf(mine) === textOf(value)) return true
  const name = path.slice(path.lastIndexOf('.') + 1)
  if (isList(value)) return isListKept(mine, value, name)
  return isBoundKept(given, path, value)
}

/** Of what is allowed, less is stricter; of all else, each item is a rule of its own. */
function isListKept(mine: Json | undefined, value: readonly Json[], name: string): boolean {
  if (!isList(mine)) return false
  const [fewer, more] = name === 'in' ? [mine, value] : [value, mine]
  const known = new Set(more.map(expressionOf))
  return fewer.every((item) => known.has(expressionOf(item)))
}

/** A CEL rule is its expression; id and message are for people. */
function expressionOf(item: Json): string {
  return textOf(isObject(item) ? (item['3'] ?? item) : item)
}

const BOUNDS: Readonly<Record<string, { readonly upper: boolean; readonly open: boolean }>> = {
  lt: { upper: true, open: true },
  lte: { upper: true, open: false },
  gt: { upper: false, open: true },
  gte: { upper: false, open: false },
}
const SIZES: Readonly<Record<string, { readonly upper: boolean; readonly exact: string }>> = {
  min_len: { upper: false, exact: 'len' },
  max_len: { upper: true, exact: 'len' },
  min_bytes: { upper: false, exact: 'len_bytes' },
  max_bytes: { upper: true, exact: 'len_bytes' },
  min_items: { upper: false, exact: '' },
  max_items: { upper: true, exact: '' },
  min_pairs: { upper: false, exact: '' },
  max_pairs: { upper: true, exact: '' },
}

/** A narrower range keeps a wider one. A range that goes round (gt above lt) keeps only itself. */
function isBoundKept(given: Rules, path: string, value: Json): boolean {
  const group = path.slice(0, path.lastIndexOf('.') + 1)
  const name = path.slice(group.length)
  const limit = numberOf(value)
  if (limit === undefined) return false
  const at = (rule: string): number | undefined => numberOf(given.get(group + rule))
  const size = SIZES[name]
  if (size) {
    const mine = at(name) ?? at(size.exact)
    return mine !== undefined && (size.upper ? mine <= limit : mine >= limit)
  }
  const bound = BOUNDS[name]
  if (!bound || goesRound(at)) return false
  const [open, closed] = bound.upper ? [at('lt'), at('lte')] : [at('gt'), at('gte')]
  const sign = bound.upper ? 1 : -1
  if (open !== undefined && sign * open <= sign * limit) return true
  if (closed === undefined) return false
  return bound.open ? sign * closed < sign * limit : sign * closed <= sign * limit
}

function goesRound(at: (rule: string) => number | undefined): boolean {
  const [upper, lower] = [at('lt') ?? at('lte'), at('gt') ?? at('gte')]
  return upper !== undefined && lower !== undefined && lower > upper
}

function numberOf(value: Json | undefined): number | undefined {
  if (typeof value !== 'string') return undefined
  if (value.startsWith('i:')) return Number(value.slice(2))
  return /^d:[0-9a-f]{16}$/.test(value)
    ? Buffer.from(value.slice(2), 'hex').readDoubleBE()
    : undefined
}

function isObject(json: Json | undefined): json is { readonly [key: string]: Json } {
  return typeof json === 'object' && !Array.isArray(json)
}

function isList(json: Json | undefined): json is readonly Json[] {
  return Array.isArray(json)
}
