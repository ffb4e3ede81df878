// A pipeline as data: steps, and where each request field comes from. A misspelt or mistyped binding does not
// compile; check.ts says the same of pipelines at start, against the descriptors.
import type { DescMessage, DescMethodUnary, MessageShape } from '@bufbuild/protobuf'
import type { Level, StepPolicy } from '#proto/wellspring/contract/v1/options_pb.ts'
import type { Artifact } from '#proto/wellspring/lab/v1/artifact_pb.ts'
import type { ChannelKind } from '#proto/wellspring/lab/v1/identity_pb.ts'
import type { WellRole } from '#proto/wellspring/lab/v1/plan_pb.ts'
import type { BandPolicy } from './bands.ts'

/** Where a value comes from. Paths are field names as protobuf-es spells them (localName). */
export type Source =
  | { readonly kind: 'image'; readonly field: ImageField }
  | {
      readonly kind: 'channel-image'
      readonly channelKind: ChannelKind
      /** Default: artifact. */
      readonly field?: 'artifact' | 'pixelOffset'
    }
  | { readonly kind: 'output'; readonly step: string; readonly field: string }
  | { readonly kind: 'identity'; readonly field: 'well' | 'site' | 'z' | 'channel' | 'timePoint' }
  | { readonly kind: 'plan'; readonly field: 'wellRole' }
  | { readonly kind: 'close'; readonly field: 'expected' | 'done' | 'holes' }
  | { readonly kind: 'constant'; readonly value: string | number | boolean }
  | {
      readonly kind: 'each'
      readonly at: EachOf
      readonly fields: Readonly<Record<string, Source>>
    }

export type ImageField = 'artifact' | 'channelKind' | 'detectorCeiling' | 'pixelOffset'

/** 'members': every done member; 'reference-z': at site level only the images at the plan's reference z. */
export type EachOf = 'members' | 'reference-z'

declare const gives: unique symbol

/** A Source whose value has type T. T is a phantom: the compiler checks it, nothing carries it. */
export type From<T> = Source & { readonly [gives]: T }

export type StepSpec = {
  readonly name: string
  readonly method: DescMethodUnary
  readonly inputs: Readonly<Record<string, Source>>
}

/** A step handle that remembers its output type, so that out(handle, 'field') is checked. */
export type StepHandle<O extends DescMessage> = StepSpec & { readonly output?: O }

type Fields<T> = Omit<T, '$typeName' | '$unknown' | 'context'>

/** Members as each() gives them. `keys` makes a field that the request does not have an error. */
type Members<Item, Keys> = { readonly item: Item; readonly keys: Keys }
type BoundMembers<Item> = Members<
  { readonly [K in keyof Fields<Item>]?: NonNullable<Item[K & keyof Item]> },
  keyof Fields<Item> & string
>
type Unwrap<T> = [T] extends [readonly (infer Item)[]]
  ? From<readonly Item[]> | (Item extends object ? From<BoundMembers<Item>> : never)
  : From<T>
export type Inputs<I extends DescMessage> = {
  readonly [K in keyof Fields<MessageShape<I>>]?: Unwrap<NonNullable<MessageShape<I>[K]>>
}

/** Declares a step: its name, its contract, and where every request field comes from. */
export function step<I extends DescMessage, O extends DescMessage>(
  name: string,
  method: DescMethodUnary<I, O>,
  inputs: Inputs<I>,
): StepHandle<O> {
  return { name, method, inputs: inputs as Readonly<Record<string, Source>> }
}

/** A field of an earlier step's response on the same entity, or inside each() of a member's. */
export function out<O extends DescMessage, K extends keyof Fields<MessageShape<O>> & string>(
  from: StepHandle<O>,
  field: K,
): From<NonNullable<MessageShape<O>[K]>> {
  return source({ kind: 'output', step: from.name, field })
}

/** One item per done member of the level below, with fields bound inside the member. */
export function each<F extends Readonly<Record<string, From<unknown>>>>(
  fields: F,
  at: EachOf = 'members',
): From<Members<{ readonly [K in keyof F]: Given<F[K]> }, keyof F & string>> {
  return source({ kind: 'each', at, fields })
}
type Given<S> = S extends { readonly [gives]: infer T } ? T : never

/** The artifact of the first channel of this kind at the plan's reference z; without it the step is skipped. */
export function channelImage(channelKind: ChannelKind): From<Artifact> {
  return source({ kind: 'channel-image', channelKind })
}

/** Grey level of no light in that image; 0 where nobody states one. */
export function channelPixelOffset(channelKind: ChannelKind): From<number> {
  return source({ kind: 'channel-image', channelKind, field: 'pixelOffset' })
}

export const image = {
  artifact: source<Artifact>({ kind: 'image', field: 'artifact' }),
  channelKind: source<ChannelKind>({ kind: 'image', field: 'channelKind' }),
  detectorCeiling: source<number>({ kind: 'image', field: 'detectorCeiling' }),
  pixelOffset: source<number>({ kind: 'image', field: 'pixelOffset' }),
} as const

export const identity = {
  well: source<string>({ kind: 'identity', field: 'well' }),
  site: source<number>({ kind: 'identity', field: 'site' }),
  channel: source<string>({ kind: 'identity', field: 'channel' }),
} as const

export const plan = { wellRole: source<WellRole>({ kind: 'plan', field: 'wellRole' }) } as const

export const close = {
  expected: source<number>({ kind: 'close', field: 'expected' }),
  done: source<number>({ kind: 'close', field: 'done' }),
  holes: source<readonly string[]>({ kind: 'close', field: 'holes' }),
} as const

/** A fixed value. */
export function constant<T extends string | number | boolean>(value: T): From<T> {
  return source({ kind: 'constant', value })
}

function source<T>(plain: Source): From<T> {
  return plain as From<T>
}

export type PipelineSpec = {
  readonly name: string
  readonly version: number
  readonly steps: readonly StepSpec[]
  readonly bands: BandPolicy
}

/** The policy of a step in milliseconds, from its contract's options. */
export type Policy = {
  readonly level: Level
  readonly purity: StepPolicy['purity']
  readonly attemptTimeoutMs: number
  readonly totalTimeoutMs: number
  readonly attemptsMax: number
  readonly backoffInitialMs: number
  readonly backoffMaxMs: number
  readonly backoffMultiplier: number
  readonly inFlightMaxPerReplica: number
  readonly onPoison: StepPolicy['onPoison']
}

/** A step, checked and ready to run. */
export type Step = StepSpec & {
  readonly index: number
  readonly policy: Policy
  /** Steps of the same level whose outputs it needs. */
  readonly needs: readonly string[]
}

/** A pipeline, checked and ready to run. */
export type Pipeline = {
  readonly name: string
  readonly version: number
  /** name-version, as in result keys. */
  readonly label: string
  readonly steps: readonly Step[]
  /** Steps of a level, in order. */
  at(level: Level): readonly Step[]
  readonly bands: BandPolicy
}
