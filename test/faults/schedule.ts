// What goes wrong when, drawn from a seed: the same seed is the same list. Pure; run.ts carries it out.
import { deck, diceOf } from './dice.ts'
import { kindFaults, kindsMs, type Kind, type KindFault } from './kinds/draw.ts'
import { isOfFlush, POINTS } from './points.ts'

const HOUR_MS = 3_600_000

/** Ways of an answer to be wrong; the service that lies takes them from its mode file. */
export const LIES = [
  'hang',
  'slow',
  'late',
  'refuse',
  'unavailable',
  'garbage',
  'empty',
  'short',
  'twice',
] as const
export type Lie = (typeof LIES)[number]

/** Records on the inputs that nobody can take in. */
export const POISONS = [
  'undecodable',
  'undecodable-command',
  'wrong-type',
  'newer-version',
  'too-large',
  'empty-key',
  'no-key',
  'tombstone',
  'tombstone-command',
  'wrong-partition',
  'invalid-identity',
  'unknown-codec',
] as const
export type Poison = (typeof POISONS)[number]

/** Requests of which one is lost, or its response. */
export const LOSABLE = [
  'EndTxn',
  'Produce',
  'AddPartitionsToTxn',
  'InitProducerId',
  'JoinGroup',
  'SyncGroup',
  'Heartbeat',
  'Fetch',
] as const

export const WEATHERS = ['cut', 'stall', 'delay', 'throttle'] as const

export type Fault =
  | KindFault
  | { readonly kind: 'kill'; readonly coordinator: number }
  /** kill -9 at the n-th time that the point comes by. */
  | {
      readonly kind: 'point'
      readonly coordinator: number
      readonly point: string
      readonly nth: number
    }
  /** SIGSTOP, and SIGCONT when others have had its tasks. */
  | { readonly kind: 'zombie'; readonly coordinator: number; readonly forMs: number }
  /** SIGTERM, and started again. */
  | { readonly kind: 'hand-over'; readonly coordinator: number }
  | {
      readonly kind: 'clock'
      readonly coordinator: number
      readonly shiftMs: number
      forMs: number
    }
  /** One coordinator fewer, or one more, for a while. */
  | { readonly kind: 'scale-in'; readonly coordinator: number; readonly forMs: number }
  | { readonly kind: 'scale-out'; readonly forMs: number }
  | { readonly kind: 'broker-kill'; readonly broker: number; readonly downMs: number }
  /** SIGSTOP of a broker past its session with the controller: others lead, and it does not know. */
  | { readonly kind: 'broker-stop'; readonly broker: number; readonly forMs: number }
  /** Every partition is led by another broker. */
  | { readonly kind: 'leader-move' }
  | { readonly kind: 'service-kill'; readonly service: number; readonly downMs: number }
  | { readonly kind: 'service-stop'; readonly service: number; readonly forMs: number }
  | { readonly kind: 'lie'; readonly lie: Lie; readonly forMs: number }
  | { readonly kind: 'poison'; readonly poison: Poison }
  /** By the proxy between a coordinator and the broker. */
  | {
      readonly kind: 'lose'
      readonly coordinator: number
      readonly api: (typeof LOSABLE)[number]
      readonly lost: 'request' | 'response'
      readonly connection: 'cut' | 'silent'
      readonly forMs: number
    }
  | {
      readonly kind: 'network'
      readonly coordinator: number
      readonly weather: (typeof WEATHERS)[number]
      readonly forMs: number
    }

export type Planned = { readonly atMs: number; readonly fault: Fault }

export type ScheduleOptions = {
  readonly seed: number
  readonly minutes: number
  readonly coordinators: number
  /** 1 or 3. */
  readonly brokers: number
  readonly sessionTimeoutMs: number
  /** Also kill -9 of the broker. */
  readonly withBrokerKills: boolean
  /** Partitions of the inputs. */
  readonly tasks: number
  /** Kinds of trouble that come in with the inputs, the services and the ports; default: none. */
  readonly kinds?: readonly Kind[]
  /** Nothing but these kinds. */
  readonly kindsOnly?: boolean
}

