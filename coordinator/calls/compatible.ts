// Whether two versions of a contract can work together: what we send is understood there, what they answer here, and
// neither reads a zero where the other means nothing. proto/README.md has the rules.
import {
  ErrorSemanticsSchema,
  FieldSemanticsSchema,
  Level,
  Purity,
  StepPolicySchema,
} from '#proto/wellspring/contract/v1/options_pb.ts'
import {
  reasonsEnumOf,
  type Contract,
  type EnumElement,
  type FieldElement,
  type MessageElement,
  type MethodElement,
  type ServiceElement,
} from '../../proto/canonical.ts'
import { textOf, type Json, type Options } from '../../proto/canonical-value.ts'
import { brokenRules, isDefinedOnly, isRequired, judgesZero } from './compatible-rules.ts'
import { nameOf } from '../core/pipeline/contract.ts'
import type { MethodUse, Sent } from './uses.ts'

/** Differences told of one contract. */
const DIFFERENCES_MAX = 20

/** The messages of one direction, and what of them matters. */
type Way =
  | { readonly to: 'service'; readonly sent: Sent }
  | { readonly to: 'us'; readonly read: ReadonlySet<string> }

/**
 * Why a replica that serves `theirs` cannot be called by who knows `ours`, each naming the element that differs; empty:
 * it can. `uses`: the methods that are called, with the fields that are given and read; left out: all of them.
 */
export function differences(
  ours: Contract,
  theirs: Contract,
  uses?: ReadonlyMap<string, MethodUse>,
): string[] {
  const comparison = new Comparison(ours, theirs)
  comparison.compare(uses)
  return comparison.found
}

class Comparison {
  readonly #ours: Contract
  readonly #theirs: Contract
  readonly #found = new Set<string>()
  /** Pairs of messages that were compared, by direction. */
  readonly #seen = new Set<string>()

  constructor(ours: Contract, theirs: Contract) {
    this.#ours = ours
    this.#theirs = theirs
  }

  get found(): string[] {
    const all = [...this.#found]
    const more = all.length - DIFFERENCES_MAX
    return more > 0 ? [...all.slice(0, DIFFERENCES_MAX), `and ${more} more differences`] : all
  }

  compare(uses: ReadonlyMap<string, MethodUse> | undefined): void {
    const [mine, its] = [serviceOf(this.#ours), serviceOf(this.#theirs)]
    for (const [name, method] of Object.entries(mine.methods)) {
      const use = uses === undefined ? ALL : uses.get(name)
      if (use) this.#method(name, [method, own(its.methods, name)], use)
    }
    this.#reasons(reasonsOf(this.#ours), reasonsOf(this.#theirs))
  }

  #say(difference: string): void {
    this.#found.add(difference)
  }

  #method(name: string, [mine, its]: Pair<MethodElement>, { sent, read }: MethodUse): void {
    if (!its) return this.#say(`method ${name} is not served there`)
    if (mine.stream !== its.stream)
      return this.#say(
        `method ${name} is ${its.stream ?? 'unary'} there, ${mine.stream ?? 'unary'} here`,
      )
    this.#policy(name, policyOf(mine), policyOf(its))
    this.#message({ to: 'service', sent }, mine.input, its.input)
    this.#message({ to: 'us', read }, mine.output, its.output)
  }

