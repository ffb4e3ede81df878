// The canonical form of a contract: one text for all that a service's descriptors reach, the same from every language
// and compiler. README.md says what is in it; digest.py is the same in Python.
import type {
  DescEnum,
  DescExtension,
  DescField,
  DescFile,
  DescMessage,
  DescMethod,
  DescService,
  Message,
} from '@bufbuild/protobuf'
import { MethodOptions_IdempotencyLevel as Idempotency } from '@bufbuild/protobuf/wkt'
import { nestedTypes } from '@bufbuild/protobuf/reflect'
import {
  extensionsOn,
  isOfSourceOnly,
  shapeOf,
  textOf,
  type Json,
  type Options,
  type Shape,
} from './canonical-value.ts'

/** Grows when the form changes, so that digests of two forms are never equal. */
const format = 'i:1'

/** What a service reaches, by full name. */
export type Contract = {
  readonly service: string
  readonly elements: ReadonlyMap<string, Element>
}
export type Element = ServiceElement | MessageElement | EnumElement | ExtensionElement

type Optioned = { readonly options?: Options }
export type ServiceElement = Optioned & {
  readonly methods: Readonly<Record<string, MethodElement>>
}
export type MethodElement = Optioned & {
  readonly input: string
  readonly output: string
  readonly stream?: string
  readonly idempotency?: string
}
export type MessageElement = Optioned & {
  /** By number. */
  readonly fields: Readonly<Record<string, FieldElement>>
  readonly oneofs?: Readonly<Record<string, Options>>
}
export type FieldElement = Shape & Optioned
export type EnumElement = Optioned & {
  readonly values: readonly ValueElement[]
  readonly closed?: true
}
/** Number, name, and options. */
export type ValueElement = readonly [string, string] | readonly [string, string, Options]
export type ExtensionElement = Shape &
  Optioned & { readonly extends: string; readonly number: string }

/**
 * All that the service reaches: its methods, the messages and enums below them, the enum of its error reasons, and the
 * options of each. Throws an Error when an option cannot be decoded.
 */
export function contractOf(service: DescService): Contract {
  const walk = new Walk(service.file)
  walk.addService(service)
  return { service: service.typeName, elements: walk.elements }
}

/** The contract as one line of JSON with sorted keys. */
export function canonicalContract(service: DescService): string {
  const { elements } = contractOf(service)
  return textOf({ format, service: service.typeName, elements: Object.fromEntries(elements) })
}

/** Collects elements by full name. Types of google.protobuf are named, not opened: every language brings its own. */
class Walk {
  readonly elements = new Map<string, Element>()
  /** By extendee and number: the extensions of all files that the service's file imports, directly or not. */
  readonly #extensions = new Map<string, DescExtension>()
  readonly #enums = new Map<string, DescEnum>()

  constructor(file: DescFile) {
    for (const one of withImports(file))
      for (const type of nestedTypes(one)) {
        if (type.kind === 'extension')
          this.#extensions.set(`${type.extendee.typeName}#${type.number}`, type)
        if (type.kind === 'enum') this.#enums.set(type.typeName, type)
      }
  }

  addService(service: DescService): void {
    const methods = service.methods.map((method) => [method.name, this.#method(method)] as const)
    const { options } = this.#options(service)
    this.elements.set(service.typeName, {
      methods: Object.fromEntries(methods),
      ...(options && { options }),
    })
    const reasons = reasonsEnumOf(options)
    const declared = reasons === undefined ? undefined : this.#enums.get(reasons)
    if (declared) this.#addEnum(declared)
  }

  #method(method: DescMethod): MethodElement {
    this.#addMessage(method.input)
    this.#addMessage(method.output)
    const { idempotency, methodKind } = method
    return {
      input: method.input.typeName,
      output: method.output.typeName,
      ...(methodKind !== 'unary' && { stream: methodKind }),
      ...(idempotency !== Idempotency.IDEMPOTENCY_UNKNOWN && { idempotency: `i:${idempotency}` }),
      ...this.#options(method),
    }
  }

  #addMessage(message: DescMessage): void {
    if (this.elements.has(message.typeName) || isWellKnown(message)) return
    this.elements.set(message.typeName, { fields: {} }) // it may reach itself
    const fields = message.fields.map((field) => [`${field.number}`, this.#field(field)] as const)
    const oneofs = message.oneofs.flatMap((oneof) => {
      const { options } = this.#options(oneof)
      return options ? [[oneof.name, options] as const] : []
    })
    this.elements.set(message.typeName, {
      fields: Object.fromEntries(fields),
      ...(oneofs.length > 0 && { oneofs: Object.fromEntries(oneofs) }),
      ...this.#options(message),
    })
  }

  #field(field: DescField): FieldElement {
    if (field.message) this.#addMessage(field.message)
    if (field.enum) this.#addEnum(field.enum)
    return { ...shapeOf(field), ...this.#options(field) }
  }

  #addEnum(declared: DescEnum): void {
    if (this.elements.has(declared.typeName) || isWellKnown(declared)) return
    const values = declared.values
      .map(({ name, number, proto }): ValueElement => {
        const { options } = this.#options({ proto })
        return options ? [`i:${number}`, name, options] : [`i:${number}`, name]
      })
      .toSorted((a, b) => (textOf(a) < textOf(b) ? -1 : 1))
    this.elements.set(declared.typeName, {
      values,
      ...(!declared.open && { closed: true }),
      ...this.#options(declared),
    })
  }

  /** An extension that an option uses counts with its own definition: it may be a rule. Its type is not opened. */
  #addExtension(extension: DescExtension): void {
    if (this.elements.has(extension.typeName)) return
    const number = `i:${extension.number}`
    const element = { ...shapeOf(extension), extends: extension.extendee.typeName, number }
    this.elements.set(extension.typeName, element) // its options may use itself
    this.elements.set(extension.typeName, { ...element, ...this.#options(extension) })
  }

  #options({ proto: { options } }: Described): Optioned {
    if (!options) return {}
    const found = extensionsOn(options, (extendee, number) => {
      const extension = this.#extensions.get(`${extendee}#${number}`)
      if (!extension || isOfSourceOnly(extension)) return undefined
      this.#addExtension(extension)
      return extension
    })
    return Object.keys(found).length > 0 ? { options: found } : {}
  }
}

type Described = { readonly proto: { readonly options?: Message | undefined } }

/** The service's errors_enum: named by a text, so that nothing else reaches it. */
export function reasonsEnumOf(options: Options | undefined): string | undefined {
  const policy = options?.['[wellspring.contract.v1.service]']
  const name = isObject(policy) ? policy['2'] : undefined
  return typeof name === 'string' ? name.slice('s:'.length) : undefined
}

function isObject(json: Json | undefined): json is { readonly [key: string]: Json } {
  return typeof json === 'object' && !Array.isArray(json)
}

function isWellKnown({ typeName }: DescMessage | DescEnum): boolean {
  return typeName.startsWith('google.protobuf.')
}

/** All that a file imports, directly or not, and the file itself: each after what it imports. */
export function withImports(file: DescFile, found = new Set<DescFile>()): ReadonlySet<DescFile> {
  if (found.has(file)) return found
  for (const dependency of file.dependencies) withImports(dependency, found)
  return found.add(file)
}