const limits = {
  /** Everything runs undisturbed at first. */
  firstMs: 4_000,
  firstKindMs: 6_000,
  /** A run that is long enough begins with what may touch some plates only, so that neighbours can be judged (I13). */
  neighboursMs: 48_000,
  neighboursMinutesMin: 2,
  neighboursFirstMs: 12_000,
  neighboursGapMs: 6_000,
  /** Between two faults that move tasks: a short run crowds them, a long one lets a take-over end in between. */
  crowdedMs: 5_000,
  spacedMs: 9_000,
  crowdedMinutes: 5,
  /** Between two that do not. */
  lightMs: 2_500,
  brokerDownMs: 3_000,
  /** Of several brokers, between two faults of one. */
  brokersMs: 14_000,
  /** Of several, which are fenced after 3 s. */
  brokerStoppedMs: 8_000,
  lieMs: 5_000,
  loseWithinMs: 8_000,
  /** A long run has moments without other faults, for the figures: a kill and a hand-over by turns. */
  calmEachMs: 150_000,
  /** The longest fault that moves tasks, and a session that runs out. */
  calmBeforeMs: 25_000,
  calmAfterMs: 10_000,
} as const

export function schedule(options: ScheduleOptions): readonly Planned[] {
  const endMs = options.minutes * 60_000
  // With several brokers a take-over may also have to wait until one that is gone is fenced.
  const isCrowded = options.minutes < limits.crowdedMinutes && options.brokers === 1
  const gapMs = isCrowded ? limits.crowdedMs : limits.spacedMs
  const dice = diceOf(options.seed)
  const calm = isCrowded ? [] : calmFaults(options.coordinators, endMs)
  const calmMs = calm.map(({ atMs }) => atMs)
  const withNeighbours = options.minutes >= limits.neighboursMinutesMin
  const { kinds = [] } = options
  const someMs = withNeighbours ? limits.neighboursMs : 0
  // Kinds come alone at first, so that it can be judged what they do to others.
  const ofKinds = kindFaults({ ...options, kinds }, Math.max(someMs, limits.firstKindMs))
  if (options.kindsOnly) return ofKinds
  const aloneMs =
    kinds.length === 0
      ? someMs
      : Math.max(someMs, limits.firstKindMs) + kindsMs({ ...options, kinds })
  const pace = { firstMs: aloneMs + limits.firstMs, endMs, calmMs }
  const heavy = every(dice, { ...pace, gapMs }, heavyFaults(dice, options))
  const light = every(dice, { ...pace, gapMs: limits.lightMs }, lightFaults(dice, options))
  const { neighboursFirstMs, neighboursGapMs } = limits
  const gentle = { firstMs: neighboursFirstMs, gapMs: neighboursGapMs, endMs: someMs, calmMs }
  const ofSome = every(dice, gentle, faultsOfSome(dice))
  const several = options.brokers > 1 && options.withBrokerKills
  const broken = several
    ? every(dice, { ...pace, gapMs: limits.brokersMs }, brokerFaults(dice, options))
    : []
  const all = [...ofSome, ...ofKinds, ...calm, ...heavy, ...light, ...broken]
  return all.toSorted((a, b) => a.atMs - b.atMs)
}

export type Phases = {
  readonly withoutMs: readonly [number, number]
  readonly underMs: readonly [number, number]
}

/** When only plates are worked on, lies and poison at most, and when kinds of trouble come in alone; undefined: no time. */
export function phasesOf(options: ScheduleOptions): Phases | undefined {
  const { minutes, kinds = [] } = options
  if (minutes < limits.neighboursMinutesMin || kinds.length === 0) return undefined
  const { neighboursMs } = limits
  const endMs = neighboursMs + kindsMs({ minutes, kinds })
  return { withoutMs: [limits.neighboursFirstMs, neighboursMs], underMs: [neighboursMs, endMs] }
}

function calmFaults(coordinators: number, endMs: number): Planned[] {
  const count = Math.floor((endMs - limits.calmAfterMs) / limits.calmEachMs)
  return Array.from({ length: count }, (_, index) => ({
    atMs: (index + 1) * limits.calmEachMs,
    fault: {
      kind: index % 2 === 0 ? 'kill' : 'hand-over',
      coordinator: Math.floor(index / 2) % coordinators,
    },
  }))
}

/** Points of the table that a schedule leaves out, because the run is too short for all. */
export function pointsLeftOut(planned: readonly Planned[]): string[] {
  const chosen = new Set(planned.map(({ fault }) => (fault.kind === 'point' ? fault.point : '')))
  return POINTS.filter((point) => !chosen.has(point))
}

function every(
  dice: () => number,
  { firstMs, gapMs, endMs, calmMs }: Pace,
  faults: Iterator<Fault, never>,
): Planned[] {
  const planned: Planned[] = []
  for (let slotMs = firstMs; slotMs < endMs; slotMs += gapMs) {
    const atMs = Math.round(slotMs + dice() * gapMs * 0.4)
    const isCalm = calmMs.some(
      (one) => atMs > one - limits.calmBeforeMs && atMs < one + limits.calmAfterMs,
    )
    if (!isCalm) planned.push({ atMs, fault: faults.next().value })
  }
  return planned
}