  #policy(name: string, mine: Policy, its: Policy): void {
    if (mine.level !== its.level)
      this.#say(
        `method ${name} works on ${nameOf(Level, its.level)} there, ${nameOf(Level, mine.level)} here`,
      )
    if (strengthOf(its.purity) < strengthOf(mine.purity))
      this.#say(
        `method ${name} is ${nameOf(Purity, its.purity)} there, ${nameOf(Purity, mine.purity)} here`,
      )
  }

  #reasons(mine: ReadonlyMap<string, Json>, its: ReadonlyMap<string, Json>): void {
    for (const [reason, declared] of mine) {
      const other = its.get(reason)
      if (other !== undefined && textOf(other) !== textOf(declared))
        this.#say(`error reason ${reason} has another class there`)
    }
  }

  #message(way: Way, ourType: string, theirType: string): void {
    const [mine, its] = [messageOf(this.#ours, ourType), messageOf(this.#theirs, theirType)]
    if (!mine || !its) {
      if (ourType !== theirType) this.#say(`${shortOf(ourType)} is ${word(theirType)} there`)
      return
    }
    // What is sent or read in part only is looked at each time: it is a tree, and ends.
    const pair = `${way.to} ${ourType} ${theirType}`
    const isWhole = way.to === 'us' ? way.read.size === 0 : way.sent === 'all'
    if (isWhole && this.#seen.has(pair)) return
    if (isWhole) this.#seen.add(pair)
    const type = shortOf(ourType)
    this.#rules(way, type, [mine.options, its.options])
    const oneofs = new Set([...Object.keys(mine.oneofs ?? {}), ...Object.keys(its.oneofs ?? {})])
    for (const name of oneofs)
      this.#rules(way, `${type}.${word(name)}`, [own(mine.oneofs, name), own(its.oneofs, name)])
    this.#fields(way, type, [mine, its])
  }

  #fields(way: Way, type: string, [mine, its]: readonly [MessageElement, MessageElement]): void {
    const theirNumbers = new Map(Object.entries(its.fields).map(([n, { name }]) => [name, n]))
    const ourNames = new Set(Object.values(mine.fields).map(({ name }) => name))
    for (const [number, field] of Object.entries(mine.fields)) {
      const place = `${type}.${field.name}`
      const [there, other] = [theirNumbers.get(field.name), own(its.fields, number)]
      if (there !== undefined && there !== number)
        this.#say(`${place} has number ${there} there, ${number} here`)
      else if (!other) this.#onlyHere(way, place, field)
      else if (other.name !== field.name)
        this.#say(`${place}: number ${number} is called ${word(other.name)} there`)
      else this.#field(way, place, [field, other])
    }
    for (const [number, field] of Object.entries(its.fields))
      if (!own(mine.fields, number) && !ourNames.has(field.name))
        this.#onlyThere(way, `${type}.${word(field.name)}`, field, mine)
  }

  #field(way: Way, place: string, [mine, its]: readonly [FieldElement, FieldElement]): void {
    const [here, there] = [travelsAs(mine), travelsAs(its)]
    if (here !== there) return this.#say(`${place} is ${there} there, ${here} here`)
    if (mine.oneof !== its.oneof)
      this.#say(
        `${place} is in oneof ${word(its.oneof ?? 'none')} there, ${mine.oneof ?? 'none'} here`,
      )
    if (textOf(mine.default ?? '') !== textOf(its.default ?? ''))
      this.#say(`${place} has another default there`)
    this.#meaning(place, mine.options, its.options)
    this.#rules(way, place, [mine.options, its.options])
    if (mine.of === undefined || its.of === undefined) return
    if (mine.type === 'enum') this.#enum(way, place, [mine, its])
    else this.#message(within(way, mine.name), mine.of, its.of)
  }

  /** Kind and unit, where both sides state them. */
  #meaning(place: string, mine: Options | undefined, its: Options | undefined): void {
    for (const about of ['kind', 'unit'] as const) {
      const number = FieldSemanticsSchema.field[about].number
      const [here, there] = [mine, its].map((options) => optionAt(options, MEANING, number))
      if (typeof here === 'string' && typeof there === 'string' && here !== there)
        this.#say(`${place} has ${about} "${plain(there)}" there, "${plain(here)}" here`)
    }
  }

  #rules(way: Way, place: string, [mine, its]: Pair<Options | undefined>): void {
    const same = (extension: string): boolean =>
      textOf(this.#ours.elements.get(extension) ?? '') ===
      textOf(this.#theirs.elements.get(extension) ?? '')
    const [kept, wanted] = way.to === 'service' ? [mine, its] : [its, mine]
    const broken = brokenRules(kept, wanted, same).map(word).join(', ')
    if (broken === '') return
    if (way.to === 'service')
      this.#say(`${place}: a rule there may refuse what is sent from here (${broken})`)
    else this.#say(`${place}: a rule here may refuse what is answered there (${broken})`)
  }

  #onlyHere(way: Way, place: string, field: FieldElement): void {
    if (way.to === 'service') {
      if (isSent(way.sent, field.name)) this.#say(`${place} is sent from here, and not known there`)
    } else if (field.holds !== 'explicit')
      this.#say(`${place} is not known there: it would read as ${EMPTY[field.holds]}`)
    else if (isRequired(field.options)) this.#say(`${place} is required here, and not known there`)
    else if (way.read.has(field.name))
      this.#say(`${place} is read by the pipeline, and not known there`)
  }

  #onlyThere(way: Way, place: string, field: FieldElement, mine: MessageElement): void {
    if (way.to === 'us') {
      const isChoice = Object.values(mine.fields).some(({ oneof }) => oneof === field.oneof)
      if (field.oneof !== undefined && isChoice)
        this.#say(`${place} is one more of oneof ${word(field.oneof)} there: it would read as none`)
      return
    }
    const mustBeBound = optionAt(field.options, MEANING, FieldSemanticsSchema.field.required.number)
    if (field.holds === 'required' || isRequired(field.options) || mustBeBound === true)
      this.#say(`${place} is required there, and not known here`)
    else if (field.holds !== 'explicit' && judgesZero(field.options))
      this.#say(`${place} has a rule there, and is not known here`)
  }

  #enum(way: Way, place: string, [mine, its]: readonly [FieldElement, FieldElement]): void {
    const [ours, theirs] = [enumOf(this.#ours, mine.of), enumOf(this.#theirs, its.of)]
    if (!ours || !theirs) {
      if (mine.of !== its.of) this.#say(`${place} is ${word(its.of ?? '')} there, ${mine.of} here`)
      return
    }
    const [here, there] = [namesByNumber(ours), namesByNumber(theirs)]
    const theirNumbers = new Map(theirs.values.map(([number, name]) => [name, number]))
    for (const [number, names] of here) {
      const moved = names.find((name) => (theirNumbers.get(name) ?? number) !== number)
      const others = there.get(number)
      if (moved !== undefined)
        this.#say(
          `${place}: ${moved} is ${plain(theirNumbers.get(moved) ?? '')} there, ${plain(number)} here`,
        )
      else if (others && !others.some((name) => names.includes(name)))
        this.#say(`${place}: ${plain(number)} is ${word(others[0] ?? '')} there, ${names[0]} here`)
      else if (!others && way.to === 'service' && isSent(way.sent, mine.name))
        this.#say(`${place}: ${names[0]} may be sent, and is not known there`)
    }
    if (way.to === 'service') return
    const more = [...there].find(([number]) => !here.has(number))
    if (more && (ours.closed || isDefinedOnly(mine.options)))
      this.#say(`${place}: ${word(more[1][0] ?? '')} may be answered there, and is refused here`)
  }
}