type Pace = {
  readonly firstMs: number
  readonly gapMs: number
  readonly endMs: number
  readonly calmMs: readonly number[]
}

/** Every other one is a point of the table, each once before any comes again. */
function* heavyFaults(
  dice: () => number,
  { coordinators, brokers, sessionTimeoutMs, withBrokerKills }: ScheduleOptions,
): Generator<Fault, never> {
  const points = deck(dice, POINTS)
  const others = deck(dice, [
    'kill',
    'kill',
    'zombie',
    'hand-over',
    withBrokerKills && brokers === 1 ? 'broker-kill' : 'zombie',
    'clock',
    'scale-in',
    'scale-out',
  ] as const)
  const anyone = (): number => Math.floor(dice() * coordinators)
  const between = (lowMs: number, highMs: number): number =>
    Math.round(lowMs + dice() * (highMs - lowMs))
  for (;;) {
    const point = points.next().value
    const nth = 1 + Math.floor(dice() * (isOfFlush(point) ? 8 : 2))
    yield { kind: 'point', coordinator: anyone(), point, nth }
    const kind = others.next().value
    switch (kind) {
      case 'kill':
      case 'hand-over':
        yield { kind, coordinator: anyone() }
        break
      case 'zombie':
        yield {
          kind,
          coordinator: anyone(),
          forMs: sessionTimeoutMs + between(1_500, 4_000),
        }
        break
      case 'clock':
        yield {
          kind,
          coordinator: anyone(),
          shiftMs: dice() < 0.5 ? HOUR_MS : -HOUR_MS,
          forMs: between(8_000, 15_000),
        }
        break
      case 'scale-in':
        yield { kind, coordinator: anyone(), forMs: between(6_000, 12_000) }
        break
      case 'scale-out':
        yield { kind, forMs: between(8_000, 16_000) }
        break
      case 'broker-kill':
        yield { kind, broker: 0, downMs: between(0, limits.brokerDownMs) }
        break
    }
  }
}

/** Of several brokers: one goes, or leads no more. */
function* brokerFaults(dice: () => number, { brokers }: ScheduleOptions): Generator<Fault, never> {
  const kinds = deck(dice, ['broker-kill', 'broker-kill', 'broker-stop', 'leader-move'] as const)
  for (;;) {
    const kind = kinds.next().value
    const broker = Math.floor(dice() * brokers)
    if (kind === 'broker-kill')
      yield { kind, broker, downMs: Math.round(dice() * limits.brokerDownMs) }
    else if (kind === 'broker-stop')
      yield { kind, broker, forMs: Math.round(1_000 + dice() * limits.brokerStoppedMs) }
    else yield { kind }
  }
}

function* lightFaults(
  dice: () => number,
  { coordinators }: ScheduleOptions,
): Generator<Fault, never> {
  const anyone = (): number => Math.floor(dice() * coordinators)
  const lies = deck(dice, LIES)
  const poisons = deck(dice, POISONS)
  const losable = deck(dice, LOSABLE)
  const weathers = deck(dice, WEATHERS)
  const kinds = deck(dice, [
    'lie',
    'lie',
    'poison',
    'poison',
    'service',
    'lose',
    'lose',
    'lose',
    'network',
  ] as const)
  for (;;) {
    const forMs = Math.round(limits.lieMs * (0.4 + dice() * 0.6))
    const service = Math.floor(dice() * 2)
    const kind = kinds.next().value
    if (kind === 'lie') yield { kind, lie: lies.next().value, forMs }
    else if (kind === 'poison') yield { kind, poison: poisons.next().value }
    else if (kind === 'lose') {
      const lost = dice() < 0.7 ? 'response' : 'request'
      const connection = dice() < 0.7 ? 'cut' : 'silent'
      const api = losable.next().value
      yield { kind, coordinator: anyone(), api, lost, connection, forMs: limits.loseWithinMs }
    } else if (kind === 'network')
      yield { kind, coordinator: anyone(), weather: weathers.next().value, forMs }
    else if (dice() < 0.5) yield { kind: 'service-kill', service, downMs: Math.round(forMs / 4) }
    else yield { kind: 'service-stop', service, forMs }
  }
}

/** The first is the worst of its kind: a service that never answers. */
function* faultsOfSome(dice: () => number): Generator<Fault, never> {
  const lies = deck(dice, LIES)
  const poisons = deck(dice, POISONS)
  const forMs = limits.lieMs
  yield { kind: 'lie', lie: 'hang', forMs }
  for (;;) {
    yield { kind: 'poison', poison: poisons.next().value }
    yield { kind: 'lie', lie: lies.next().value, forMs }
  }
}