type Pair<T> = readonly [T, T | undefined]
type Policy = { readonly level: number; readonly purity: number }

const ALL: MethodUse = { sent: 'all', read: new Set() }
const EMPTY = { implicit: 'zero', repeated: 'empty', required: 'missing' } as const
const MEANING = '[wellspring.contract.v1.field]'

/** PURE is more than IDEMPOTENT_BY_KEY, and that more than NOT_IDEMPOTENT: what is not stated is nothing. */
function strengthOf(purity: number): number {
  return [
    Purity.UNSPECIFIED,
    Purity.NOT_IDEMPOTENT,
    Purity.IDEMPOTENT_BY_KEY,
    Purity.PURE,
  ].findIndex((one) => one === purity)
}

function policyOf({ options }: MethodElement): Policy {
  const number = (field: number): number => {
    const value = optionAt(options, '[wellspring.contract.v1.step]', field)
    return typeof value === 'string' ? Number(plain(value)) : 0
  }
  const { level, purity } = StepPolicySchema.field
  return { level: number(level.number), purity: number(purity.number) }
}

/** Classes of the error reasons, by name without the enum's prefix. */
function reasonsOf(contract: Contract): ReadonlyMap<string, Json> {
  const name = reasonsEnumOf(serviceOf(contract).options) ?? ''
  const prefix = `${shortOf(name)
    .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
    .toUpperCase()}_`
  const number = ErrorSemanticsSchema.field.class.number
  return new Map(
    enumOf(contract, name)?.values.flatMap(([, value, options]) => {
      const declared = optionAt(options, '[wellspring.contract.v1.error]', number)
      const reason = value.startsWith(prefix) ? value.slice(prefix.length) : value
      return declared === undefined ? [] : [[reason, declared] as const]
    }),
  )
}

function serviceOf({ elements, service }: Contract): ServiceElement {
  const element = elements.get(service)
  return element && 'methods' in element ? element : { methods: {} }
}

function messageOf({ elements }: Contract, type: string): MessageElement | undefined {
  const element = elements.get(type)
  return element && 'fields' in element ? element : undefined
}

function enumOf({ elements }: Contract, type: string | undefined): EnumElement | undefined {
  const element = type === undefined ? undefined : elements.get(type)
  return element && 'values' in element ? element : undefined
}

function namesByNumber({ values }: EnumElement): Map<string, string[]> {
  const names = new Map<string, string[]>()
  for (const [number, name] of values) names.set(number, [...(names.get(number) ?? []), name])
  return names
}

function travelsAs({ holds, type, key }: FieldElement): string {
  const item = key === undefined ? type : `map from ${key} to ${type}`
  return holds === 'implicit' ? item : `${holds === 'explicit' ? 'optional' : holds} ${item}`
}

function within(way: Way, field: string): Way {
  if (way.to === 'us') return { to: 'us', read: new Set() }
  return { to: 'service', sent: way.sent === 'all' ? 'all' : (way.sent.get(field) ?? new Map()) }
}

function isSent(sent: Sent, field: string): boolean {
  return sent === 'all' || sent.has(field)
}

function optionAt(options: Options | undefined, name: string, field: number): Json | undefined {
  const value = options?.[name]
  if (typeof value !== 'object' || Array.isArray(value)) return undefined
  return own(value as { readonly [key: string]: Json }, `${field}`)
}

function own<T>(record: Readonly<Record<string, T>> | undefined, key: string): T | undefined {
  return record && Object.hasOwn(record, key) ? record[key] : undefined
}

/** Without the mark of a canonical value, and as little of it as a person reads. */
function plain(value: string): string {
  return word(value.slice(2))
}

function shortOf(type: string): string {
  return word(type.slice(type.lastIndexOf('.') + 1))
}

/** Their names are text from outside. */
function word(text: string): string {
  return text.slice(0, 80).replace(/[^\w.[\]/%-]/g, '?')
}
